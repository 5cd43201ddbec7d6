/// The `Saved` type of a part that has no state to save: a statement, never a default.
package struct Stateless: Codable, Sendable, Equatable {
  /// The only value there is.
  package init() {}
}
