/// The name of an object in the ACPI namespace: `_HID`, `PCI0._CRS`, `\_SB`.
///
/// - SeeAlso: ACPI 6.4 §20.2.2 "Name Objects Encoding".
struct NamePath: Sendable, Equatable {
  let aml: [UInt8]

  init(_ path: String) {
    let prefix = path.prefix { $0 == "\\" || $0 == "^" }
    let segments = path.dropFirst(prefix.count).split(separator: ".").map(Self.segment)
    let count: [UInt8] =
      switch segments.count {
      case 0: [0x00]  // NullName
      case 1: []
      case 2: [0x2E]  // DualNamePrefix
      default: [0x2F, UInt8(segments.count)]  // MultiNamePrefix
      }
    aml = Array(prefix.utf8) + count + segments.flatMap(\.self)
  }

  /// Four characters, of which the first is no digit, padded with underscores.
  private static func segment(_ name: Substring) -> [UInt8] {
    let isName = name.utf8.allSatisfy { character in
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "_"):
        true
      default: false
      }
    }
    precondition(
      isName && name.utf8.count <= 4 && name.first?.isNumber == false,
      "not an ACPI name: \(name)")
    return Array(name.utf8) + Array(repeating: UInt8(ascii: "_"), count: 4 - name.utf8.count)
  }
}

extension NamePath: ExpressibleByStringLiteral {
  init(stringLiteral path: String) { self.init(path) }
}
