import Memory
import Synchronization

/// The device's side of a packed virtqueue.
///
/// - SeeAlso: VIRTIO 1.3 §2.8 "Packed Virtqueues".
struct PackedRing {
  /// A place in the ring, and the wrap counter that goes with it.
  private struct Position {
    var index: UInt16
    var wrap: Bool

    mutating func advance(by count: UInt16, in size: UInt16) {
      index += count  // both are at most 2¹⁵
      if index >= size {
        index -= size
        wrap.toggle()
      }
    }

    mutating func retreat(by count: UInt16, in size: UInt16) {
      if index < count {
        index += size
        wrap.toggle()
      }
      index -= count
    }

    /// As the event suppression structures have it.
    var event: UInt16 { index | (wrap ? 1 << 15 : 0) }
  }

  private let areas: RingAreas
  private let rules: RingRules
  private let size: UInt16
  private var next: Position
  private var used: Position
  /// Descriptors that were taken and not given back.
  private var taken: UInt16 = 0
  /// Descriptors given back since the driver was last thought of.
  private var unannounced: UInt16 = 0
  /// The flags of the first descriptor given back that the driver has not been shown, and their place.
  private var hidden: (place: UInt64, flags: DescriptorFlags)?
  private var isQuiet = false

  init(
    _ layout: QueueLayout, _ rules: RingRules, at progress: QueueProgress, dma: DMA
  ) throws(QueueFault) {
    areas = try RingAreas(layout, isPacked: true, dma: dma)
    self.rules = rules
    size = layout.size
    guard progress.index < size else { throw .badIndex }
    next = Position(index: progress.index, wrap: progress.wrap)
    used = next
  }

  var progress: QueueProgress { QueueProgress(index: next.index, wrap: next.wrap) }

  private func address(of index: UInt16) -> UInt64 {
    areas.descriptors.start.rawValue + UInt64(index) * RawDescriptor.size
  }

  // MARK: Taking

  mutating func next(_ dma: DMA) throws(QueueFault) -> FetchedChain? {
    guard let first = try availableFlags(dma) else { return nil }
    var builder = ChainBuilder(rules, areas, dma)
    var place = next
    var flags = first
    for count in 1...size {
      guard taken + count <= size else { throw .badIndex }
      let entry = try dma.descriptor(at: GPA(address(of: place.index)))
      if count > 1 { flags = DescriptorFlags(rawValue: entry.high) }
      if flags.contains(.indirect) {
        // §2.8.19: not in a list.
        guard count == 1, !flags.contains(.next) else { throw .badIndirectTable }
        try builder.addTable(entry.address, entry.length)
      } else {
        try builder.add(entry.address, entry.length, isWritable: flags.contains(.write))
      }
      place.advance(by: 1, in: size)
      if !flags.contains(.next) {
        next = place
        taken += count
        return FetchedChain(
          id: entry.low, ringDescriptors: count, readable: builder.readable,
          writable: builder.writable)
      }
    }
    throw .chainTooLong
  }

  /// The flags of the next descriptor if the driver has made it available: §2.8.1 "Driver and Device Ring Wrap
  /// Counters".
  private func availableFlags(_ dma: DMA) throws(QueueFault) -> DescriptorFlags? {
    let flags = DescriptorFlags(rawValue: try dma.word(at: address(of: next.index) + 14))
    return flags.contains(.available) == next.wrap && flags.contains(.used) != next.wrap
      ? flags : nil
  }

  /// Puts the chain that was taken last back.
  mutating func putBack(_ ringDescriptors: UInt16) {
    next.retreat(by: ringDescriptors, in: size)
    taken -= ringDescriptors
  }

  // MARK: Giving back

  /// Gives back a chain, by one used descriptor: §2.8.21. The driver sees it with the next `reveal`.
  ///
  /// Of several the first is what the driver looks at, so its flags are written last: §2.8.9 "Multi-buffer requests".
  mutating func publish(
    _ id: UInt16, _ ringDescriptors: UInt16, _ written: UInt32, _ dma: DMA
  ) throws(QueueFault) {
    let place = address(of: used.index)
    var flags: DescriptorFlags = used.wrap ? [.available, .used] : []
    if written > 0 { flags.insert(.write) }
    // Length and ID lie before the flags, which stay as they were until the next store.
    let old = try dma.word(at: place + 14)
    try dma.setLong(UInt64(old) << 48 | UInt64(id) << 32 | UInt64(written), at: place + 8)
    if hidden == nil {
      hidden = (place + 14, flags)
    } else {
      try dma.setWord(flags.rawValue, at: place + 14)
    }
    used.advance(by: ringDescriptors, in: size)
    taken -= ringDescriptors
    unannounced = unannounced &+ ringDescriptors
  }

  mutating func reveal(_ dma: DMA) throws(QueueFault) {
    guard let (place, flags) = hidden else { return }
    hidden = nil
    try dma.setWord(flags.rawValue, at: place)
  }

  /// Whether the driver wants to hear of what was published. §2.8.10.
  mutating func wantsSignal(_ dma: DMA) throws(QueueFault) -> Bool {
    guard unannounced > 0 else { return false }
    defer { unannounced = 0 }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let driver = areas.driver.start.rawValue
    switch try dma.word(at: driver + 2) & 3 {
    case 0: return true
    case 2 where rules.usesEventIndex:
      let event = try dma.word(at: driver)
      // Distances are counted back from where we are, around the ring.
      var offset = event & 0x7fff
      if (event >> 15 == 1) != used.wrap { offset = offset &- size }
      return used.index &- offset &- 1 < unannounced
    default: return false
    }
  }

  // MARK: Asking for notifications

  mutating func quiet(_ dma: DMA) throws(QueueFault) {
    guard !isQuiet else { return }
    try dma.setWord(1, at: areas.device.start.rawValue + 2)
    isQuiet = true
  }

  /// Asks to be notified of the next chain. Answers whether there is one already, of which nobody will tell.
  mutating func listen(_ dma: DMA) throws(QueueFault) -> Bool {
    let device = areas.device.start.rawValue
    if rules.usesEventIndex { try dma.setWord(next.event, at: device) }
    try dma.setWord(rules.usesEventIndex ? 2 : 0, at: device + 2)
    isQuiet = false
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return try availableFlags(dma) != nil
  }
}
