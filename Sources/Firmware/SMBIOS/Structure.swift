import Bits

/// One SMBIOS structure: a formatted area of fixed fields, and the strings that they number.
///
/// - SeeAlso: SMBIOS 3.3 (DSP0134) §6.1 "Structure standards".
struct Structure: Sendable {
  /// A field of the formatted area, in the specification's words for its width.
  enum Field: Sendable {
    case byte(UInt8)
    case word(UInt16)
    case dword(UInt32)
    case qword(UInt64)
    case uuid(UInt128)
    /// The number of a string, which follows the formatted area.
    case string(String)
    case handle(Handle)
  }

  /// What other structures refer to this one by.
  struct Handle: Sendable, Equatable {
    let rawValue: UInt16

    static let notProvided = Handle(rawValue: 0xFFFF)
    /// No handle: "no error information structure" has a value of its own (§7.17).
    static let noErrorInformation = Handle(rawValue: 0xFFFE)

    /// The structure of this type with this number among its like.
    static func structure(_ type: UInt8, _ number: UInt8 = 0) -> Handle {
      Handle(rawValue: UInt16(type) << 8 | UInt16(number))
    }
  }

  let encoded: [UInt8]

  init(type: UInt8, number: UInt8 = 0, _ fields: [Field] = []) {
    var area: [UInt8] = []
    var strings: [[UInt8]] = []
    for field in fields {
      switch field {
      case .byte(let value): area.append(value)
      case .word(let value): area.append(littleEndian: value)
      case .dword(let value): area.append(littleEndian: value)
      case .qword(let value): area.append(littleEndian: value)
      case .uuid(let value): area += Self.bytes(of: value)
      case .handle(let handle): area.append(littleEndian: handle.rawValue)
      case .string(let text):
        let characters = Self.characters(of: text)
        if !characters.isEmpty { strings.append(characters) }
        area.append(characters.isEmpty ? 0 : UInt8(strings.count))
      }
    }
    var header: [UInt8] = [type, UInt8(area.count + 4)]
    header.append(littleEndian: Handle.structure(type, number).rawValue)
    // Every string ends with a null, and the set of strings with another; an empty set is two.
    let set: [UInt8] = strings.isEmpty ? [0] : Array(strings.map { $0 + [0] }.joined())
    encoded = header + area + set + [0]
  }

  /// §6.1.3 "Text strings": printable ASCII, cut at a length that no reader stumbles over.
  private static func characters(of text: String) -> [UInt8] {
    let printable: ClosedRange<UInt8> = 0x20...0x7E, longest = 255
    return text.prefix(longest).map { character in
      character.asciiValue.flatMap { printable.contains($0) ? $0 : nil } ?? UInt8(ascii: "?")
    }
  }

  /// §7.2.1 "System — UUID": the first three groups little-endian, the rest as written.
  private static func bytes(of uuid: UInt128) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt32(truncatingIfNeeded: uuid >> 96))
    bytes.append(littleEndian: UInt16(truncatingIfNeeded: uuid >> 80))
    bytes.append(littleEndian: UInt16(truncatingIfNeeded: uuid >> 64))
    bytes.append(littleEndian: UInt64(truncatingIfNeeded: uuid).byteSwapped)
    return bytes
  }
}
