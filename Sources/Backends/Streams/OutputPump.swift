import HostOS
import Synchronization

/// Carries bytes to a handle that may make its writer wait: a terminal, a pipe, a file.
///
/// A thread of its own does the waiting. Whoever sends sees a queue that is full at times. When the other
/// end is gone the bytes are dropped, so that nobody waits for a reader who will never come.
final class OutputPump: Sendable {
  private struct State {
    var queue: ByteQueue
    /// Somebody was told that there is no room.
    var owesRoom = false
    /// The thread holds bytes which it has not yet written.
    var isWriting = false
    var isClosed = false
    var failure: HostError?
  }
  private let output: Descriptor
  private let state: Mutex<State>
  private let work = Event()
  private let progress = Event()
  private let roomCame: @Sendable () -> Void

  /// `roomCame` runs on the pump's thread when there is room again after a short `send`.
  init(
    to output: Descriptor, capacity: Int = 1 << 16, _ roomCame: @escaping @Sendable () -> Void
  ) throws(HostError) {
    self.output = output
    self.roomCame = roomCame
    state = Mutex(State(queue: ByteQueue(capacity: capacity)))
    _ = try Thread(name: "output") { self.run() }
  }

  /// Takes what there is room for; answers how many bytes that was.
  func send(_ bytes: [UInt8]) -> Int {
    let accepted = state.withLock { state in
      if state.failure != nil || state.isClosed { return bytes.count }
      let accepted = state.queue.append(bytes)
      if accepted < bytes.count { state.owesRoom = true }
      return accepted
    }
    work.signal()
    return accepted
  }

  /// Takes everything, whether there is room or not: for the little that is our own.
  func insist(_ bytes: [UInt8]) {
    state.withLock { state in
      if state.failure == nil, !state.isClosed { state.queue.appendAll(bytes) }
    }
    work.signal()
  }

  /// Waits until everything sent so far has been written, but not longer than `patience` nanoseconds
  /// without any progress; then ends the thread once it can. Answers why bytes were lost, unless their
  /// reader had gone.
  func close(patience: UInt64 = 2_000_000_000) -> HostError? {
    defer {
      state.withLock { $0.isClosed = true }
      work.signal()
    }
    var left = Int.max
    while true {
      let (count, isDone, failure) = state.withLock {
        ($0.queue.count, $0.failure != nil || ($0.queue.isEmpty && !$0.isWriting), $0.failure)
      }
      if isDone { return failure.flatMap { $0.isBrokenPipe ? nil : $0 } }
      work.signal()
      if !progress.wait(until: HostClock.now.advanced(by: patience)), count >= left {
        return .timedOut("deliver the last \(count) bytes")
      }
      left = count
    }
  }

  private func run() {
    while true {
      work.wait()
      // A guest writes byte by byte: a short rest makes one system call of many.
      Thread.sleep(until: HostClock.now.advanced(by: Self.rest))
      while let bytes = take() {
        do throws(HostError) {
          try output.writeAll(bytes)
        } catch {
          state.withLock { $0.failure = error }
        }
        finish()
      }
      if state.withLock({ $0.isClosed && $0.queue.isEmpty }) { return }
    }
  }

  private func take() -> [UInt8]? {
    state.withLock { state in
      guard !state.queue.isEmpty else { return nil }
      state.isWriting = true
      return state.queue.take(Self.portion)
    }
  }

  private func finish() {
    let hasRoom = state.withLock { state in
      state.isWriting = false
      if state.failure != nil { state.queue.drop(state.queue.count) }
      guard state.owesRoom, state.queue.room >= state.queue.capacity / 2 else { return false }
      state.owesRoom = false
      return true
    }
    progress.signal()
    if hasRoom { roomCame() }
  }

  /// Nanoseconds between the first byte and the write that carries it.
  private static let rest: UInt64 = 500_000
  /// What a pipe with any room takes whole.
  private static let portion = 4096
}
