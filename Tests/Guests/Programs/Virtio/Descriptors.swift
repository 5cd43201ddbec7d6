/// A descriptor, as both formats have it (VIRTIO 1.3 §2.7.5, §2.8.13): in a packed ring the last two fields change places,
/// and `next` is the buffer's ID.
struct Descriptor {
  var address: UInt64 = 0
  var length: UInt32 = 0
  var flags: UInt16 = 0
  var next: UInt16 = 0

  static var hasNext: UInt16 { 1 }
  static var isWritable: UInt16 { 2 }
  static var isTable: UInt16 { 4 }
  /// Packed rings only.
  static var available: UInt16 { 1 << 7 }
  static var used: UInt16 { 1 << 15 }
}

/// A request on its way into a ring: its buffers, in the ring itself or in a table of their own (§2.7.5.3, §2.8.7).
struct Chain {
  var parts = [8 of Descriptor](repeating: Descriptor())
  private(set) var count = 0
  /// The queue it is for.
  let queue: Int
  /// Whether the buffers are in a table, and the ring's descriptor of it.
  var isInTable = false
  var table = Descriptor()
  /// What the ring calls it: its first descriptor, or its ID.
  var head: UInt16 = 0

  init(for queue: Int) { self.queue = queue }

  mutating func read(_ address: UInt64, _ length: UInt32) {
    append(Descriptor(address: address, length: length))
  }

  mutating func write(_ address: UInt64, _ length: UInt32) {
    append(Descriptor(address: address, length: length, flags: Descriptor.isWritable))
  }

  private mutating func append(_ part: Descriptor) {
    parts[count] = part
    count += 1
  }

  var first: Descriptor {
    get { parts[0] }
    set { parts[0] = newValue }
  }

  var last: Descriptor {
    get { parts[count - 1] }
    set { parts[count - 1] = newValue }
  }
}
