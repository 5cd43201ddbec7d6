/// The saved states of all parts of a machine. The content of its RAM travels outside the tree.
package struct SavedTree: Sendable, Equatable {
  /// The kind of machine that was saved: `pc`.
  package var machine: String
  /// The parts, in the order in which the machine was built. No two have the same name.
  package var parts: [SavedPart]

  /// A tree of parts.
  package init(machine: String, parts: [SavedPart] = []) {
    self.machine = machine
    self.parts = parts
  }

  /// The part with a name.
  package func part(_ name: String) throws(RestoreError) -> SavedPart {
    guard let part = parts.first(where: { $0.name == name }) else { throw .missing(part: name) }
    return part
  }

  /// A name that two parts bear, if there is one.
  var repeatedName: String? {
    var seen: Set<String> = []
    return parts.first { !seen.insert($0.name).inserted }?.name
  }
}
