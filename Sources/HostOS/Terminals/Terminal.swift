/// The terminal that the process was started at.
package enum Terminal {
  /// Hands every key to us unseen and every byte to the screen unchanged, until `leaveRawMode`, the
  /// process's end in any form that can be noticed, or a crash.
  package static func enterRawMode(_ terminal: Descriptor) throws(HostError) {
    try enterRawMode(terminal.handle)
  }

  package struct Size: Sendable, Hashable {
    package var columns: Int
    package var rows: Int
  }
}
