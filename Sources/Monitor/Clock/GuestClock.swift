package import HostOS
import Synchronization
package import Work

/// The guest's time, taken from the host's monotonic clock while the machine runs.
///
/// It is made standing still. `start` and `stop` belong to the machine's lifecycle: the processors rest
/// then, and `stop` runs on the loop, so that nobody who reads the clock sees it go back.
package final class GuestClock: VMClock {
  package let epoch: Int64
  private let loop: EventLoop
  /// While the clock stands: the time. While it runs: `running`, and how far the host is ahead of the
  /// guest, modulo 2^63. One word, so that processors read the time without a lock.
  private let word: Atomic<UInt64>
  private let startCount = Atomic<UInt64>(0)
  private let alarms = Mutex(Alarms())

  private static let running: UInt64 = 1 << 63

  private struct Alarms {
    var entries: [UInt64: Entry] = [:]
    var next: UInt64 = 0
  }

  private struct Entry {
    let timer: Timer
    let loop: any Loop
    let ring: @Sendable () -> Void
    var deadline: VMInstant?
  }

  /// A clock that stands at `now`; its alarms use the loop's timers.
  package init(
    at now: VMInstant = VMInstant(nanoseconds: 0), epoch: Int64 = HostClock.secondsSince1970,
    on loop: EventLoop
  ) {
    self.epoch = epoch
    self.loop = loop
    word = Atomic(now.nanoseconds & ~Self.running)
  }

  package var starts: UInt64 { startCount.load(ordering: .acquiring) }

  package var now: VMInstant {
    let word = word.load(ordering: .acquiring)
    guard word & Self.running != 0 else { return VMInstant(nanoseconds: word) }
    let guest = HostClock.now.nanoseconds &- (word & ~Self.running)
    return VMInstant(nanoseconds: guest & ~Self.running)
  }
}

// MARK: - Running and standing still

extension GuestClock {
  /// Lets time pass from where it stands.
  package func start() {
    alarms.withLock { alarms in
      let guest = word.load(ordering: .relaxed)
      guard guest & Self.running == 0 else { return }
      let ahead = HostClock.now.nanoseconds &- guest
      word.store(ahead | Self.running, ordering: .releasing)
      startCount.add(1, ordering: .releasing)
      for entry in alarms.entries.values { arm(entry) }
    }
  }

  /// Holds time where it is. No alarm rings until the next `start`.
  package func stop() {
    alarms.withLock { alarms in
      word.store(now.nanoseconds, ordering: .releasing)
      for entry in alarms.entries.values { entry.timer.set(nil) }
    }
  }

  private var isRunning: Bool { word.load(ordering: .acquiring) & Self.running != 0 }

  /// Sets the host's timer for the entry's deadline, if time passes.
  private func arm(_ entry: Entry) {
    guard let deadline = entry.deadline else { return entry.timer.set(nil) }
    let word = word.load(ordering: .acquiring)
    guard word & Self.running != 0 else { return }
    let (left, passed) = deadline.nanoseconds.subtractingReportingOverflow(now.nanoseconds)
    entry.timer.set(HostClock.now.advanced(by: passed ? 0 : left))
  }
}

// MARK: - Alarms

extension GuestClock {
  package func makeAlarm(
    on loop: any Loop, _ ring: @escaping @Sendable () -> Void
  ) -> any Alarm {
    let number = alarms.withLock { alarms in
      defer { alarms.next += 1 }
      return alarms.next
    }
    // The timer holds the clock, the clock the timer: the alarm's end takes the entry out.
    let timer = self.loop.makeTimer { self.ring(number) }
    let entry = Entry(timer: timer, loop: loop, ring: ring)
    alarms.withLock { $0.entries[number] = entry }
    return GuestAlarm(clock: self, number: number)
  }

  fileprivate func set(_ number: UInt64, to deadline: VMInstant?) {
    alarms.withLock { alarms in
      guard var entry = alarms.entries[number] else { return }
      entry.deadline = deadline
      alarms.entries[number] = entry
      arm(entry)
    }
  }

  fileprivate func remove(_ number: UInt64) {
    let entry = alarms.withLock { $0.entries.removeValue(forKey: number) }
    entry?.timer.set(nil)
  }

  /// The host's timer for an alarm has run out.
  private func ring(_ number: UInt64) {
    let due = alarms.withLock { alarms -> Entry? in
      guard isRunning, let entry = alarms.entries[number], let deadline = entry.deadline else {
        return nil
      }
      guard deadline <= now else {
        arm(entry)
        return nil
      }
      alarms.entries[number]?.deadline = nil
      return entry
    }
    guard let due else { return }
    if due.loop.isCurrent { due.ring() } else { due.loop.post(due.ring) }
  }
}

private final class GuestAlarm: Alarm {
  private let clock: GuestClock
  private let number: UInt64

  init(clock: GuestClock, number: UInt64) {
    self.clock = clock
    self.number = number
  }

  deinit { clock.remove(number) }

  func set(_ deadline: VMInstant?) { clock.set(number, to: deadline) }
}
