/// Bytes in the order in which they came, up to a limit.
struct ByteQueue {
  private var bytes: [UInt8] = []
  /// How many of `bytes` have been taken already.
  private var taken = 0
  let capacity: Int

  init(capacity: Int) { self.capacity = capacity }

  var count: Int { bytes.count - taken }
  var room: Int { max(0, capacity - count) }
  var isEmpty: Bool { count == 0 }

  /// Appends as many of `new` as there is room for; answers how many.
  mutating func append(_ new: some Collection<UInt8>) -> Int {
    let accepted = min(new.count, room)
    bytes += new.prefix(accepted)
    return accepted
  }

  /// Appends all of `new`, beyond the limit if need be.
  mutating func appendAll(_ new: some Collection<UInt8>) { bytes += new }

  /// Takes the first `limit` bytes, or all there are.
  mutating func take(_ limit: Int = .max) -> [UInt8] {
    let part = Array(bytes[taken...].prefix(limit))
    drop(part.count)
    return part
  }

  /// Lets go of the first `count` bytes, which is not negative.
  mutating func drop(_ count: Int) {
    taken = min(taken + count, bytes.count)
    if taken == bytes.count {
      bytes.removeAll(keepingCapacity: true)
      taken = 0
    } else if taken >= capacity {
      bytes.removeFirst(taken)
      taken = 0
    }
  }

  /// The bytes that wait.
  var waiting: ArraySlice<UInt8> { bytes[taken...] }
}
