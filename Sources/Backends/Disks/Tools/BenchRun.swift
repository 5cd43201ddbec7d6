import HostOS
import Memory
import Synchronization
import Work

/// One run of a benchmark, on the loop on which it makes its requests.
final class BenchRun: DiskCompletion {
  let loop: any Loop
  private let bench: ImageBench
  private let disk: QueuedDisk
  private let state: LoopBound<State>
  private let ended = Event()
  private let result = Mutex<Result<ImageBench.Figures, DiskError>?>(nil)

  fileprivate struct State {
    var buffers: [GuestBuffers]
    var places: Places
    var free: [UInt16]
    var submitted = 0
    var answered = 0
    var answeredAtOnce = 0
    /// Writes since the last flush.
    var unflushed = 0
    var isFlushing = false
    var error: DiskError?
    var began: HostInstant
  }

  init(_ bench: ImageBench, _ disk: QueuedDisk, _ loop: any Loop) {
    self.bench = bench
    self.disk = disk
    self.loop = loop
    let buffers = (0..<bench.depth).map { _ in
      let buffer = HostBuffer(count: bench.size)
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: bench.pattern)
      return buffer.buffers
    }
    state = LoopBound(
      State(
        buffers: buffers,
        places: Places(bench, diskSize: disk.sectorCount * UInt64(disk.sectorSize)),
        free: (0..<UInt16(bench.depth)).reversed(), began: HostClock.now),
      on: loop)
  }

  func run() -> Result<ImageBench.Figures, ImageError> {
    loop.post { [self] in
      state.with { $0.began = HostClock.now }
      proceed()
    }
    ended.wait()
    return result.withLock { $0! }.mapError { ImageError.disk($0) }
  }

  func completed(_ tag: RequestTag, _ answer: DiskAnswer) {
    state.with { $0.take(tag, answer) }
    proceed()
  }

  /// Makes requests until as many are under way as there may be.
  private func proceed() {
    while let request = state.with({ nextRequest(&$0) }) {
      guard let answer = disk.submit(request, self) else { continue }
      state.with { state in
        state.answeredAtOnce += 1
        state.take(request.tag, answer)
      }
    }
    disk.commit(mayWait: bench.depth == 1)
    let figures = state.with { state -> Result<ImageBench.Figures, DiskError>? in
      guard state.free.count == bench.depth, !state.isFlushing else { return nil }
      if let error = state.error { return .failure(error) }
      return .success(
        ImageBench.Figures(
          requests: state.answered,
          bytes: bench.operation == .flush ? 0 : UInt64(state.answered) * UInt64(bench.size),
          nanoseconds: HostClock.now.nanoseconds - state.began.nanoseconds,
          answeredAtOnce: state.answeredAtOnce))
    }
    guard let figures else { return }
    result.withLock { $0 = figures }
    ended.signal()
  }

  private func nextRequest(_ state: inout State) -> DiskRequest? {
    guard state.error == nil, !state.isFlushing else { return nil }
    if bench.flushInterval > 0, state.unflushed >= bench.flushInterval, bench.operation == .write {
      // All that is to be flushed must have been answered.
      guard state.free.count == bench.depth else { return nil }
      state.isFlushing = true
      state.unflushed = 0
      return DiskRequest(.flush, sectors: 0..<0, tag: Self.flushTag)
    }
    guard state.submitted < bench.count, let slot = state.free.popLast() else { return nil }
    state.submitted += 1
    state.unflushed += 1
    let tag = RequestTag(queue: 0, slot: slot, generation: 0)
    if bench.operation == .flush { return DiskRequest(.flush, sectors: 0..<0, tag: tag) }
    let buffers = state.buffers[Int(slot)]
    let sector = state.places.next() / UInt64(disk.sectorSize)
    return DiskRequest(
      bench.operation == .read ? .read(buffers) : .write(buffers, durable: false),
      sectors: sector..<sector + UInt64(bench.size / disk.sectorSize), tag: tag)
  }

  /// The flushes between writes, which are not counted.
  private static let flushTag = RequestTag(queue: 1, slot: 0, generation: 0)
}

extension BenchRun.State {
  fileprivate mutating func take(_ tag: RequestTag, _ answer: DiskAnswer) {
    if case .failure(let failure) = answer { error = error ?? failure }
    if tag.queue == 1 {
      isFlushing = false
    } else {
      free.append(tag.slot)
      answered += 1
    }
  }
}

/// Where one request after the other goes.
struct Places {
  private let size: UInt64
  private let last: UInt64
  private let order: ImageBench.Order
  private var position: UInt64
  private var chance: UInt64

  init(_ bench: ImageBench, diskSize: UInt64) {
    size = UInt64(bench.size)
    last = diskSize - size
    order = bench.order ?? .step(size)
    position = bench.start
    chance = if case .random(let seed) = order { seed } else { 0 }
  }

  mutating func next() -> UInt64 {
    switch order {
    case .step(let step):
      let place = position <= last ? position : 0
      let (sum, overflow) = place.addingReportingOverflow(step)
      position = overflow ? 0 : sum
      return place
    case .random:
      // Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
      chance &+= 0x9e37_79b9_7f4a_7c15
      var mixed = (chance ^ chance >> 30) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
      return (mixed ^ mixed >> 31) % (last / size + 1) * size
    }
  }
}
