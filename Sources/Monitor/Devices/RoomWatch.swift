import Board
import Logging
import Synchronization
import Virtio
import Work

/// Has requests that found the host's storage full tried again, until there is room.
final class RoomWatch: Sendable {
  private let name: String
  private let clock: any VMClock
  private let log: Logger
  private let state = Mutex(State())

  private struct State {
    weak var block: VirtioBlock?
    var alarm: (any Alarm)?
    /// When the user was told last.
    var told: VMInstant?
  }

  /// Nanoseconds of guest time between two attempts.
  private static let pause: UInt64 = 500_000_000
  /// The user hears of it at most so often.
  private static let silence: UInt64 = 60_000_000_000

  /// - Parameter loop: the block device's.
  init(_ name: String, _ clock: any VMClock, on loop: any Loop, _ log: Logger) {
    self.name = name
    self.clock = clock
    self.log = log
    let alarm = clock.makeAlarm(on: loop) { [weak self] in self?.tryAgain() }
    state.withLock { $0.alarm = alarm }
  }

  /// Whose requests they are.
  func watch(_ block: VirtioBlock) { state.withLock { $0.block = block } }

  /// A request has begun to wait.
  func hostIsFull() {
    let now = clock.now
    let (alarm, tells) = state.withLock { state in
      let tells = state.told.map { now.nanoseconds(since: $0) >= Self.silence } ?? true
      if tells { state.told = now }
      return (state.alarm, tells)
    }
    if tells { log.warning("\(name): the host has no room; what the guest writes waits for it.") }
    alarm?.set(now.advanced(by: Self.pause))
  }

  private func tryAgain() { state.withLock { $0.block }?.retry() }
}
