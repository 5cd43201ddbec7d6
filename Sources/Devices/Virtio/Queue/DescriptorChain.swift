package import Memory

/// A descriptor chain taken from a queue. It must be completed, refused, put back, or held and then completed,
/// exactly once.
package struct DescriptorChain: ~Copyable {
  /// What the device may read, in order.
  package let readable: [GPARange]
  /// What the device may write, in order, behind it.
  package let writable: [GPARange]
  let place: ChainPlace
  private var isOpen = true

  init(readable: [GPARange], writable: [GPARange], place: ChainPlace) {
    self.readable = readable
    self.writable = writable
    self.place = place
  }

  /// Ends the chain's way through the device; only its queue calls it.
  consuming func close() -> ChainPlace {
    isOpen = false
    return place
  }

  deinit {
    #if DEBUG
      precondition(!isOpen, "a descriptor chain was dropped: its driver would wait for ever")
    #endif
  }
}

/// What the queue needs to give a chain back.
struct ChainPlace: Sendable {
  let id: UInt16
  let ringDescriptors: UInt16
  /// Chains of this life of the queue that were taken before.
  let sequence: UInt64
  let generation: UInt32
}

extension [GPARange] {
  /// Bytes in all ranges together. Those of a chain are at most 2³².
  package var byteCount: UInt64 { reduce(0) { $0 &+ $1.count } }
}
