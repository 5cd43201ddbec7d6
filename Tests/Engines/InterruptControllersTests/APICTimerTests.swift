import ArchitectureX86
import InterruptControllers
import Kit
import Testing
import Work

/// SDM Vol. 3A §11.5.4 "APIC Timer".
@Suite struct APICTimerTests {
  let bench = APICBench(processors: 1)
  var apic: LocalAPIC { bench[0] }

  @Test func `a one-shot timer counts bus clocks down and interrupts once`() {
    apic.write(0x30, Offset.timer)
    apic.write(0b1011, Offset.divide)
    apic.write(1000, Offset.initialCount)
    bench.clock.advance(by: 999)
    #expect(apic.read(Offset.currentCount) == 1)
    #expect(apic.pending == [])
    bench.clock.advance(by: 1)
    #expect(apic.acknowledgeInterrupt() == 0x30)
    #expect(apic.read(Offset.currentCount) == 0)
    apic.write(0, Offset.endOfInterrupt)
    bench.clock.advance(by: 100_000)
    #expect(apic.pending == [])
  }

  @Test(arguments: [
    (0b0000, 2), (0b0001, 4), (0b0010, 8), (0b0011, 16), (0b1000, 32), (0b1001, 64), (0b1010, 128),
    (0b1011, 1),
  ])
  func `the divide configuration slows the count`(_ configuration: Int, _ divisor: Int) {
    apic.write(UInt32(configuration), Offset.divide)
    apic.write(0x30, Offset.timer)
    apic.write(100, Offset.initialCount)
    bench.clock.advance(by: UInt64(99 * divisor))
    #expect(apic.read(Offset.currentCount) == 1)
    bench.clock.advance(by: UInt64(divisor))
    #expect(apic.pending == .interrupt)
  }

  @Test func `a new divisor takes over from where the count is`() {
    apic.write(0b1011, Offset.divide)
    apic.write(0x30, Offset.timer)
    apic.write(1000, Offset.initialCount)
    bench.clock.advance(by: 400)
    apic.write(0b0000, Offset.divide)
    #expect(apic.read(Offset.currentCount) == 600)
    bench.clock.advance(by: 1199)
    #expect(apic.pending == [])
    bench.clock.advance(by: 1)
    #expect(apic.pending == .interrupt)
  }

  @Test func `a periodic timer keeps its beat`() {
    apic.write(0x2_0031, Offset.timer)
    apic.write(0b1011, Offset.divide)
    apic.write(1_000_000, Offset.initialCount)
    for _ in 1...5 {
      bench.clock.advance(by: 999_999)
      #expect(apic.pending == [])
      bench.clock.advance(by: 1)
      #expect(apic.acknowledgeInterrupt() == 0x31)
      apic.write(0, Offset.endOfInterrupt)
    }
    apic.write(0, Offset.initialCount)
    bench.clock.advance(by: 5_000_000)
    #expect(apic.pending == [])
  }

  @Test func `the shortest period cannot flood the host`() {
    apic.write(0x2_0031, Offset.timer)
    apic.write(0b1011, Offset.divide)
    apic.write(1, Offset.initialCount)
    bench.clock.advance(by: 1_000_000)
    #expect(bench.attention.processors == [0])
    #expect(apic.acknowledgeInterrupt() == 0x31)
  }

  @Test func `a masked timer counts but does not interrupt`() {
    apic.write(0x1_0030, Offset.timer)
    apic.write(0b1011, Offset.divide)
    apic.write(1000, Offset.initialCount)
    bench.clock.advance(by: 2000)
    #expect(apic.read(Offset.currentCount) == 0)
    apic.write(0x30, Offset.timer)
    bench.clock.advance(by: 2000)
    #expect(apic.pending == [])
  }

  @Test(arguments: [1_000_000_000, 2_400_000_000, 999_999_937, 3] as [UInt64])
  func `the deadline timer expires at the first nanosecond of its tick`(_ frequency: UInt64) throws
  {
    let bench = APICBench(processors: 1, tscFrequency: frequency)
    let apic = bench[0]
    let counter = Oscillator(frequency: frequency)
    apic.tscOffset = 1000
    apic.write(0x4_0032, Offset.timer)
    let deadline: UInt64 = 1000 + 12345
    #expect(apic.writeMSR(deadline, X86.MSR.tscDeadline))
    #expect(apic.readMSR(X86.MSR.tscDeadline) == deadline)
    let moment = try #require(counter.moment(of: 12345)).nanoseconds
    bench.clock.advance(by: moment - 1)
    #expect(counter.ticks(at: bench.clock.now) < 12345)
    #expect(apic.pending == [])
    bench.clock.advance(by: 1)
    #expect(counter.ticks(at: bench.clock.now) >= 12345)
    #expect(apic.acknowledgeInterrupt() == 0x32)
    #expect(apic.readMSR(X86.MSR.tscDeadline) == 0)
  }

  @Test func `a deadline in the past expires at once, zero disarms`() {
    apic.write(0x4_0032, Offset.timer)
    bench.clock.advance(by: 5000)
    #expect(apic.writeMSR(4000, X86.MSR.tscDeadline))
    #expect(apic.acknowledgeInterrupt() == 0x32)
    apic.write(0, Offset.endOfInterrupt)
    #expect(apic.writeMSR(9000, X86.MSR.tscDeadline))
    #expect(apic.writeMSR(0, X86.MSR.tscDeadline))
    bench.clock.advance(by: 10000)
    #expect(apic.pending == [])
  }

  @Test func `the deadline counts only in its own mode, and a change of mode disarms`() {
    #expect(apic.writeMSR(100, X86.MSR.tscDeadline))
    #expect(apic.readMSR(X86.MSR.tscDeadline) == 0)
    apic.write(0x4_0032, Offset.timer)
    #expect(apic.writeMSR(100, X86.MSR.tscDeadline))
    apic.write(7, Offset.initialCount)
    #expect(apic.read(Offset.currentCount) == 0)
    apic.write(0x32, Offset.timer)
    #expect(apic.readMSR(X86.MSR.tscDeadline) == 0)
    bench.clock.advance(by: 1000)
    #expect(apic.pending == [])
  }

  @Test func `a deadline beyond the end of time never comes`() {
    apic.tscOffset = 0 &- 1000
    apic.write(0x4_0032, Offset.timer)
    bench.clock.advance(by: 2000)
    #expect(apic.writeMSR(.max, X86.MSR.tscDeadline))
    bench.clock.advance(by: 1_000_000)
    #expect(apic.pending == [])
  }

  @Test func `moving the time-stamp counter moves the deadline`() {
    apic.write(0x4_0032, Offset.timer)
    #expect(apic.writeMSR(10_000, X86.MSR.tscDeadline))
    apic.tscOffset = 9_000
    bench.clock.advance(by: 999)
    #expect(apic.pending == [])
    bench.clock.advance(by: 1)
    #expect(apic.pending == .interrupt)
  }

  @Test func `a timer that rings while its machine ends reaches nobody`() {
    let clock = ManualClock()
    let attention = RecordingAttention()
    var apics: LocalAPICs? = LocalAPICs(
      processors: 1, clock: clock, loop: ManualLoop(), tscFrequency: 1_000_000_000,
      attention: attention)
    let apic = apics?[0]
    apic?.write(0x1ff, Offset.spurious)
    apic?.write(0x30, Offset.timer)
    apic?.write(0b1011, Offset.divide)
    apic?.write(1000, Offset.initialCount)
    apics = nil
    clock.advance(by: 1000)
    #expect(attention.processors == [])
    withExtendedLifetime(apic) {}
  }
}
