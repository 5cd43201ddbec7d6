/// One descriptor of the ports, memory or interrupts that a device takes or, being a bridge, gives.
///
/// - SeeAlso: ACPI 6.4 §6.4 "Resource Data Types for ACPI".
struct Resource: Sendable {
  let descriptor: [UInt8]

  init(_ fields: [Field]) { descriptor = fields.encoded }
}

/// A buffer of descriptors, closed by the end tag; its checksum is left out, as zero allows
/// (§6.4.2.9).
func ResourceTemplate(@Listing<Resource> _ resources: () -> [Resource]) -> Term {
  Buffer(resources().flatMap(\.descriptor) + [0x79, 0])
}

/// I/O ports at a fixed place, all 16 address bits decoded (§6.4.2.5).
func IO(_ port: UInt16, length: UInt8) -> Resource {
  Resource([.byte(0x47), .byte(1), .word(port), .word(port), .byte(1), .byte(length)])
}

/// An ISA interrupt: edge-triggered, active high, not shared (§6.4.2.1).
func IRQNoFlags(_ interrupt: UInt8) -> Resource {
  Resource([.byte(0x22), .word(1 << UInt16(interrupt))])
}

/// A global interrupt: level-triggered, active low, shared, as PCI's are (§6.4.3.6).
func Interrupt(_ number: UInt32) -> Resource {
  let flags: UInt8 = 0b1101  // consumer, level, active low, shared
  return Resource([.byte(0x89), .word(6), .byte(flags), .byte(1), .dword(number)])
}

/// Memory below 4 GiB, at a fixed place (§6.4.3.4).
func Memory32Fixed(_ base: UInt32, length: UInt32, writable: Bool = true) -> Resource {
  Resource([.byte(0x86), .word(9), .byte(writable ? 1 : 0), .dword(base), .dword(length)])
}

// MARK: - What bridges pass on

/// The numbers of the buses behind a bridge (§6.4.3.5.3).
func WordBusNumber(_ buses: ClosedRange<UInt8>) -> Resource {
  Resource([.byte(0x88), .word(13)] + window(.busNumbers) + limits(buses, as: Field.word))
}

/// A window of I/O ports, of ISA and other addresses alike (§6.4.3.5.3).
func WordIO(_ ports: ClosedRange<UInt16>) -> Resource {
  let entireRange: UInt8 = 0b11
  return Resource(
    [.byte(0x88), .word(13)] + window(.ports, entireRange) + limits(ports, as: Field.word))
}

/// Whether a window's memory may be cached; it can always be written (§6.4.3.5.5).
enum Caching: UInt8 { case nonCacheable = 0b001, cacheable = 0b011 }

/// A window of memory below 4 GiB (§6.4.3.5.2).
func DWordMemory(_ addresses: ClosedRange<UInt32>, _ caching: Caching) -> Resource {
  Resource(
    [.byte(0x87), .word(23)] + window(.memory, caching.rawValue)
      + limits(addresses, as: Field.dword))
}

/// A window of memory anywhere (§6.4.3.5.1).
func QWordMemory(_ addresses: ClosedRange<UInt64>, _ caching: Caching) -> Resource {
  Resource(
    [.byte(0x8A), .word(43)] + window(.memory, caching.rawValue)
      + limits(addresses, as: Field.qword))
}

private enum WindowKind: UInt8 { case memory = 0, ports = 1, busNumbers = 2 }

/// Resource type, general flags and type-specific flags of a window (§6.4.3.5, §6.4.3.5.5).
private func window(_ kind: WindowKind, _ specificFlags: UInt8 = 0) -> [Field] {
  let minimumIsFixed: UInt8 = 1 << 2, maximumIsFixed: UInt8 = 1 << 3
  return [.byte(kind.rawValue), .byte(minimumIsFixed | maximumIsFixed), .byte(specificFlags)]
}

/// Granularity, minimum, maximum, translation offset and length of a window.
private func limits<Bound: FixedWidthInteger, Wide: FixedWidthInteger>(
  _ range: ClosedRange<Bound>, as field: (Wide) -> Field
) -> [Field] {
  let first = Wide(range.lowerBound), last = Wide(range.upperBound)
  return [field(0), field(first), field(last), field(0), field(last - first + 1)]
}
