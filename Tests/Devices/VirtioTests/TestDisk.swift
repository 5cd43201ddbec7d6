import Disks
import Memory
import Synchronization
import Work

/// A disk in memory that answers at once, or when the test says so, or with an error.
final class TestDisk: Disk {
  struct State {
    var bytes: [UInt8]
    var isSlow = false
    var error: DiskError?
    var waiting: [(DiskRequest, any DiskCompletion)] = []
    var log: [String] = []
    var commits = 0
    /// Of those: where the disk was allowed to wait, and how long the queue of waiting requests was then.
    var waits: [Int] = []
  }
  let state: Mutex<State>
  nonisolated(unsafe) private var next: (() -> Void)?
  let sectorSize: Int
  let isReadOnly: Bool
  let physicalBlockSize: Int
  let discard: RangeLimits?
  let writeZeroes: RangeLimits?

  init(
    sectors: Int, sectorSize: Int = 512, physicalBlockSize: Int = 4096, isReadOnly: Bool = false,
    limits: RangeLimits? = RangeLimits(maximum: 64, granularity: 8)
  ) {
    state = Mutex(State(bytes: .init(repeating: 0, count: sectors * sectorSize)))
    self.sectorSize = sectorSize
    self.isReadOnly = isReadOnly
    self.physicalBlockSize = physicalBlockSize
    discard = limits
    writeZeroes = limits
  }

  var sectorCount: UInt64 { state.withLock { UInt64($0.bytes.count / sectorSize) } }
  var log: [String] { state.withLock { $0.log } }

  func submit(_ request: DiskRequest, _ completion: any DiskCompletion) -> DiskAnswer? {
    state.withLock { state in
      if state.isSlow {
        state.waiting.append((request, completion))
        return nil
      }
      return Self.answer(request, &state, self)
    }
  }

  func commit(mayWait: Bool) {
    state.withLock { state in
      state.commits += 1
      if mayWait { state.waits.append(state.waiting.count) }
    }
    next.take()?()
  }

  /// Has something happen at the next commit, on the test's only thread.
  func atCommit(_ body: @escaping () -> Void) { next = body }

  /// Answers a request that waits.
  func finish(_ number: Int = 0) {
    let (request, completion, answer) = state.withLock { state in
      let (request, completion) = state.waiting.remove(at: number)
      return (request, completion, Self.answer(request, &state, self))
    }
    completion.loop.post { completion.completed(request.tag, answer) }
  }

  private static func answer(
    _ request: DiskRequest, _ state: inout State, _ disk: TestDisk
  ) -> DiskAnswer {
    if let error = state.error { return .failure(error) }
    let size = disk.sectorSize
    if case .flush = request.operation {
      state.log.append("flush")
      return .success(())
    }
    guard request.sectors.upperBound <= UInt64(state.bytes.count / size) else {
      return .failure(.outOfRange)
    }
    let range = Int(request.sectors.lowerBound) * size..<Int(request.sectors.upperBound) * size
    var place = range.lowerBound
    switch request.operation {
    case .read(let buffers):
      guard buffers.count == range.count else { return .failure(.outOfRange) }
      for part in buffers.parts {
        state.bytes.withUnsafeBytes { bytes in
          part.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[place..<place + part.count]))
        }
        place += part.count
      }
    case .write(let buffers, let durable):
      if disk.isReadOnly { return .failure(.readOnly) }
      guard buffers.count == range.count else { return .failure(.outOfRange) }
      for part in buffers.parts {
        state.bytes.replaceSubrange(place..<place + part.count, with: part)
        place += part.count
      }
      if durable { state.log.append("durable") }
    case .discard: state.log.append("discard \(request.sectors)")
    case .writeZeroes(let mayUnmap):
      state.log.append("zero \(request.sectors)\(mayUnmap ? " unmap" : "")")
      state.bytes.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
    case .flush: break
    }
    return .success(())
  }
}
