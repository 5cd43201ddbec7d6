import Synchronization
package import Work

/// Guest time that passes when a test says so. Alarms that come due are posted to their loops.
package final class ManualClock: VMClock {
  private struct State {
    var now = VMInstant(nanoseconds: 0)
    var alarms: [ManualAlarm] = []
  }
  private let state = Mutex(State())
  package let epoch: Int64

  package init(epoch: Int64 = 0) { self.epoch = epoch }

  package var now: VMInstant { state.withLock { $0.now } }

  /// It never stands still by itself.
  package var starts: UInt64 { 1 }

  package func makeAlarm(
    on loop: any Loop, _ ring: @escaping @Sendable () -> Void
  ) -> any Alarm {
    let alarm = ManualAlarm(loop: loop, ring: ring)
    state.withLock { $0.alarms.append(alarm) }
    return alarm
  }

  /// Lets time pass. Alarms due on the way ring in order; a manual loop is run after each.
  package func advance(by nanoseconds: UInt64) {
    let end = now.advanced(by: nanoseconds)
    while let (alarm, moment) = nextDue(until: end) {
      state.withLock { $0.now = max($0.now, moment) }
      alarm.fire()
      (alarm.loop as? ManualLoop)?.run()
    }
    state.withLock { $0.now = end }
  }

  private func nextDue(until end: VMInstant) -> (ManualAlarm, VMInstant)? {
    state.withLock { state in
      state.alarms.compactMap { alarm in alarm.deadline.map { (alarm, $0) } }
        .filter { $0.1 <= end }
        .min { $0.1 < $1.1 }
    }
  }
}

private final class ManualAlarm: Alarm {
  let loop: any Loop
  private let ring: @Sendable () -> Void
  private let moment = Mutex<VMInstant?>(nil)

  init(loop: any Loop, ring: @escaping @Sendable () -> Void) {
    self.loop = loop
    self.ring = ring
  }

  var deadline: VMInstant? { moment.withLock { $0 } }

  func set(_ deadline: VMInstant?) { moment.withLock { $0 = deadline } }

  func fire() {
    moment.withLock { $0 = nil }
    loop.post(ring)
  }
}
