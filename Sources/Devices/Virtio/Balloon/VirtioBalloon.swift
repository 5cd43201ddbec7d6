import Bits
package import Board
package import Inspection
import Memory
package import SavedState
import Synchronization
package import Work

/// The virtio balloon device: takes memory from a guest and gives it back, while both run.
///
/// The host sets how many pages the balloon is to hold; the driver fills it with pages that the guest does without, and
/// the host has them until the guest takes them out again. Pages that are merely free, as the driver reports them, are
/// given to the host as well, and stay the guest's.
///
/// It gives no hints of free pages for a migration, and knows of no poison.
///
/// - SeeAlso: VIRTIO 1.3 §5.5 "Traditional Memory Balloon Device".
package final class VirtioBalloon {
  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  private let loop: any Loop
  private let signals = Mutex<VirtioSignals?>(nil)
  private let queues: LoopBound<[VirtQueue]>
  // State: everything the guest can change, and what the host wants of it.
  private let state = Mutex(State())

  /// What pages are counted in, whatever the guest's own pages are.
  package static let pageSize: UInt64 = 4096

  /// - Parameters:
  ///   - deflatesWhenShort: whether a guest that runs out of memory may take pages out by itself.
  ///   - takesFreePages: whether the guest is to report pages that are free.
  package init(deflatesWhenShort: Bool = true, takesFreePages: Bool = true, loop: any Loop) {
    self.loop = loop
    queues = LoopBound([], on: loop)
    var features: VirtioFeatures = .statistics
    if deflatesWhenShort { features.insert(.deflateOnOutOfMemory) }
    if takesFreePages { features.insert(.pageReporting) }
    profile = VirtioProfile(
      deviceID: .balloon, features: features, queueSizes: .init(repeating: 128, count: 5),
      configurationSize: 8)
  }

  struct State {
    /// Pages that the balloon is to hold. It outlives a reset.
    var target: UInt32 = 0
    /// Pages that it holds, as the driver says.
    var actual: UInt32 = 0
    var features = VirtioFeatures()
    var statistics = BalloonStatistics()
    /// The driver is to say anew how its memory stands.
    var wantsStatistics = false
    /// Bytes that the host was given, all in all.
    var givenBack: UInt64 = 0
  }

  /// What a queue is for.
  private enum Role { case inflate, deflate, statistics, reporting }

  /// §5.5.2 "Virtqueues" gives the reporting queue number 4. Drivers that leave no numbers free for queues that do not
  /// exist, as Linux's, look for it at 3, or at 2 if there are no statistics. No other queue can be meant there.
  private func role(of queue: VirtQueue) -> Role {
    switch queue.index {
    case 0: .inflate
    case 1: .deflate
    case 2 where state.withLock { $0.features.contains(.statistics) }: .statistics
    default: .reporting
    }
  }
}

// MARK: - What the host wants

extension VirtioBalloon {
  /// How many pages the balloon is to hold; the driver does what it can. From any thread.
  package func setTarget(pages: UInt32) {
    let isNew = state.withLock { state in
      defer { state.target = pages }
      return state.target != pages
    }
    if isNew { signals.withLock { $0 }?.configurationChanged() }
  }

  package var target: UInt32 { state.withLock { $0.target } }
  /// Pages that the balloon holds, as the driver says. From any thread.
  package var actual: UInt32 { state.withLock { $0.actual } }
  /// What the guest said last of its memory. From any thread.
  package var statistics: BalloonStatistics { state.withLock { $0.statistics } }

  /// Asks the guest to say anew how its memory stands; `statistics` changes when it has. From any thread.
  package func requestStatistics() {
    state.withLock { $0.wantsStatistics = true }
    loop.post {
      let queues = self.queues.with { $0 }
      if queues.count > 2 { queues[2].serve(by: self) }
    }
  }
}

// MARK: - What the driver sees

extension VirtioBalloon: VirtioDevice {
  package static let schema = "virtio-balloon/1"

  /// §5.5.4 "Device configuration layout".
  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    let state = state.withLock { $0 }
    var fields = ConfigurationFields()
    fields.append(state.target)
    fields.append(state.actual)
    return fields.read(offset, width)
  }

  package func writeConfiguration(_ value: UInt64, _ offset: Int, _ width: AccessWidth) {
    state.withLock { state in
      for index in 0..<Int(width.bytes) {
        let place = offset + index - Self.actualOffset
        guard (0..<4).contains(place) else { continue }
        let shift = UInt32(8 * place)
        let byte = UInt32(truncatingIfNeeded: value >> UInt64(8 * index)) & 0xff
        state.actual = state.actual & ~(0xff << shift) | byte << shift
      }
    }
  }

  private static let actualOffset = 4

  package func attach(_ signals: VirtioSignals) { self.signals.withLock { $0 = signals } }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    state.withLock { $0.features = features }
    self.queues.with { $0 = queues }
  }

  package func service(_ queue: VirtQueue) {
    switch role(of: queue) {
    case .inflate: inflate(queue)
    case .deflate: deflate(queue)
    case .statistics: readStatistics(queue)
    case .reporting: takeFreePages(queue)
    }
  }

  package func reset() {
    state.withLock { state in
      var new = State()
      new.target = state.target
      new.givenBack = state.givenBack
      state = new
    }
  }

  package struct Saved: Codable, Sendable {
    var target: UInt32
    var actual: UInt32
  }

  package func save() -> Saved {
    state.withLock { Saved(target: $0.target, actual: $0.actual) }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    state.withLock { state in
      state.target = saved.target
      state.actual = saved.actual
    }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("target", state.target)
    node.field("actual", state.actual)
    node.field("givenBack", state.givenBack)
  }
}

// MARK: - Queues

extension VirtioBalloon {
  /// Page numbers in one request, at most: Linux sends 256.
  private static let mostPages = 1 << 14

  /// §5.5.6 "Device Operation": the pages' numbers, of 32 bits each. Those of no memory are ignored.
  private func inflate(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      let count = chain.readable.byteCount
      guard count <= UInt64(4 * Self.mostPages), chain.writable.isEmpty else {
        return queue.refuse(
          chain, "a list of pages for a balloon that is too long, or to be written")
      }
      let bytes = (try? queue.dma.bytes(of: chain.readable, count: Int(count))) ?? []
      let numbers = stride(from: 0, to: bytes.count, by: 4).compactMap {
        bytes.integer(UInt32.self, littleEndianAt: $0)
      }
      for run in Self.runs(of: numbers) { give(run, queue) }
      queue.complete(chain, written: 0)
    }
  }

  /// Pages side by side are one range: a call of the host's for each is what takes time.
  private static func runs(of numbers: [UInt32]) -> [GPARange] {
    var runs: [GPARange] = []
    var first: UInt64 = 0
    var end: UInt64 = 0
    func close() {
      let range = GPARange(start: GPA(first * pageSize), count: (end - first) * pageSize)
      if let range, range.count > 0 { runs.append(range) }
    }
    for number in numbers.sorted().lazy.map(UInt64.init) where number >= end {
      if number > end {
        close()
        first = number
      }
      end = number + 1
    }
    close()
    return runs
  }

  private func give(_ range: GPARange, _ queue: VirtQueue) {
    guard let count = try? queue.dma.discard(range) else { return }
    state.withLock { $0.givenBack &+= count }
  }

  /// Pages come back by being touched; there is nothing to do.
  private func deflate(_ queue: VirtQueue) {
    while let chain = queue.pop() { queue.complete(chain, written: 0) }
  }

  /// §5.5.6.3 "Memory Statistics". The driver's buffer stays in its queue until the host wants another.
  private func readStatistics(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      let isWanted = state.withLock { state in
        defer { state.wantsStatistics = false }
        return state.wantsStatistics
      }
      guard !isWanted else {
        queue.complete(chain, written: 0)
        continue
      }
      let bytes = try? queue.dma.bytes(of: chain.readable, count: BalloonStatistics.longest)
      state.withLock { $0.statistics = BalloonStatistics(bytes ?? []) }
      return queue.putBack(chain)
    }
  }

  /// §5.5.6.7 "Free Page Reporting": the buffers are the pages themselves.
  private func takeFreePages(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      for range in chain.writable { give(range, queue) }
      queue.complete(chain, written: 0)
    }
  }
}

extension VirtioFeatures {
  // VIRTIO 1.3 §5.5.3 "Feature bits".
  static let statistics = Self(bit: 1)
  static let deflateOnOutOfMemory = Self(bit: 2)
  static let pageReporting = Self(bit: 5)
}
