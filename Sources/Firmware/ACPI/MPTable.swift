/// The MultiProcessor configuration: what a guest reads that knows no ACPI.
///
/// - SeeAlso: Intel *MultiProcessor Specification* 1.4, §4 "MP Configuration Table".
package struct MPTable: Sendable {
  /// What CPUID leaf 1 says of every processor.
  package struct ProcessorIdentity: Sendable, Equatable {
    /// EAX: type, family, model and stepping.
    package var signature: UInt32
    /// EDX.
    package var features: UInt32

    package init(signature: UInt32, features: UInt32) {
      self.signature = signature
      self.features = features
    }
  }

  /// The floating pointer and, right behind it, the configuration table. It belongs on a 16-byte
  /// boundary between F0000h and FFFFFh.
  package let bytes: [UInt8]

  package init(
    describing pc: PCDescription, processor identity: ProcessorIdentity, at address: UInt32
  ) {
    let pointer = Self.floatingPointer(to: address + Self.floatingPointerLength)
    bytes = pointer + Self.configuration(pc, identity)
  }
}

// MARK: - The two structures
extension MPTable {
  private static let floatingPointerLength: UInt32 = 16
  private static let revision: UInt8 = 4

  /// §4.1 "MP Floating Pointer Structure".
  private static func floatingPointer(to table: UInt32) -> [UInt8] {
    let checksumOffset = 10
    var bytes = [
      Field.text("_MP_", width: 4),
      .dword(table),
      .byte(UInt8(floatingPointerLength / 16)),
      .byte(revision),
      .byte(0),  // Checksum
      .byte(0),  // Feature byte 1: a configuration table is present
      .byte(0),  // Feature byte 2: virtual wire mode, no IMCR
      .reserved(3),
    ].encoded
    bytes[checksumOffset] = bytes.checksum
    return bytes
  }

  /// §4.2 "MP Configuration Table Header" and its entries, in the order of their types.
  private static func configuration(
    _ pc: PCDescription, _ identity: ProcessorIdentity
  ) -> [UInt8] {
    let entries =
      processors(pc, identity) + buses + pc.ioAPICs.map(ioAPIC) + isaInterrupts(pc)
      + pciInterrupts(pc) + localInterrupts
    let content = entries.flatMap(\.encoded)
    let headerLength = 44, checksumOffset = 7
    var bytes =
      [
        Field.text("PCMP", width: 4),
        .word(UInt16(headerLength + content.count)),  // Base Table Length
        .byte(revision),
        .byte(0),  // Checksum
        .text("ROOST", width: 8),  // OEM ID
        .text("ROOSTPC", width: 12),  // Product ID
        .dword(0),  // OEM Table Pointer
        .word(0),  // OEM Table Size
        .word(UInt16(entries.count)),
        .dword(pc.localAPICAddress),
        .word(0),  // Extended Table Length
        .byte(0),  // Extended Table Checksum
        .reserved(1),
      ].encoded + content
    bytes[checksumOffset] = bytes.checksum
    return bytes
  }
}

// MARK: - The entries
extension MPTable {
  /// The buses by the numbers that interrupt entries use.
  private enum Bus: UInt8 { case pci = 0, isa = 1 }

  /// §4.3.4 "I/O Interrupt Assignment Entries", table "Interrupt Type".
  private enum InterruptType: UInt8 { case vectored = 0, nonMaskable = 1, external = 3 }

  /// The versions that the 82489DX's successors report.
  private static let localAPICVersion: UInt8 = 0x14, ioAPICVersion: UInt8 = 0x11

  /// §4.3.1 "Processor Entries": those whose ID an 8-bit APIC could have, FFh being all of them.
  private static func processors(
    _ pc: PCDescription, _ identity: ProcessorIdentity
  ) -> [[Field]] {
    let enabled: UInt8 = 1, boot: UInt8 = 2
    return pc.processors.enumerated().filter { $0.element < 0xFF }.map { index, id in
      [
        .byte(0), .byte(UInt8(id)), .byte(localAPICVersion),
        .byte(index == 0 ? enabled | boot : enabled), .dword(identity.signature),
        .dword(identity.features), .reserved(8),
      ]
    }
  }

  /// §4.3.2 "Bus Entries".
  private static var buses: [[Field]] {
    [
      [.byte(1), .byte(Bus.pci.rawValue), .text("PCI", width: 6)],
      [.byte(1), .byte(Bus.isa.rawValue), .text("ISA", width: 6)],
    ]
  }

  /// §4.3.3 "I/O APIC Entries".
  private static func ioAPIC(_ chip: PCDescription.IOAPIC) -> [Field] {
    let enabled: UInt8 = 1
    return [
      .byte(2), .byte(chip.id), .byte(ioAPICVersion), .byte(enabled), .dword(chip.address),
    ]
  }

  /// The sixteen ISA interrupts, without the second, which carries the other 8259.
  private static func isaInterrupts(_ pc: PCDescription) -> [[Field]] {
    let cascade: UInt8 = 2
    return (0..<16).filter { $0 != cascade }.compactMap { interrupt in
      let wire = pc.interruptOverrides.first { $0.isaInterrupt == interrupt }
      return ioInterrupt(
        from: .isa, interrupt, wire?.signal ?? .asTheBusDoes,
        to: wire?.globalInterrupt ?? UInt32(interrupt), pc.ioAPICs)
    }
  }

  /// Every pin of every slot; a PCI source is its slot and, in the low two bits, its pin.
  private static func pciInterrupts(_ pc: PCDescription) -> [[Field]] {
    typealias Routing = PCDescription.PCIRouting
    return Routing.slots.flatMap { slot in
      Routing.pins.compactMap { pin in
        ioInterrupt(
          from: .pci, UInt8(slot << 2 | pin), .levelActiveLow,
          to: pc.pci.routing.globalInterrupt(slot: slot, pin: pin), pc.ioAPICs)
      }
    }
  }

  /// An entry for a source wired to an I/O APIC, if there is one with that input.
  private static func ioInterrupt(
    from bus: Bus, _ source: UInt8, _ signal: PCDescription.Signal, to globalInterrupt: UInt32,
    _ chips: [PCDescription.IOAPIC]
  ) -> [Field]? {
    let candidates = chips.filter { $0.interruptBase <= globalInterrupt }
    guard let chip = candidates.max(by: { $0.interruptBase < $1.interruptBase }),
      let input = UInt8(exactly: globalInterrupt - chip.interruptBase)
    else { return nil }
    return [
      .byte(3), .byte(InterruptType.vectored.rawValue), .word(signal.flags), .byte(bus.rawValue),
      .byte(source), .byte(chip.id), .byte(input),
    ]
  }

  /// §4.3.5 "Local Interrupt Assignment Entries": the 8259s at LINT0 and NMI at LINT1 of every
  /// processor.
  private static var localInterrupts: [[Field]] {
    let everyLocalAPIC: UInt8 = 0xFF
    let flags = PCDescription.Signal.asTheBusDoes.flags
    return [(InterruptType.external, UInt8(0)), (.nonMaskable, 1)].map { type, lint in
      [
        .byte(4), .byte(type.rawValue), .word(flags), .byte(Bus.isa.rawValue), .byte(0),
        .byte(everyLocalAPIC), .byte(lint),
      ]
    }
  }
}
