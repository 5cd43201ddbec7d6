/// JSON as it stands in a line: RFC 8259. Numbers keep their digits, so that 64 bits lose none.
enum JSONText: Equatable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSONText])
  case object([String: JSONText])

  /// How deep arrays and objects may nest.
  private static let deepest = 32

  /// - Throws: a sentence that says where the text stops being JSON.
  init(_ line: [UInt8]) throws(StepProblem) {
    var reader = Reader(bytes: line)
    self = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.position == line.count else {
      throw reader.problem("more follows behind the value")
    }
  }

  private struct Reader {
    let bytes: [UInt8]
    var position = 0

    func problem(_ what: String) -> StepProblem {
      StepProblem("This is not JSON: at byte \(position + 1), \(what).")
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipSpace() {
      while let byte = current, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
      skipSpace()
      guard current == UInt8(ascii: character) else { return false }
      position += 1
      return true
    }

    mutating func value(depth: Int) throws(StepProblem) -> JSONText {
      guard depth < JSONText.deepest else { throw problem("values nest too deep") }
      skipSpace()
      guard let byte = current else { throw problem("the line ends where a value should be") }
      switch byte {
      case UInt8(ascii: "{"): return try object(depth)
      case UInt8(ascii: "["): return try array(depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return number()
      default:
        for (word, value) in [
          ("true", JSONText.bool(true)), ("false", .bool(false)), ("null", .null),
        ]
        where bytes[position...].starts(with: word.utf8) {
          position += word.utf8.count
          return value
        }
        throw problem("there is no value")
      }
    }

    private mutating func object(_ depth: Int) throws(StepProblem) -> JSONText {
      position += 1
      var members: [String: JSONText] = [:]
      if take("}") { return .object(members) }
      repeat {
        skipSpace()
        guard current == UInt8(ascii: "\"") else { throw problem("there is no name in quotes") }
        let name = try string()
        guard take(":") else { throw problem("a colon is missing") }
        guard members[name] == nil else { throw problem("\"\(name)\" is there twice") }
        members[name] = try value(depth: depth + 1)
      } while take(",")
      guard take("}") else { throw problem("a comma or } is missing") }
      return .object(members)
    }

    private mutating func array(_ depth: Int) throws(StepProblem) -> JSONText {
      position += 1
      var elements: [JSONText] = []
      if take("]") { return .array(elements) }
      repeat { elements.append(try value(depth: depth + 1)) } while take(",")
      guard take("]") else { throw problem("a comma or ] is missing") }
      return .array(elements)
    }

    private mutating func number() -> JSONText {
      let start = position
      while let byte = current, byte.isNumberCharacter { position += 1 }
      return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func string() throws(StepProblem) -> String {
      position += 1
      var text: [UInt8] = []
      while let byte = current, byte != UInt8(ascii: "\"") {
        guard byte >= 0x20 else { throw problem("there is a control character in a string") }
        position += 1
        guard byte == UInt8(ascii: "\\") else {
          text.append(byte)
          continue
        }
        // No name or value here needs any other character that JSON can escape.
        let escapes: [UInt8: UInt8] = [
          UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5c, UInt8(ascii: "/"): 0x2f,
          UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10, UInt8(ascii: "r"): 13,
          UInt8(ascii: "t"): 9,
        ]
        if let escaped = current.flatMap({ escapes[$0] }) {
          text.append(escaped)
          position += 1
        } else if current == UInt8(ascii: "u"), position + 4 < bytes.count,
          let code = UInt16(
            String(decoding: bytes[(position + 1)...(position + 4)], as: UTF8.self), radix: 16)
        {
          text += Array(String(decoding: [code], as: UTF16.self).utf8)
          position += 5
        } else {
          throw problem("there is a bad escape in a string")
        }
      }
      guard current != nil else { throw problem("a string does not end") }
      position += 1
      return String(decoding: text, as: UTF8.self)
    }
  }

  /// The text as a JSON string, quotes included.
  static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}

extension UInt8 {
  fileprivate var isNumberCharacter: Bool {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"),
      UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
      true
    default: false
    }
  }
}

/// What is wrong with a line, in a sentence.
struct StepProblem: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

// MARK: - What values mean

extension JSONText {
  /// An unsigned number of up to `bits` bits: an integer, or a string that holds one, in hexadecimal behind 0x. A
  /// negative one is its two's complement.
  func unsigned(_ name: String, bits: Int = 64) throws(StepProblem) -> UInt64 {
    let text: String
    switch self {
    case .number(let digits), .string(let digits): text = digits
    default:
      throw StepProblem("\"\(name)\" is not a number: write an integer or a string like \"0x10\".")
    }
    let largest = bits == 64 ? UInt64.max : 1 << UInt64(bits) - 1
    let isHex = text.hasPrefix("0x") || text.hasPrefix("0X")
    let value = isHex ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    if let value {
      guard value <= largest else {
        throw StepProblem("\"\(name)\" is \(text), more than \(bits) bits.")
      }
      return value
    }
    if let value = Int64(text), value < 0 {
      guard bits == 64 || value >= -(1 << Int64(bits - 1)) else {
        throw StepProblem("\"\(name)\" is \(text), more than \(bits) bits.")
      }
      return UInt64(bitPattern: value) & largest
    }
    throw StepProblem(
      "\"\(name)\" is \(text): write an integer of at most \(bits) bits, or one like \"0x10\".")
  }

  /// A number of `count` bytes, lowest byte first: hexadecimal digits, the highest first, or an integer.
  func wide(_ name: String, bytes count: Int) throws(StepProblem) -> [UInt8] {
    if case .string(let text) = self {
      let digits = text.hasPrefix("0x") || text.hasPrefix("0X") ? text.dropFirst(2) : text[...]
      let padded = String(repeating: "0", count: max(0, 2 * count - digits.utf8.count)) + digits
      guard padded.utf8.count == 2 * count, let bytes = Self.bytes(padded) else {
        throw StepProblem("\"\(name)\" is not a hexadecimal number of at most \(count) bytes.")
      }
      return bytes.reversed()
    }
    let value = try unsigned(name)
    return (0..<count).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) : 0 }
  }

  /// Bytes: hexadecimal digits, two a byte, spaces allowed; or an array of integers.
  func bytes(_ name: String) throws(StepProblem) -> [UInt8] {
    switch self {
    case .string(let text):
      let digits = text.hasPrefix("0x") ? text.dropFirst(2) : text[...]
      guard let bytes = Self.bytes(digits) else {
        throw StepProblem("\"\(name)\" is not a string of hexadecimal digits, two for each byte.")
      }
      return bytes
    case .array(let elements):
      var bytes: [UInt8] = []
      for element in elements { bytes.append(UInt8(try element.unsigned(name, bits: 8))) }
      return bytes
    default: throw StepProblem("\"\(name)\" is not a string of hexadecimal digits.")
    }
  }

  /// Two digits a byte; spaces between them are skipped.
  static func bytes(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in text.utf8 where character != 0x20 {
      guard let digit = UInt8(hexDigit: character) else { return nil }
      if let first = high {
        bytes.append(first << 4 | digit)
        high = nil
      } else {
        high = digit
      }
    }
    return high == nil ? bytes : nil
  }

  func members(_ name: String) throws(StepProblem) -> [String: JSONText] {
    guard case .object(let members) = self else {
      throw StepProblem("\"\(name)\" is not an object.")
    }
    return members
  }

  /// In the order of their names, so that what a line means never depends on chance.
  func sortedMembers(_ name: String) throws(StepProblem) -> [(key: String, value: JSONText)] {
    try members(name).sorted { $0.key < $1.key }
  }

  func text(_ name: String) throws(StepProblem) -> String {
    guard case .string(let text) = self else { throw StepProblem("\"\(name)\" is not a string.") }
    return text
  }
}

extension UInt8 {
  fileprivate init?(hexDigit character: UInt8) {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): self = character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): self = character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): self = character - UInt8(ascii: "A") + 10
    default: return nil
    }
  }

  /// Two hexadecimal digits.
  var hexDigits: String {
    let digits = String(self, radix: 16)
    return self < 16 ? "0" + digits : digits
  }
}
