import ArchitectureX86
import Board
import Kit
import Memory
import Testing
import Work

@testable import InterruptControllers
@testable import X86Processor

/// The time-stamp counter at frequencies other than one tick a nanosecond.
@Suite struct TimeStampCounterTests {
  private static let frequency: UInt64 = 2_596_126_000

  private let machine = TestMachine(tscFrequency: frequency)

  @Test func `it counts the model's ticks`() {
    #expect(machine.core.timeStampCounter == 0)
    machine.clock.advance(by: 1_000_000_000)
    #expect(machine.core.timeStampCounter == Self.frequency)
    machine.clock.advance(by: 500_000_000)
    #expect(machine.core.timeStampCounter == Self.frequency + Self.frequency / 2)
    machine.clock.advance(by: 1)
    #expect(machine.core.timeStampCounter == Self.frequency + Self.frequency / 2 + 2)
  }

  @Test func `a restored one goes on from its value`() throws {
    machine.clock.advance(by: 777_777_777)
    var state = machine.core.state
    state.tsc = 1 << 40
    try machine.core.restore(state)
    #expect(machine.core.state.tsc == 1 << 40)
    machine.clock.advance(by: 2_000_000_000)
    #expect(machine.core.state.tsc == 1 << 40 + 2 * Self.frequency)
  }

  @Test func `a written one agrees with the deadline timer to the tick`() throws {
    machine.clock.advance(by: 123_456_789)
    try machine.core.writeMSR(X86.MSR.timeStampCounter, 1_000_000)
    #expect(try machine.core.readMSR(X86.MSR.timeStampCounter) == 1_000_000)
    let apic = machine.apics[0]
    apic.write(0x1ff, 0xf0)
    apic.write(0x4_0040, 0x320)  // TSC deadline, vector 0x40
    for deadline in [1_000_100, 2_000_000, 1_000_000 + Self.frequency] as [UInt64] {
      try machine.core.writeMSR(X86.MSR.tscDeadline, deadline)
      var steps = 0
      // By large steps to just before the deadline, then by nanoseconds.
      while machine.core.timeStampCounter < deadline, steps < 100_000 {
        _ = try machine.core.readMSR(X86.MSR.tscDeadline)
        #expect(apic.pending.isEmpty)
        let rest = (deadline - machine.core.timeStampCounter) / 3
        machine.clock.advance(by: max(rest, 1))
        steps += 1
      }
      #expect(try machine.core.readMSR(X86.MSR.tscDeadline) == 0)
      #expect(apic.acknowledgeInterrupt() == 0x40)
      apic.write(0, 0xb0)
    }
  }
}
