package import HostOS
import Synchronization

/// A pcapng file that frames are recorded in, in the order of the calls.
///
/// A thread of its own writes, so that whoever records never waits for the host's disk. What it has not yet written is
/// bounded: beyond that frames are left out, and the file says how many.
package final class CaptureFile: Sendable {
  private final class Shared: Sendable {
    struct State {
      var waiting: [UInt8] = []
      var seen: UInt64 = 0
      var dropped: UInt64 = 0
      /// Left out since the last frame that was recorded.
      var droppedInRow: UInt64 = 0
      var isClosed = false
      var failure: HostError?
    }
    let state = Mutex(State())
    let work = Event()
    let end = Event()
  }

  private let shared = Shared()
  private let thread: Mutex<Thread?>
  private let capacity: Int
  private let clock: @Sendable () -> UInt64

  /// Starts the file anew. `clock`: nanoseconds since 1970. `capacity`: bytes that may wait to be written.
  package convenience init(
    path: String, interface: String, capacity: Int = 8 << 20,
    clock: @escaping @Sendable () -> UInt64 = { HostClock.nanosecondsSince1970 }
  ) throws(HostError) {
    try self.init(
      to: HostFile.create(path), interface: interface, capacity: capacity, clock: clock)
  }

  /// Records to a handle that may make its writer wait: a file, a pipe to a program.
  package init(
    to output: Descriptor, interface: String, capacity: Int = 8 << 20,
    clock: @escaping @Sendable () -> UInt64 = { HostClock.nanosecondsSince1970 }
  ) throws(HostError) {
    self.capacity = capacity
    self.clock = clock
    let shared = shared
    shared.state.withLock {
      $0.waiting = PCAPNG.header(application: "Roost", interface: interface)
    }
    let thread = try Thread(name: "capture") { Self.write(shared, to: output) }
    self.thread = Mutex(thread)
  }

  deinit { close() }

  /// Records frames that passed just now. From any thread; never waits.
  package func record(_ frames: some Collection<Frame>, _ direction: PCAPNG.Direction) {
    guard !frames.isEmpty else { return }
    let mustWake = shared.state.withLock { state in
      let wasEmpty = state.waiting.isEmpty
      // Under the lock, so that times in the file never go back.
      let now = clock()
      for frame in frames {
        state.seen += 1
        // An upper bound of what a block takes besides the frame.
        let room = capacity - state.waiting.count - 64
        guard state.failure == nil, !state.isClosed, frame.count <= room else {
          state.dropped += 1
          state.droppedInRow += 1
          continue
        }
        state.waiting += PCAPNG.packet(
          frame.slice, at: now, direction, dropped: state.droppedInRow)
        state.droppedInRow = 0
      }
      return wasEmpty
    }
    if mustWake { shared.work.signal() }
  }

  /// Frames that were to be recorded and are not in the file.
  package var dropped: UInt64 { shared.state.withLock { $0.dropped } }
  /// Why nothing is recorded any more.
  package var failure: HostError? { shared.state.withLock { $0.failure } }

  /// How long `close` waits for who reads a pipe, in nanoseconds.
  private static let patience: UInt64 = 10_000_000_000

  /// Writes what waits, and the statistics, and ends. Answers why the file is not complete. Idempotent.
  @discardableResult
  package func close() -> HostError? {
    let now = clock()
    shared.state.withLock { state in
      guard !state.isClosed else { return }
      state.isClosed = true
      state.waiting += PCAPNG.statistics(at: now, seen: state.seen, dropped: state.dropped)
    }
    shared.work.signal()
    guard let thread = self.thread.withLock({ $0.take() }) else { return failure }
    guard shared.end.wait(until: HostClock.now.advanced(by: Self.patience)) else {
      return .timedOut("write the end of a capture")
    }
    thread.join()
    return failure
  }

  private static func write(_ shared: Shared, to output: Descriptor) {
    defer { shared.end.signal() }
    while true {
      let (bytes, isClosed) = shared.state.withLock { state in
        defer { state.waiting = [] }
        return (state.waiting, state.isClosed)
      }
      if bytes.isEmpty {
        if isClosed { return }
        shared.work.wait()
        continue
      }
      do throws(HostError) {
        try output.writeAll(bytes)
      } catch {
        shared.state.withLock { state in
          state.failure = error
          state.waiting = []
        }
        return
      }
    }
  }
}
