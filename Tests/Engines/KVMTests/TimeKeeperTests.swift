import Kit
import Testing
import Work

@testable import KVM

struct TimeKeeperTests {
  /// A clock that stands, and is started by a word.
  private final class Clock: VMClock {
    let manual = ManualClock()
    let starts: UInt64
    init(starts: UInt64) { self.starts = starts }
    var epoch: Int64 { manual.epoch }
    var now: VMInstant { manual.now }
    func makeAlarm(
      on loop: any Loop, _ ring: @escaping @Sendable () -> Void
    ) -> any Alarm { manual.makeAlarm(on: loop, ring) }
  }

  @Test func `the lead at a run's end is that of no other run`() {
    let keeper = TimeKeeper(Clock(starts: 3), frequency: 1_000_000_000)
    let entered = keeper.lead(since: 3)
    #expect(keeper.lead(since: 3) == entered)
    #expect(keeper.lead(atEndOf: 3) == entered)
    keeper.noteLeaving()
    let left = keeper.lead(atEndOf: 3)
    // The clock stands, the host's counter does not.
    #expect(left > entered)
    #expect(keeper.lead(atEndOf: 3) == left)
    // A processor that was in the guest during the run before cannot be measured by this one.
    #expect(keeper.lead(atEndOf: 2) > left)
  }
}
