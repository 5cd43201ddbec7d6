/// One piece of ACPI Machine Language: an object, an expression or a statement, already encoded.
///
/// The functions of this folder have the names that the same things have in ASL, so that a
/// definition block written with them reads like its source.
///
/// - SeeAlso: ACPI 6.4 §20.2 "AML Grammar Definition".
struct Term: Sendable, Equatable {
  let aml: [UInt8]

  init(_ parts: [UInt8]...) { aml = parts.flatMap(\.self) }

  /// A term whose opcode is followed by its own length.
  init(opcode: [UInt8], package content: [UInt8]...) {
    let content = content.flatMap(\.self)
    aml = opcode + packageLength(of: content.count) + content
  }
}

/// The length of a package that has `content` bytes after it: the package includes the length
/// field itself, which takes one to four bytes.
///
/// - SeeAlso: ACPI 6.4 §20.2.4 "Package Length Encoding".
func packageLength(of content: Int) -> [UInt8] {
  if content + 1 < 1 << 6 { return [UInt8(content + 1)] }
  // Four bits in the first byte, which counts the others, and eight in each of those.
  for following in 1...3 where content + 1 + following < 1 << (4 + 8 * following) {
    let length = content + 1 + following
    let lead = UInt8(following << 6 | length & 0xF)
    return [lead] + (0..<following).map { UInt8(truncatingIfNeeded: length >> (4 + 8 * $0)) }
  }
  preconditionFailure("an AML package holds less than 256 MiB")
}

// MARK: - Literals

/// - SeeAlso: ACPI 6.4 §20.2.3 "Data Objects Encoding".
extension Term: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
  /// An integer, in the shortest of its encodings.
  init(_ value: UInt64) {
    let fields: [Field] =
      switch value {
      case 0, 1: [.byte(UInt8(value))]  // ZeroOp, OneOp
      case ...0xFF: [.byte(0x0A), .byte(UInt8(value))]
      case ...0xFFFF: [.byte(0x0B), .word(UInt16(value))]
      case ...0xFFFF_FFFF: [.byte(0x0C), .dword(UInt32(value))]
      default: [.byte(0x0E), .qword(value)]
      }
    self = Term(fields.encoded)
  }

  init(integerLiteral value: UInt64) { self.init(value) }

  /// A string of ASCII characters.
  init(stringLiteral text: StaticString) { self = Term([0x0D], Array("\(text)".utf8), [0]) }
}

// MARK: - Lists

/// Gathers what is written one below the other: terms of a scope, descriptors of a template.
@resultBuilder enum Listing<Element> {
  static func buildExpression(_ element: Element) -> [Element] { [element] }
  static func buildExpression(_ elements: [Element]) -> [Element] { elements }
  static func buildBlock(_ parts: [Element]...) -> [Element] { parts.flatMap(\.self) }
  static func buildOptional(_ part: [Element]?) -> [Element] { part ?? [] }
  static func buildArray(_ parts: [[Element]]) -> [Element] { parts.flatMap(\.self) }
}

extension [Term] {
  var aml: [UInt8] { flatMap(\.aml) }
}
