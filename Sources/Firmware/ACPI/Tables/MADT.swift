extension Table {
  /// The interrupt controllers: a local APIC for each processor, the I/O APICs, and how the ISA
  /// interrupts reach them.
  ///
  /// - SeeAlso: ACPI 6.4 §5.2.12 "Multiple APIC Description Table (MADT)".
  static func madt(_ pc: PCDescription) -> Table {
    let has8259s: UInt32 = 1
    return Table(
      "APIC", revision: 5,
      [.dword(pc.localAPICAddress), .dword(has8259s)]
        + pc.processors.flatMap(processor)
        + pc.ioAPICs.flatMap(ioAPIC)
        + pc.interruptOverrides.flatMap(interruptSourceOverride)
        + nonMaskableInterrupt(pc.processors))
  }

  /// The highest APIC ID and UID that fit the one-byte fields: FFh addresses all processors.
  private static let lastByteID: UInt32 = 254

  /// §5.2.12.2 "Processor Local APIC Structure", §5.2.12.12 "Processor Local x2APIC Structure".
  private static func processor(_ id: UInt32) -> [Field] {
    let enabled: UInt32 = 1
    return id <= lastByteID
      ? [.byte(0), .byte(8), .byte(UInt8(id)), .byte(UInt8(id)), .dword(enabled)]
      : [.byte(9), .byte(16), .reserved(2), .dword(id), .dword(enabled), .dword(id)]
  }

  /// §5.2.12.3 "I/O APIC Structure".
  private static func ioAPIC(_ chip: PCDescription.IOAPIC) -> [Field] {
    [
      .byte(1), .byte(12), .byte(chip.id), .reserved(1), .dword(chip.address),
      .dword(chip.interruptBase),
    ]
  }

  /// §5.2.12.5 "Interrupt Source Override Structure".
  private static func interruptSourceOverride(_ wire: PCDescription.InterruptOverride) -> [Field] {
    let isa: UInt8 = 0
    return [
      .byte(2), .byte(10), .byte(isa), .byte(wire.isaInterrupt), .dword(wire.globalInterrupt),
      .word(wire.signal.flags),
    ]
  }

  /// Every local APIC receives NMI at LINT1: §5.2.12.7 "Local APIC NMI Structure", §5.2.12.13
  /// "Local x2APIC NMI Structure".
  private static func nonMaskableInterrupt(_ processors: [UInt32]) -> [Field] {
    let allProcessors: UInt32 = .max, lint1: UInt8 = 1
    let flags = PCDescription.Signal.asTheBusDoes.flags
    var fields: [Field] = [
      .byte(4), .byte(6), .byte(UInt8(truncatingIfNeeded: allProcessors)), .word(flags),
      .byte(lint1),
    ]
    if processors.contains(where: { $0 > lastByteID }) {
      fields += [
        .byte(10), .byte(12), .word(flags), .dword(allProcessors), .byte(lint1),
        .reserved(3),
      ]
    }
    return fields
  }
}
