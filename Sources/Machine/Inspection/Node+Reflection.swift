extension Node {
  /// How deep reflection looks into a value.
  private static let maximumDepth = 16
  /// How many elements of a collection are shown.
  private static let maximumCount = 256

  /// The node that shows a value, as far as the value itself does not say how.
  ///
  /// Collections of bytes are taken for the guest's, and redacted. References are not followed:
  /// what is behind them has its own lock, and its own place in the tree.
  init(reflecting value: Any) { self.init(reflecting: value, depth: 0) }

  private init(reflecting value: Any, depth: Int) {
    guard depth < Self.maximumDepth else {
      self.init(.text("…"))
      return
    }
    if let value = value as? any Inspectable {
      self.init()
      value.inspect(&self)
    } else if let scalar = Value(scalar: value) {
      self.init(scalar)
    } else {
      self.init(mirror: Mirror(reflecting: value), of: value, depth: depth)
    }
  }

  private init(mirror: Mirror, of value: Any, depth: Int) {
    switch mirror.displayStyle {
    case .optional:
      guard let wrapped = mirror.children.first else {
        self.init(.nothing)
        return
      }
      self.init(reflecting: wrapped.value, depth: depth)
    case .collection, .set:
      self.init(collection: mirror, depth: depth)
    case .dictionary:
      self.init(dictionary: mirror, depth: depth)
    case .tuple where mirror.isBytes:
      self.init(.guestData(count: mirror.children.count))
    case .enum where mirror.children.isEmpty:
      self.init(.text("\(value)"))
    case .class, .foreignReference:
      self.init(.text("\(mirror.subjectType)"))
    default:
      if let value = value as? any CustomStringConvertible {
        self.init(.text(value.description))
      } else if let number = Self.rawNumber(of: value, mirror) {
        self.init(.text(number))
      } else if mirror.children.isEmpty, mirror.displayStyle == nil {
        self.init(.text("\(mirror.subjectType)"))
      } else {
        self.init(properties: mirror, depth: depth)
      }
    }
  }

  private init(collection: Mirror, depth: Int) {
    guard !collection.isBytes else {
      self.init(.guestData(count: collection.children.count))
      return
    }
    var elements = collection.children.prefix(Self.maximumCount).map {
      Node(reflecting: $0.value, depth: depth + 1)
    }
    if collection.displayStyle == .set { elements.sort { precedes($0.plainText, $1.plainText) } }
    let left = collection.children.count - elements.count
    if left > 0 { elements.append(Node(.text("… \(left) more"))) }
    self.init(.list(elements))
  }

  /// A field for each entry, in the order of their names.
  private init(dictionary: Mirror, depth: Int) {
    let fields = dictionary.children.prefix(Self.maximumCount).map { entry in
      let pair = Mirror(reflecting: entry.value).children.map(\.value)
      let name = pair.first.map { Node(reflecting: $0, depth: depth + 1).plainText } ?? ""
      return Field(name: name, node: Node(reflecting: pair.last ?? (), depth: depth + 1))
    }
    self.init(.fields(fields.sorted { precedes($0.name, $1.name) }))
  }

  /// A field for each property. Elements of a tuple without a label go by their number.
  private init(properties: Mirror, depth: Int) {
    self.init(
      .fields(
        properties.children.enumerated().map { index, child in
          Field(
            name: child.label.flatMap { $0.hasPrefix(".") ? nil : $0 } ?? "\(index)",
            node: Node(reflecting: child.value, depth: depth + 1))
        }))
  }

  /// A structure that wraps one number, as register bits and open enumerations do.
  private static func rawNumber(of value: Any, _ mirror: Mirror) -> String? {
    guard mirror.displayStyle == .struct, mirror.children.count == 1,
      let child = mirror.children.first, child.label == "raw" || child.label == "rawValue",
      let number = child.value as? any BinaryInteger
    else { return nil }
    return hexadecimal(number)
  }
}

/// The order of things that have none: numbers first, then texts.
private func precedes(_ text: String, _ other: String) -> Bool {
  (Int(text) ?? .max, text) < (Int(other) ?? .max, other)
}

extension Node.Value {
  /// The value of one of the types that are shown as they are.
  fileprivate init?(scalar value: Any) {
    switch value {
    case let value as Bool: self = .bool(value)
    case let value as any BinaryInteger: self = .number("\(value)")
    case let value as any BinaryFloatingPoint: self = .real(Double(value))
    case let value as any StringProtocol: self = .text(String(value))
    default: return nil
    }
  }
}

extension Mirror {
  /// Whether there is nothing but bytes here. A collection is judged by its first element.
  fileprivate var isBytes: Bool {
    if subjectType == [UInt8].self { return true }
    return displayStyle == .tuple
      ? !children.isEmpty && children.allSatisfy { $0.value is UInt8 }
      : children.first?.value is UInt8
  }
}
