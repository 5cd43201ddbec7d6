import ArchitectureX86
import Board
import Execution
import InterruptControllers
import Kit
import Testing
import Work

/// Two local APICs in lives of chance: every register and MSR, time, messages, pins. Nothing traps, and
/// whatever is saved restores into a twin.
@Suite struct RandomLifeTests {
  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `local APICs live through anything`(seed: UInt64) throws {
    var chance = Chance(seed: seed)
    let bench = APICBench(processors: 2)
    let acknowledger = FixedAcknowledger(vector: 0x20)
    defer { withExtendedLifetime(acknowledger) {} }
    bench.apics.connect(acknowledger: acknowledger)
    for _ in 0..<5000 {
      let index = Int(chance.number(below: 2))
      let apic = bench[index]
      switch chance.number(below: 12) {
      case 0: bench.clock.advance(by: chance.number(below: 100_000))
      case 1:
        bench.apics.signal(
          MSI(
            address: 0xfee0_0000 | chance.number(below: 1 << 20),
            data: UInt32(truncatingIfNeeded: chance.next())), from: 0)
      case 2:
        bench.apics.set(UInt32(chance.number(below: 3)), asserted: chance.number(below: 2) == 0)
      case 3:
        _ = apic.acknowledgeInterrupt()
        _ = apic.takeNMI()
        _ = apic.takeINIT()
        _ = apic.takeStartUp()
      case 4 where chance.number(below: 8) == 0: apic.softReset()
      case 5 where chance.number(below: 4) == 0: changeMode(of: apic, &chance)
      case 6: apic.tscOffset = chance.value()
      case 7: _ = apic.writeMSR(chance.value(), X86.MSR.tscDeadline)
      case 8:
        let saved = apic.save()
        let twin = APICBench(processors: 2)
        twin.clock.advance(by: bench.clock.now.nanoseconds)
        twin[index].tscOffset = apic.tscOffset
        try twin[index].restore(saved)
        #expect(twin[index].save() == saved)
      case let access where apic.isX2APIC:
        let register = 0x800 + UInt32(chance.number(below: 0x41))
        if access == 9 {
          _ = apic.readMSR(register)
        } else {
          _ = apic.writeMSR(chance.value(), register)
        }
      case let access:
        let register = UInt32(chance.number(below: 0x41)) * 16
        if access == 9 {
          _ = apic.read(register)
        } else {
          apic.write(UInt32(truncatingIfNeeded: chance.value()), register)
        }
      }
    }
  }

  private func changeMode(of apic: LocalAPIC, _ chance: inout Chance) {
    let mode = chance.number(below: 4) << 10
    _ = apic.writeMSR(0xfee0_0000 | mode, X86.MSR.apicBase)
  }
}
