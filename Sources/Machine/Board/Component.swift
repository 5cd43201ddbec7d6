package import Inspection
package import SavedState
package import Work

/// A part of the machine that lives, sleeps and moves with it.
///
/// The order of a machine's parts is the order in which they start and are restored; they stop in the
/// reverse. Interrupt controllers come first, so that a restored device drives a pin which already knows
/// its level.
package protocol Component: AnyObject, Sendable {
  /// What a saved state of this part holds. Its own type, never the running state: it outlives releases.
  associatedtype Saved: Codable & Sendable
  /// Names the shape of `Saved`, such as "uart16550/1".
  static var schema: String { get }
  /// May take up work from now on. The processors are not running yet.
  func start()
  /// Takes up no more work; `rest` is reached when the last request in flight has ended.
  /// Register accesses still answer.
  func stop(_ rest: Barrier)
  /// Back to power-on state, in a new generation. Only at rest.
  func reset()
  /// The part's state; changes nothing. Only at rest.
  func save() throws(SaveError) -> Saved
  /// Takes over a saved state, checking all of it before changing anything. Only before the first start.
  func restore(_ saved: Saved) throws(RestoreError)
  /// Renders the part for people. Any time, from any thread.
  func inspect(_ node: inout Node)
}

extension Component {
  package func start() {}
  package func stop(_ rest: Barrier) {}

  /// The part's state under a name, encoded.
  package func savedPart(named name: String) throws(SaveError) -> SavedPart {
    try SavedPart(name: name, schema: Self.schema, value: save())
  }

  /// Takes over what `savedPart` made.
  package func restore(from part: SavedPart) throws(RestoreError) {
    try restore(part.decode(Saved.self, schema: Self.schema))
  }
}

/// A component and its place in the machine's tree.
package struct Part: Sendable {
  /// Unique in the machine; names the part in inspection and in saved state.
  package let name: String
  package let component: any Component

  package init(_ name: String, _ component: any Component) {
    self.name = name
    self.component = component
  }
}
