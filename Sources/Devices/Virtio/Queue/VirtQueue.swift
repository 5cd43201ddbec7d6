package import Memory
package import Work

/// A split or packed virtqueue, from the device's side. Not `Sendable`: it belongs to the device's loop.
///
/// It lives as long as its device. While the driver has it enabled and the machine runs, `pop` takes chains from it.
/// After the driver broke a rule it is silent until it is reset; after a reset, completions of earlier requests are
/// counted and dropped.
///
/// - SeeAlso: VIRTIO 1.3 §2.6 "Virtqueues".
package final class VirtQueue {
  package let index: Int
  package let dma: DMA
  let loop: any Loop
  private let signals: VirtioSignals
  private let maximumSize: UInt16
  private let maximumBytes: UInt64

  private var ring: Ring?
  private var isStopping = false
  /// The life of the device that the ring belongs to.
  private var life: UInt32 = 0
  private var generation: UInt32 = 0
  /// Chains taken and not given back, those from before a reset included.
  package private(set) var inFlight = 0
  private var sequence: UInt64 = 0
  private var order: ReturnOrder?
  private var held: [HeldChain?]
  private var freeSlots: [UInt16]
  /// Left when nothing is in flight any more.
  private var waiting: [Barrier] = []
  /// Completions that came after a reset.
  package private(set) var dropped: UInt64 = 0

  // One turn of service.
  private var isServing = false
  private var budget = 0
  private var mustServeAgain = false

  /// A turn takes about this many chains; a chain counts as one, and as one more for each 64 KiB.
  private static let turn = 256

  init(
    index: Int, maximumSize: UInt16, maximumBytes: UInt64, dma: DMA, loop: any Loop,
    signals: VirtioSignals
  ) {
    self.index = index
    self.maximumSize = maximumSize
    self.maximumBytes = maximumBytes
    self.dma = dma
    self.loop = loop
    self.signals = signals
    held = .init(repeating: nil, count: Int(maximumSize))
    freeSlots = Array((0..<maximumSize).reversed())
  }

  /// Chains that can be held at once; the slots of their tags are smaller.
  package var slotCount: Int { Int(maximumSize) }

  /// Whether chains can be taken.
  package var isActive: Bool { ring != nil && !isStopping }
}

// MARK: - What a device does with it

extension VirtQueue {
  /// Lets the device take what is queued, within a budget; what is left is served in another turn of the loop. Then
  /// the driver is told of what was completed, if it wants to know.
  ///
  /// On the loop, from anywhere but a `service` of the same queue: when room came, when a backend has something.
  package func serve(by device: any VirtioDevice) {
    guard isActive else { return }
    guard !isServing else {
      mustServeAgain = true
      return
    }
    isServing = true
    mustServeAgain = false
    budget = Self.turn
    device.service(self)
    isServing = false
    signal()
    guard mustServeAgain, isActive else { return }
    let queue = LoopBound(self, on: loop)
    loop.post { queue.with { $0.serve(by: device) } }
  }

  /// Takes the next chain; only while the queue is served. `nil`: there is none now, and the device is called again
  /// when there is.
  package func pop() -> DescriptorChain? {
    precondition(isServing, "a chain was taken from a queue that is not being served")
    guard isActive else { return nil }
    guard budget > 0 else {
      mustServeAgain = true
      return nil
    }
    do throws(QueueFault) {
      try ring?.quiet(dma)
      while true {
        if let chain = try ring?.next(dma) { return opened(chain) }
        guard try ring?.listen(dma) ?? false else { return nil }
        try ring?.quiet(dma)
      }
    } catch {
      fail(error)
      return nil
    }
  }

  /// Gives a chain back to the driver, with `written` bytes in its writable part.
  package func complete(_ chain: consuming DescriptorChain, written: Int) {
    finish(chain.close(), written)
    leaveIfIdle()
  }

  /// Keeps a chain while a backend works on it.
  package func hold(_ chain: consuming DescriptorChain) -> RequestTag {
    guard let slot = freeSlots.popLast() else {
      preconditionFailure("more chains in flight than the queue has descriptors")
    }
    let (readable, writable) = (chain.readable, chain.writable)
    let place = chain.close()
    held[Int(slot)] = HeldChain(readable: readable, writable: writable, place: place)
    return RequestTag(queue: UInt16(index), slot: slot, generation: place.generation)
  }

  /// The buffers of a chain that is held; `nil` if the queue was reset since: then the driver has them back.
  package func buffers(of tag: RequestTag) -> (readable: [GPARange], writable: [GPARange])? {
    guard let chain = held[Int(tag.slot)], chain.place.generation == generation,
      tag.generation == generation, ring != nil
    else { return nil }
    return (chain.readable, chain.writable)
  }

  /// Gives back a chain that was held.
  package func complete(_ tag: RequestTag, written: Int) {
    guard let chain = held[Int(tag.slot)], chain.place.generation == tag.generation else {
      preconditionFailure("a request was completed twice")
    }
    release(tag)
    finish(chain.place, written)
    if !isServing { signal() }
    leaveIfIdle()
  }

  /// Gives back several chains that belong together, taken one after the other: the driver sees all or none.
  package func complete(_ tags: [(tag: RequestTag, written: Int)]) {
    for (tag, written) in tags {
      guard let chain = held[Int(tag.slot)] else {
        preconditionFailure("a request was completed twice")
      }
      release(tag)
      finish(chain.place, written, isLast: false)
    }
    reveal()
    if !isServing { signal() }
    leaveIfIdle()
  }

  private func release(_ tag: RequestTag) {
    held[Int(tag.slot)] = nil
    freeSlots.append(tag.slot)
  }

  /// Puts a chain that was held back, as if it had not been taken. Of several the one taken last goes first.
  package func putBack(_ tag: RequestTag) {
    guard let chain = held[Int(tag.slot)], chain.place.generation == tag.generation else {
      preconditionFailure("a request was put back twice")
    }
    release(tag)
    putBack(chain.place)
  }

  /// Puts the chain that was taken last back, as if it had not been taken: it is the next one again. Nobody calls the
  /// device for its sake.
  package func putBack(_ chain: consuming DescriptorChain) {
    putBack(chain.close())
  }

  private func putBack(_ place: ChainPlace) {
    inFlight -= 1
    if place.generation == generation, ring != nil {
      precondition(place.sequence + 1 == sequence, "only the chain taken last can be put back")
      sequence -= 1
      ring?.putBack(place.ringDescriptors)
    }
    leaveIfIdle()
  }

  /// Refuses a chain that no driver may offer. The queue stops until it is reset.
  package func refuse(_ chain: consuming DescriptorChain, _ reason: String) {
    _ = chain.close()
    inFlight -= 1
    fail(.malformedRequest(reason))
    leaveIfIdle()
  }

  private func opened(_ chain: FetchedChain) -> DescriptorChain {
    let bytes = chain.readable.byteCount &+ chain.writable.byteCount
    budget -= 1 + Int(bytes >> 16)
    let place = ChainPlace(
      id: chain.id, ringDescriptors: chain.ringDescriptors, sequence: sequence,
      generation: generation)
    sequence += 1
    inFlight += 1
    return DescriptorChain(readable: chain.readable, writable: chain.writable, place: place)
  }

  /// Publishes what became of a chain. `leaveIfIdle` follows once the driver has been told: whoever waits for the last
  /// chain takes the ring away.
  private func finish(_ place: ChainPlace, _ written: Int, isLast: Bool = true) {
    inFlight -= 1
    if place.generation != generation {
      dropped &+= 1
    } else if ring != nil {
      do throws(QueueFault) {
        let written = UInt32(clamping: written)
        if order == nil {
          try ring?.publish(place, written, dma)
        } else {
          order?.finish(place, written)
          while let (place, written) = order?.next() { try ring?.publish(place, written, dma) }
        }
        if isLast { try ring?.reveal(dma) }
      } catch {
        fail(error)
      }
    }
  }

  private func reveal() {
    do throws(QueueFault) {
      try ring?.reveal(dma)
    } catch {
      fail(error)
    }
  }

  /// Tells the driver of what was published, if it wants to know.
  private func signal() {
    do throws(QueueFault) {
      if try ring?.wantsSignal(dma) ?? false { signals.usedBuffers(in: index) }
    } catch {
      fail(error)
    }
  }

  private func fail(_ fault: QueueFault) {
    ring = nil
    signals.broke(index, fault, life: life)
  }

  private func leaveIfIdle() {
    guard inFlight == 0, !waiting.isEmpty else { return }
    let barriers = waiting
    waiting = []
    for barrier in barriers { barrier.leave() }
  }
}

// MARK: - What the transport does with it

extension VirtQueue {
  /// Begins, or goes on, to take chains. Nothing is in flight.
  func start(
    _ layout: QueueLayout, _ features: VirtioFeatures, at progress: QueueProgress, life: UInt32
  ) {
    precondition(inFlight == 0, "a queue is started while requests of its last life are in flight")
    generation &+= 1
    self.life = life
    sequence = 0
    isStopping = false
    let rules = RingRules(
      features, maximumTable: Int(maximumSize), maximumBytes: maximumBytes)
    order = rules.isInOrder ? ReturnOrder(capacity: Int(layout.size)) : nil
    do throws(QueueFault) {
      guard layout.size <= maximumSize else { throw .badLayout }
      ring = try Ring(layout, rules, at: progress, dma: dma)
    } catch {
      fail(error)
    }
  }

  /// Takes no more chains. `rest` is reached once none is in flight; until then they are given back as ever.
  func stop(_ rest: Barrier) {
    isStopping = true
    wait(rest)
  }

  /// Forgets the ring: what is in flight will not be given back. `rest` is reached when it has ended.
  func reset(_ rest: Barrier) {
    ring = nil
    order = nil
    generation &+= 1
    wait(rest)
  }

  /// Where the queue stands, and lets go of the ring. Only when nothing is in flight; `nil`: it is not enabled, or it
  /// broke.
  func takeProgress() -> QueueProgress? {
    precondition(inFlight == 0, "a queue at work was asked for its progress")
    defer { ring = nil }
    return ring?.progress
  }

  private func wait(_ rest: Barrier) {
    guard inFlight > 0 else { return }
    rest.enter()
    waiting.append(rest)
  }
}

/// A chain that a backend works on.
private struct HeldChain {
  let readable: [GPARange]
  let writable: [GPARange]
  let place: ChainPlace
}

/// Either format.
private enum Ring {
  case split(SplitRing)
  case packed(PackedRing)

  init(
    _ layout: QueueLayout, _ rules: RingRules, at progress: QueueProgress, dma: DMA
  ) throws(QueueFault) {
    self =
      rules.isPacked
      ? .packed(try PackedRing(layout, rules, at: progress, dma: dma))
      : .split(try SplitRing(layout, rules, at: progress.index, dma: dma))
  }

  var progress: QueueProgress {
    switch self {
    case .split(let ring): QueueProgress(index: ring.nextAvailable, wrap: true)
    case .packed(let ring): ring.progress
    }
  }

  /// Changes the ring in place.
  private mutating func with<Result>(
    split: (inout SplitRing) throws(QueueFault) -> Result,
    packed: (inout PackedRing) throws(QueueFault) -> Result
  ) throws(QueueFault) -> Result {
    switch self {
    case .split(var ring):
      defer { self = .split(ring) }
      return try split(&ring)
    case .packed(var ring):
      defer { self = .packed(ring) }
      return try packed(&ring)
    }
  }

  mutating func next(_ dma: DMA) throws(QueueFault) -> FetchedChain? {
    try with(
      split: { (ring) throws(QueueFault) in try ring.next(dma) },
      packed: { (ring) throws(QueueFault) in try ring.next(dma) })
  }

  mutating func publish(_ place: ChainPlace, _ written: UInt32, _ dma: DMA) throws(QueueFault) {
    try with(
      split: { (ring) throws(QueueFault) in try ring.publish(place.id, written, dma) },
      packed: { (ring) throws(QueueFault) in
        try ring.publish(place.id, place.ringDescriptors, written, dma)
      })
  }

  mutating func reveal(_ dma: DMA) throws(QueueFault) {
    try with(
      split: { (ring) throws(QueueFault) in try ring.reveal(dma) },
      packed: { (ring) throws(QueueFault) in try ring.reveal(dma) })
  }

  mutating func wantsSignal(_ dma: DMA) throws(QueueFault) -> Bool {
    try with(
      split: { (ring) throws(QueueFault) in try ring.wantsSignal(dma) },
      packed: { (ring) throws(QueueFault) in try ring.wantsSignal(dma) })
  }

  mutating func quiet(_ dma: DMA) throws(QueueFault) {
    try with(
      split: { (ring) throws(QueueFault) in try ring.quiet(dma) },
      packed: { (ring) throws(QueueFault) in try ring.quiet(dma) })
  }

  mutating func listen(_ dma: DMA) throws(QueueFault) -> Bool {
    try with(
      split: { (ring) throws(QueueFault) in try ring.listen(dma) },
      packed: { (ring) throws(QueueFault) in try ring.listen(dma) })
  }

  mutating func putBack(_ ringDescriptors: UInt16) {
    switch self {
    case .split(var ring):
      ring.putBack()
      self = .split(ring)
    case .packed(var ring):
      ring.putBack(ringDescriptors)
      self = .packed(ring)
    }
  }
}
