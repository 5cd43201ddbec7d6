/// Gives chains back in the order in which they were taken, whatever the order in which they are done.
///
/// - SeeAlso: VIRTIO 1.3 §2.7.9 and §2.8.9 "In-order use of descriptors".
struct ReturnOrder {
  private var done: [(place: ChainPlace, written: UInt32)?]
  private var first: UInt64 = 0

  init(capacity: Int) { done = .init(repeating: nil, count: capacity) }

  mutating func finish(_ place: ChainPlace, _ written: UInt32) {
    done[Int(place.sequence % UInt64(done.count))] = (place, written)
  }

  /// The chain that is to be given back now, if it is done.
  mutating func next() -> (place: ChainPlace, written: UInt32)? {
    let index = Int(first % UInt64(done.count))
    guard let chain = done[index] else { return nil }
    done[index] = nil
    first += 1
    return chain
  }
}
