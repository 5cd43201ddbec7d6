import Bits

/// A globally unique identifier, as partition tables store it: the first three fields little-endian.
///
/// - SeeAlso: UEFI 2.10 Appendix A "GUID and Time Formats".
package struct GUID: Sendable, Hashable {
  /// The 16 bytes in the order of the text form.
  package let text: UInt128

  package init(_ text: UInt128) { self.text = text }

  /// A new one.
  ///
  /// - SeeAlso: RFC 9562 §5.4 "UUID Version 4".
  package static func random() -> GUID {
    var generator = SystemRandomNumberGenerator()
    let value = UInt128(generator.next()) << 64 | UInt128(generator.next())
    let fixed: UInt128 = 0xf000 << 64 | 0xc000_0000_0000_0000
    return GUID(value & ~fixed | 0x4000 << 64 | 0x8000_0000_0000_0000)
  }

  /// As it lies on a disk.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt32(truncatingIfNeeded: text >> 96))
    bytes.append(littleEndian: UInt16(truncatingIfNeeded: text >> 80))
    bytes.append(littleEndian: UInt16(truncatingIfNeeded: text >> 64))
    for shift in stride(from: 56, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: text >> UInt128(shift)))
    }
    return bytes
  }
}

extension GUID: CustomStringConvertible {
  package var description: String {
    let digits = String(text, radix: 16)
    let padded = String(repeating: "0", count: 32 - digits.count) + digits
    var groups: [Substring] = []
    var rest = padded[...]
    for length in [8, 4, 4, 4, 12] {
      groups.append(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    return groups.joined(separator: "-")
  }
}
