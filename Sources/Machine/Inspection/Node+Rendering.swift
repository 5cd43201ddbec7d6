extension Node {
  /// The tree as text: a line for each value, values of the same level in one column.
  package func text(indent: Int = 0) -> String {
    var lines: [String] = []
    appendLines(to: &lines, margin: String(repeating: " ", count: max(0, indent)))
    return lines.joined(separator: "\n")
  }

  /// The tree as JSON (RFC 8259), on one line. Bytes of guest data become a text that counts them.
  package func json() -> String {
    var text = ""
    appendJSON(to: &text)
    return text
  }
}

// MARK: - Text

extension Node {
  /// The node on one line; `nil` if it takes more.
  private var line: String? {
    switch content {
    case .value(let value):
      return value.plainText
    case .list(let elements):
      let lines = elements.compactMap(\.line)
      guard lines.count == elements.count else { return nil }
      let line = "[" + lines.joined(separator: ", ") + "]"
      return elements.count > Self.rowCount && line.count > 80 ? nil : line
    case .fields(let fields):
      return fields.isEmpty ? "-" : nil
    }
  }

  /// The node as the name of a field.
  var plainText: String { line ?? "…" }

  /// How many elements of a list too long for one line stand in a row.
  private static let rowCount = 8

  /// What is shown below one another. The rows of a list are named by the number of their first
  /// element.
  private var rows: [Field] {
    switch content {
    case .value:
      return []
    case .list(let elements):
      let count = elements.allSatisfy { $0.line != nil } ? Self.rowCount : 1
      return stride(from: 0, to: elements.count, by: count).map { first in
        let row = elements[first..<min(first + count, elements.count)]
        return Field(name: "\(first)", node: count == 1 ? row[first] : Node(.list(Array(row))))
      }
    case .fields(let fields):
      return fields
    }
  }

  private func appendLines(to lines: inout [String], margin: String) {
    if let line {
      lines.append(margin + line)
      return
    }
    let shown = rows.map { (name: escaped($0.name), line: $0.node.line, node: $0.node) }
    let width = shown.reduce(0) { $1.line == nil ? $0 : max($0, $1.name.count) }
    for (name, line, node) in shown {
      if let line {
        let gap = String(repeating: " ", count: width - name.count + 2)
        lines.append(margin + name + gap + line)
      } else {
        lines.append(margin + name)
        node.appendLines(to: &lines, margin: margin + "  ")
      }
    }
  }
}

extension Node.Value {
  fileprivate var plainText: String {
    switch self {
    case .text(let text): escaped(text)
    case .number(let digits): digits
    case .real(let value): "\(value)"
    case .bool(let value): value ? "true" : "false"
    case .nothing: "-"
    case .guestData(let count): "<\(count) \(count == 1 ? "byte" : "bytes") of guest data>"
    }
  }
}

/// A text as it is safe to show on a terminal: nothing in it moves the cursor or turns the
/// direction of writing.
private func escaped(_ text: String) -> String {
  text.unicodeScalars.reduce(into: "") { shown, scalar in
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
      shown += scalar.escaped(asASCII: true)
    default:
      shown.unicodeScalars.append(scalar)
    }
  }
}

// MARK: - JSON

extension Node {
  private func appendJSON(to text: inout String) {
    switch content {
    case .value(let value):
      value.appendJSON(to: &text)
    case .list(let elements):
      text += "["
      for (index, element) in elements.enumerated() {
        if index > 0 { text += "," }
        element.appendJSON(to: &text)
      }
      text += "]"
    case .fields(let fields):
      text += "{"
      for (index, field) in fields.enumerated() {
        if index > 0 { text += "," }
        appendQuoted(field.name, to: &text)
        text += ":"
        field.node.appendJSON(to: &text)
      }
      text += "}"
    }
  }
}

extension Node.Value {
  fileprivate func appendJSON(to text: inout String) {
    switch self {
    case .text(let value): appendQuoted(value, to: &text)
    case .number(let digits): text += digits
    case .real(let value) where value.isFinite: text += "\(value)"
    case .real(let value): appendQuoted("\(value)", to: &text)
    case .bool(let value): text += value ? "true" : "false"
    case .nothing: text += "null"
    case .guestData: appendQuoted(plainText, to: &text)
    }
  }
}

/// Appends a string as JSON writes it.
///
/// - SeeAlso: RFC 8259 §7 "Strings".
private func appendQuoted(_ value: String, to text: inout String) {
  text += "\""
  for scalar in value.unicodeScalars {
    switch scalar {
    case "\"": text += "\\\""
    case "\\": text += "\\\\"
    case "\n": text += "\\n"
    case "\t": text += "\\t"
    case "\0"..<" ", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
      let digits = String(scalar.value, radix: 16)
      text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: text.unicodeScalars.append(scalar)
    }
  }
  text += "\""
}
