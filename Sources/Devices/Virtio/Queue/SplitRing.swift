import Memory
import Synchronization

/// The device's side of a split virtqueue.
///
/// - SeeAlso: VIRTIO 1.3 §2.7 "Split Virtqueues".
struct SplitRing {
  private let areas: RingAreas
  private let rules: RingRules
  private let size: UInt16
  /// The entry of the available ring that is taken next.
  private(set) var nextAvailable: UInt16
  /// The entry of the used ring that is filled next.
  private var nextUsed: UInt16
  /// How far the driver has got, when we last looked.
  private var knownAvailable: UInt16
  /// How far the used ring was when the driver was last thought of.
  private var signalled: UInt16
  /// The driver was asked not to notify us.
  private var isQuiet = false

  init(_ layout: QueueLayout, _ rules: RingRules, at index: UInt16, dma: DMA) throws(QueueFault) {
    areas = try RingAreas(layout, isPacked: false, dma: dma)
    self.rules = rules
    size = layout.size
    nextAvailable = index
    nextUsed = index
    knownAvailable = index
    signalled = index
  }

  private var available: UInt64 { areas.driver.start.rawValue }
  private var used: UInt64 { areas.device.start.rawValue }

  // MARK: Taking

  mutating func next(_ dma: DMA) throws(QueueFault) -> FetchedChain? {
    guard try lookForMore(dma) else { return nil }
    let head = try dma.word(at: available + 4 + 2 * UInt64(nextAvailable & (size - 1)))
    let chain = try gather(head, dma)
    nextAvailable &+= 1
    return chain
  }

  /// Whether there is a chain to take. §2.7.6 "The Virtqueue Available Ring".
  private mutating func lookForMore(_ dma: DMA) throws(QueueFault) -> Bool {
    guard knownAvailable == nextAvailable else { return true }
    let index = try dma.word(at: available + 2)
    // Those in flight still hold their descriptors.
    let inFlight = nextAvailable &- nextUsed
    guard index &- nextAvailable <= size - inFlight else { throw .badIndex }
    knownAvailable = index
    return index != nextAvailable
  }

  private func gather(_ head: UInt16, _ dma: DMA) throws(QueueFault) -> FetchedChain {
    var builder = ChainBuilder(rules, areas, dma)
    var index = head
    for count in 1...size {
      guard index < size else { throw .badIndex }
      let entry = try dma.descriptor(
        at: GPA(areas.descriptors.start.rawValue + UInt64(index) * RawDescriptor.size))
      let flags = DescriptorFlags(rawValue: entry.low)
      if flags.contains(.indirect) {
        guard !flags.contains(.next) else { throw .badIndirectTable }
        try builder.addTable(entry.address, entry.length)
      } else {
        try builder.add(entry.address, entry.length, isWritable: flags.contains(.write))
      }
      if !flags.contains(.next) {
        return FetchedChain(
          id: head, ringDescriptors: count, readable: builder.readable, writable: builder.writable)
      }
      index = entry.high
    }
    throw .chainTooLong
  }

  /// Puts the chain that was taken last back.
  mutating func putBack() { nextAvailable &-= 1 }

  // MARK: Giving back

  /// Gives back a chain; the driver sees it with the next `reveal`.
  mutating func publish(_ id: UInt16, _ written: UInt32, _ dma: DMA) throws(QueueFault) {
    try dma.setLong(
      UInt64(written) << 32 | UInt64(id), at: used + 4 + 8 * UInt64(nextUsed & (size - 1)))
    nextUsed &+= 1
  }

  /// Shows the driver all that was given back, at once.
  mutating func reveal(_ dma: DMA) throws(QueueFault) { try dma.setWord(nextUsed, at: used + 2) }

  /// Whether the driver wants to hear of what was published. §2.7.7 "Used Buffer Notification Suppression".
  mutating func wantsSignal(_ dma: DMA) throws(QueueFault) -> Bool {
    guard signalled != nextUsed else { return false }
    defer { signalled = nextUsed }
    // What was published must be out before we look whether the driver waits for it.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard rules.usesEventIndex else { return try dma.word(at: available) & 1 == 0 }
    let event = try dma.word(at: available + 4 + 2 * UInt64(size))
    return nextUsed &- event &- 1 < nextUsed &- signalled
  }

  // MARK: Asking for notifications

  /// The driver need not notify us for a while. §2.7.10 "Available Buffer Notification Suppression".
  mutating func quiet(_ dma: DMA) throws(QueueFault) {
    guard !rules.usesEventIndex, !isQuiet else { return }  // the event index stays behind by itself
    try dma.setWord(1, at: used)
    isQuiet = true
  }

  /// Asks to be notified of the next chain. Answers whether there is one already, of which nobody will tell.
  mutating func listen(_ dma: DMA) throws(QueueFault) -> Bool {
    if rules.usesEventIndex {
      try dma.setWord(nextAvailable, at: used + 4 + 8 * UInt64(size))
    } else {
      try dma.setWord(0, at: used)
      isQuiet = false
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return try lookForMore(dma)
  }
}
