/// A node of the inspection tree: a value, a list, or named fields, in the order they were written.
///
/// Whoever renders itself into a node decides what is shown. Bytes that come from the guest are
/// never shown, only counted.
package struct Node: Sendable, Equatable {
  enum Content: Sendable, Equatable {
    case value(Value)
    case list([Node])
    case fields([Field])
  }

  /// A value that is not divided further.
  enum Value: Sendable, Equatable {
    case text(String)
    /// A number in decimal.
    case number(String)
    case real(Double)
    case bool(Bool)
    case nothing
    case guestData(count: Int)
  }

  struct Field: Sendable, Equatable {
    let name: String
    var node: Node
  }

  var content: Content

  /// A node with no fields yet.
  package init() { content = .fields([]) }

  init(_ content: Content) { self.content = content }

  init(_ value: Value) { content = .value(value) }
}

// MARK: - Writing a node

extension Node {
  /// Shows a value under a name: numbers, texts, enumerations and optionals as what they are,
  /// collections as lists, structures as children. A name that is already there is shown anew, in
  /// its old place.
  package mutating func field(_ name: String, _ value: some Sendable) {
    self[name] = Node(reflecting: value)
  }

  /// Shows a number in hexadecimal: all digits of an unsigned type, only those needed of a signed.
  package mutating func hex(_ name: String, _ value: some BinaryInteger & Sendable) {
    self[name] = Node(.text(hexadecimal(value)))
  }

  /// Shows only how many bytes of the guest's data there are.
  package mutating func redacted(_ name: String, bytes: Int) {
    self[name] = Node(.guestData(count: bytes))
  }

  /// Shows a part with fields of its own. If it is already there, fields are added to it.
  package mutating func child(_ name: String, _ build: (inout Node) -> Void) {
    var node = self[name] ?? Node()
    build(&node)
    self[name] = node
  }

  /// Shows the stored properties of a value, each as `field` would.
  package mutating func reflect(_ state: some Any) {
    let node = Node(reflecting: state)
    guard case .fields(let fields) = node.content else {
      self["value"] = node
      return
    }
    for field in fields { self[field.name] = field.node }
  }

  private subscript(name: String) -> Node? {
    get {
      guard case .fields(let fields) = content else { return nil }
      return fields.first { $0.name == name }?.node
    }
    set {
      guard let newValue else { return }
      var fields: [Field] = []
      if case .fields(let present) = content { fields = present }
      content = .fields([])
      if let index = fields.firstIndex(where: { $0.name == name }) {
        fields[index].node = newValue
      } else {
        fields.append(Field(name: name, node: newValue))
      }
      content = .fields(fields)
    }
  }
}

// MARK: - Finding a node

extension Node {
  /// The node at a path such as `devices/com1/fifo`; elements of lists go by their number. Names
  /// may have slashes in them. The empty path is this node.
  package func find(_ path: String) -> Node? {
    find(path.split(separator: "/")[...])
  }

  private func find(_ path: ArraySlice<Substring>) -> Node? {
    guard let first = path.first else { return self }
    switch content {
    case .value:
      return nil
    case .list(let elements):
      guard let index = Int(first), elements.indices.contains(index) else { return nil }
      return elements[index].find(path.dropFirst())
    case .fields(let fields):
      for field in fields {
        let name = field.name.split(separator: "/")
        guard !name.isEmpty, path.starts(with: name) else { continue }
        if let found = field.node.find(path.dropFirst(name.count)) { return found }
      }
      return nil
    }
  }
}

/// A number with its prefix, and, if its type is unsigned, with all its digits.
func hexadecimal<Number: BinaryInteger>(_ number: Number) -> String {
  let digits = String(number.magnitude, radix: 16)
  let width = Number.isSigned ? 0 : number.bitWidth / 4
  let zeroes = String(repeating: "0", count: max(0, width - digits.count))
  return (number < 0 ? "-0x" : "0x") + zeroes + digits
}
