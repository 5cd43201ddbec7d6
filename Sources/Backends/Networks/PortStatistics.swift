/// What a port counted since it was made.
package struct PortStatistics: Sendable, Equatable {
  /// Frames that left for the other end.
  package var sent: UInt64 = 0
  /// Frames that were handed to the user.
  package var received: UInt64 = 0
  /// Frames that were lost here: malformed, or with nowhere to go.
  package var dropped: UInt64 = 0

  package init() {}
}
