/// The value of an option that is made of parts: `path=debian.qcow2,readonly=on`. A part without `=` is a word of its
/// own, such as `user`; a doubled comma stands for one inside a value.
struct KeyValues {
  private let text: String
  private var values: [String: String] = [:]
  /// Words without a value, in order.
  private(set) var words: [String] = []

  init(parsing text: String) throws(ConfigurationError) {
    self.text = text
    for part in Self.parts(of: text) {
      guard let equals = part.firstIndex(of: "=") else {
        guard !part.isEmpty else {
          throw ConfigurationError(text, "There is a comma too much: write key=value,key=value.")
        }
        words.append(part)
        continue
      }
      let key = String(part[..<equals])
      guard values.updateValue(String(part[part.index(after: equals)...]), forKey: key) == nil
      else {
        throw ConfigurationError(text, "\(key)= stands there twice: leave one out.")
      }
    }
  }

  private static func parts(of text: String) -> [String] {
    var parts: [String] = [""]
    var rest = text[...]
    while let character = rest.popFirst() {
      if character == ",", rest.first == "," {
        rest.removeFirst()
        parts[parts.count - 1].append(",")
      } else if character == "," {
        parts.append("")
      } else {
        parts[parts.count - 1].append(character)
      }
    }
    return parts
  }

  /// A value, taken out; `nil` if it was not given. An empty one is refused.
  mutating func take(_ key: String) throws(ConfigurationError) -> String? {
    guard let value = values.removeValue(forKey: key) else { return nil }
    guard !value.isEmpty else {
      throw ConfigurationError(text, "\(key)= has no value: write one behind it.")
    }
    return value
  }

  /// A value that must be there.
  mutating func require(_ key: String, _ example: String) throws(ConfigurationError) -> String {
    guard let value = try take(key) else {
      throw ConfigurationError(text, "\(key)= is missing: write for example \(key)=\(example).")
    }
    return value
  }

  /// `on` or `off`.
  mutating func takeSwitch(_ key: String) throws(ConfigurationError) -> Bool? {
    switch try take(key) {
    case nil: nil
    case "on": true
    case "off": false
    case let other?:
      throw ConfigurationError(text, "\(key)=\(other) is no switch: write \(key)=on or \(key)=off.")
    }
  }

  /// A whole number within a range.
  mutating func takeNumber<N: FixedWidthInteger>(
    _ key: String, _ range: ClosedRange<N>
  ) throws(ConfigurationError) -> N? {
    guard let value = try take(key) else { return nil }
    guard let number = N(value), range.contains(number) else {
      throw ConfigurationError(
        text,
        "\(key)=\(value) cannot be: write a number from \(range.lowerBound) to \(range.upperBound)."
      )
    }
    return number
  }

  /// One of the names of an enumeration.
  mutating func takeCase<Name: RawRepresentable<String> & CaseIterable>(
    _ key: String, _ type: Name.Type
  ) throws(ConfigurationError) -> Name? {
    guard let value = try take(key) else { return nil }
    guard let name = Name(rawValue: value) else {
      let names = Name.allCases.map { "\(key)=\($0.rawValue)" }.joined(separator: " or ")
      throw ConfigurationError(text, "\(key)=\(value) is not known: write \(names).")
    }
    return name
  }

  /// Refuses whatever was not taken.
  func end(known: String) throws(ConfigurationError) {
    if let key = values.keys.min() {
      throw ConfigurationError(text, "\(key)= is not known here: there are \(known).")
    }
    if let word = words.first {
      throw ConfigurationError(text, "\"\(word)\" is not known here: there are \(known).")
    }
  }

  /// The first word, taken out.
  mutating func takeWord() -> String? { words.isEmpty ? nil : words.removeFirst() }
}
