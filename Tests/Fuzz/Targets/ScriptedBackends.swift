import Disks
import Inspection
import Memory
import Networks
import SavedState
import Shares
import Synchronization
import Virtio
import Work

/// Writes back what it reads, at once or when told to.
final class EchoDevice: VirtioDevice {
  static let schema = "echo/1"
  struct Saved: Codable, Sendable {}
  let profile = VirtioProfile(deviceID: .entropy, queueSizes: [16, 32])
  private let held: LoopBound<[(VirtQueue, RequestTag)]>
  private let holds: LoopBound<Bool>
  /// Of each queue the chain taken last, if it is held: a device may put back no other.
  private let last: LoopBound<[Int: RequestTag]>

  init(_ loop: any Loop) {
    held = LoopBound([], on: loop)
    holds = LoopBound(false, on: loop)
    last = LoopBound([:], on: loop)
  }

  func service(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      if holds.with({ $0 }) {
        let tag = queue.hold(chain)
        held.with { $0.append((queue, tag)) }
        last.with { $0[queue.index] = tag }
      } else {
        last.with { $0[queue.index] = nil }
        let count = Int(min(chain.readable.byteCount, 1 << 12))
        let bytes = (try? queue.dma.bytes(of: chain.readable, count: count)) ?? []
        let written = (try? queue.dma.write(bytes, to: chain.writable)) ?? 0
        queue.complete(chain, written: written)
      }
    }
  }

  func stir(_ script: inout Script) {
    switch script.byte() & 3 {
    case 0: holds.with { $0 = true }
    case 1: finish()
    case 2: finishOne(Int(script.byte()))
    default: putBackLast(ofQueue: Int(script.byte() & 1))
    }
  }

  func finish() {
    holds.with { $0 = false }
    while held.with({ !$0.isEmpty }) { finishOne(0) }
  }

  private func takeHeld(_ number: Int) -> (VirtQueue, RequestTag)? {
    held.with { $0.isEmpty ? nil : $0.remove(at: number % $0.count) }
  }

  private func finishOne(_ number: Int) {
    guard let (queue, tag) = takeHeld(number) else { return }
    guard let (readable, writable) = queue.buffers(of: tag) else {
      queue.complete(tag, written: 0)
      return
    }
    let bytes = (try? queue.dma.bytes(of: readable, count: 1 << 12)) ?? []
    let written = (try? queue.dma.write(bytes, to: writable)) ?? 0
    queue.complete(tag, written: written)
  }

  private func putBackLast(ofQueue index: Int) {
    guard let tag = last.with({ $0.removeValue(forKey: index) }),
      let place = held.with({ $0.firstIndex { $0.0.index == index && $0.1 == tag } })
    else { return }
    held.with { $0.remove(at: place) }.0.putBack(tag)
  }

  func save() -> Saved { Saved() }
  func restore(_ saved: Saved) {}
  func inspect(_ node: inout Node) { node.field("echo", true) }
}

/// A small disk in memory that answers at once, or when the script says so, or with an error.
final class ScriptedDisk: Disk {
  private struct State {
    var bytes = [UInt8](repeating: 0, count: 64 * 512)
    var isSlow = false
    var error: DiskError?
    var waiting: [(DiskRequest, any DiskCompletion)] = []
  }
  private let state = Mutex(State())
  let sectorSize = 512
  let sectorCount: UInt64 = 64
  let isReadOnly = false
  let physicalBlockSize = 4096
  let discard: RangeLimits? = RangeLimits(maximum: 32, granularity: 8)
  let writeZeroes: RangeLimits? = RangeLimits(maximum: 32, granularity: 8)

  func submit(_ request: DiskRequest, _ completion: any DiskCompletion) -> DiskAnswer? {
    state.withLock { state in
      if state.isSlow {
        state.waiting.append((request, completion))
        return nil
      }
      return answer(request, &state)
    }
  }

  func commit(mayWait: Bool) {}

  func stir(_ script: inout Script) {
    let number = script.byte()
    state.withLock { state in
      state.isSlow = number & 1 != 0
      let errors: [DiskError?] = [
        nil, .noSpace, .outOfRange, .host(operation: "write", code: 5), nil, .readOnly,
        .unsupported, .damaged("a test says so"),
      ]
      state.error = errors[Int(number >> 1 & 7)]
    }
    if number & 0x10 != 0 { finishOne(Int(number >> 5)) }
    if number & 0x90 == 0x80 { finish() }
  }

  func finish() {
    state.withLock { $0.isSlow = false }
    while finishOne(0) {}
  }

  @discardableResult
  private func finishOne(_ number: Int) -> Bool {
    let ended = state.withLock { state -> (DiskRequest, any DiskCompletion, DiskAnswer)? in
      guard !state.waiting.isEmpty else { return nil }
      let (request, completion) = state.waiting.remove(at: number % state.waiting.count)
      return (request, completion, answer(request, &state))
    }
    guard let (request, completion, answer) = ended else { return false }
    completion.loop.post { completion.completed(request.tag, answer) }
    return true
  }

  private func answer(_ request: DiskRequest, _ state: inout State) -> DiskAnswer {
    if let error = state.error { return .failure(error) }
    if case .flush = request.operation { return .success(()) }
    guard request.sectors.upperBound <= sectorCount else { return .failure(.outOfRange) }
    let range = Int(request.sectors.lowerBound) * 512..<Int(request.sectors.upperBound) * 512
    switch request.operation {
    case .read(let buffers):
      guard buffers.count == range.count else { return .failure(.outOfRange) }
      var place = range.lowerBound
      for part in buffers.parts {
        part.copyBytes(from: state.bytes[place..<place + part.count])
        place += part.count
      }
      buffers.noteWritten()
    case .write(let buffers, _):
      guard buffers.count == range.count else { return .failure(.outOfRange) }
      var place = range.lowerBound
      for part in buffers.parts {
        state.bytes.replaceSubrange(place..<place + part.count, with: part)
        place += part.count
      }
    case .writeZeroes:
      state.bytes.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
    case .discard, .flush: break
    }
    return .success(())
  }
}

/// The other end of a cable: frames come when the script says so, and there is as much room as it says.
final class ScriptedPort: NetworkPort {
  private struct State {
    var waiting: [Frame] = []
    var room = Int.max
    var user: (any NetworkPortUser)?
  }
  private let state = Mutex(State())
  let maximumTransmissionUnit = 1500
  let offloads: Offloads = [.checksum, .segmentTCPv4, .segmentTCPv6]

  func accept(_ offloads: Offloads) {}
  func attach(_ user: any NetworkPortUser) { state.withLock { $0.user = user } }

  func send(_ frames: [Frame]) -> Int {
    state.withLock { state in
      let count = min(frames.count, state.room)
      if state.room != .max { state.room -= count }
      return count
    }
  }

  func receive(upTo count: Int) -> [Frame] {
    state.withLock { state in
      let taken = Array(state.waiting.prefix(count))
      state.waiting.removeFirst(taken.count)
      return taken
    }
  }

  func stir(_ script: inout Script) {
    let number = script.byte()
    let events: PortEvents = number & 1 == 0 ? .mayReceive : .maySend
    if number & 1 == 0 {
      var frame = Frame(script.piece() + [UInt8](repeating: 7, count: Int(number >> 3) * 100))
      if number & 2 != 0 {
        frame.unfinished.checksum = (Int(script.byte()), Int(script.byte()))
      }
      if number & 4 != 0 { frame.unfinished.segmentSize = Int(script.byte()) * 8 }
      state.withLock { $0.waiting.append(frame) }
    } else {
      state.withLock { $0.room = Int(number >> 1 & 7) }
    }
    guard let user = state.withLock({ $0.user }) else { return }
    user.loop.post { user.portReady(events) }
  }
}

/// Answers a message with its bytes in reverse, soon or when the script says so; nothing, to one that begins with zero.
final class ScriptedShare: ShareService {
  private struct State {
    var isSlow = false
    var waiting: [(ShareRequest, any ShareCompletion)] = []
  }
  private let state = Mutex(State())
  private let loop: any Loop

  init(_ loop: any Loop) { self.loop = loop }

  func submit(_ request: ShareRequest, _ completion: any ShareCompletion) {
    let isSlow = state.withLock { state in
      state.waiting.append((request, completion))
      return state.isSlow
    }
    if !isSlow { finishOne(0) }
  }

  func stir(_ script: inout Script) {
    let number = script.byte()
    state.withLock { $0.isSlow = number & 1 != 0 }
    if number & 2 != 0 { finishOne(Int(number >> 2)) }
  }

  func finish() {
    state.withLock { $0.isSlow = false }
    while finishOne(0) {}
  }

  @discardableResult
  private func finishOne(_ number: Int) -> Bool {
    let ended = state.withLock { state -> (ShareRequest, any ShareCompletion)? in
      state.waiting.isEmpty ? nil : state.waiting.remove(at: number % state.waiting.count)
    }
    guard let (request, completion) = ended else { return false }
    let answer =
      request.bytes.first == 0 ? [] : Array(request.bytes.reversed().prefix(request.room))
    loop.post { completion.answered(request.tag, answer) }
    return true
  }

  func reset() {}
  func save() throws(ShareError) -> [UInt8] { [7] }
  func restore(_ saved: [UInt8]) throws(ShareError) {
    guard saved == [7] else { throw .damaged("this is not what was saved") }
  }
}

/// Random numbers that are none.
final class CountingSource: RandomSource {
  func bytes(count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }
}
