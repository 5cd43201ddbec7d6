/// A handle of the host's, closed when its last user lets go.
package final class Descriptor: Sendable {
  package let handle: Int32
  private let isOwned: Bool

  /// Takes over `handle` and closes it in the end.
  package init(owning handle: Int32) {
    self.handle = handle
    isOwned = true
  }

  /// Uses a `handle` that somebody else closes.
  package init(borrowing handle: Int32) {
    self.handle = handle
    isOwned = false
  }

  deinit { if isOwned { close() } }

  package static let standardInput = Descriptor(borrowing: 0)
  package static let standardOutput = Descriptor(borrowing: 1)
  package static let standardError = Descriptor(borrowing: 2)
}
