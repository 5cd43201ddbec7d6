/// How far a queue has got, when nothing of it is in flight: what a stop leaves behind.
package struct QueueProgress: Sendable, Hashable, Codable {
  /// Split: chains taken since its start, modulo 2¹⁶. Packed: the place in the ring.
  package var index: UInt16
  /// Packed: the ring wrap counter. Split: true.
  package var wrap: Bool

  package static let start = QueueProgress(index: 0, wrap: true)
}
