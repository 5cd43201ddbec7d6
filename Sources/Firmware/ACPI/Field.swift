import Bits

/// One field of a firmware table: a value and the width the specification gives it.
enum Field: Sendable {
  case byte(UInt8)
  case word(UInt16)
  case dword(UInt32)
  case qword(UInt64)
  /// Text in a field of fixed width, padded with blanks.
  case text(StaticString, width: Int)
  case reserved(Int)
  /// A register block of the platform, in the twelve-byte form of ACPI 6.4 §5.2.3.2.
  case address(GenericAddress)

  /// Appends the field as it lies in memory: little-endian.
  fileprivate func append(to bytes: inout [UInt8]) {
    switch self {
    case .byte(let value): bytes.append(value)
    case .word(let value): bytes.append(littleEndian: value)
    case .dword(let value): bytes.append(littleEndian: value)
    case .qword(let value): bytes.append(littleEndian: value)
    case .text(let text, let width): bytes += padded("\(text)".utf8, to: width)
    case .reserved(let count): bytes += Array(repeating: 0, count: count)
    case .address(let address): for field in address.fields { field.append(to: &bytes) }
    }
  }

  private func padded(_ text: String.UTF8View, to width: Int) -> [UInt8] {
    precondition(text.count <= width, "a table field is too narrow for its text")
    return Array(text) + Array(repeating: UInt8(ascii: " "), count: width - text.count)
  }
}

extension [Field] {
  /// The fields one after another, without gaps.
  var encoded: [UInt8] { reduce(into: []) { $1.append(to: &$0) } }
}

extension Collection<UInt8> {
  /// The byte that, added to these, makes their sum zero: what every firmware table calls its
  /// checksum.
  var checksum: UInt8 { 0 &- reduce(0, &+) }
}
