import HostOS
import Monitor
import Synchronization
import Testing
import Work

struct GuestClockTests {
  @Test func `time stands still until start and again after stop, and goes on where it stood`()
    async throws
  {
    let loop = try EventLoop(name: "clock")
    let clock = GuestClock(at: VMInstant(nanoseconds: 500), epoch: 7, on: loop)
    #expect(clock.now == VMInstant(nanoseconds: 500))
    let before = HostClock.now.nanoseconds
    clock.start()
    try await Task.sleep(for: .milliseconds(20))
    clock.stop()
    let lived = clock.now.nanoseconds - 500
    #expect(lived >= 20_000_000 && lived <= HostClock.now.nanoseconds - before)
    let stood = clock.now
    try await Task.sleep(for: .milliseconds(5))
    #expect(clock.now == stood)
    clock.start()
    #expect(clock.now >= stood && clock.now.nanoseconds < stood.nanoseconds + 1_000_000_000)
    loop.stop()
  }

  @Test func `an alarm rings when guest time reaches it, and no sooner`() async throws {
    let loop = try EventLoop(name: "clock")
    let clock = GuestClock(on: loop)
    let rang = Mutex<[UInt64]>([])
    let alarm = clock.makeAlarm(on: loop) { rang.withLock { $0.append(clock.now.nanoseconds) } }
    alarm.set(VMInstant(nanoseconds: 10_000_000))
    try await Task.sleep(for: .milliseconds(20))
    #expect(rang.withLock { $0.isEmpty })
    clock.start()
    #expect(await eventually { rang.withLock { $0.count } == 1 })
    #expect(rang.withLock { $0[0] } >= 10_000_000)
    // Set for a moment in the past it rings at once; taken back it does not ring.
    alarm.set(VMInstant(nanoseconds: 1))
    #expect(await eventually { rang.withLock { $0.count } == 2 })
    alarm.set(clock.now.advanced(by: 5_000_000))
    alarm.set(nil)
    try await Task.sleep(for: .milliseconds(10))
    #expect(rang.withLock { $0.count } == 2)
    loop.stop()
  }

  @Test func `an alarm that is due while time stands rings after the next start`() async throws {
    let loop = try EventLoop(name: "clock")
    let clock = GuestClock(on: loop)
    let rang = Atomic<Int>(0)
    let alarm = clock.makeAlarm(on: loop) { rang.add(1, ordering: .relaxed) }
    clock.start()
    alarm.set(clock.now.advanced(by: 2_000_000))
    clock.stop()
    try await Task.sleep(for: .milliseconds(10))
    #expect(rang.load(ordering: .relaxed) == 0)
    clock.start()
    #expect(await eventually { rang.load(ordering: .relaxed) == 1 })
    loop.stop()
  }
}
