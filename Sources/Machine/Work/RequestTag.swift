/// Names a request in flight: its queue and slot, and in which life of the device it was made.
package struct RequestTag: Sendable, Hashable {
  package let queue: UInt16
  package let slot: UInt16
  /// Raised by every reset; a completion from an earlier generation is dropped.
  package let generation: UInt32

  package init(queue: UInt16, slot: UInt16, generation: UInt32) {
    self.queue = queue
    self.slot = slot
    self.generation = generation
  }
}
