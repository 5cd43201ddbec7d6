import Board
import Kit
import Testing
import Work

@testable import Chipset

/// Every chip of the chipset that has registers and no stream behind it, in lives of chance.
@Suite struct RandomLifeTests {
  private static let steps = 4000

  private func line(_ pin: UInt32) -> InterruptLine {
    InterruptLine(to: RecordingController(), pin: pin)
  }

  private static func drive(_ device: some InterruptController, _ number: UInt64) {
    device.set(UInt32(number % 32), asserted: number >> 32 & 1 != 0)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the HPET lives through anything`(seed: UInt64) {
    let clock = ManualClock()
    let loop = ManualLoop()
    var life = RandomLife(
      seed: seed, clock: clock,
      of: {
        HPET(
          irq0: line(0), irq8: line(8), pins: RecordingController(), clock: clock, loop: loop)
      }, plug: { $1.map($0, at: 0..<0x180) }, wideAccess: .refuse, events: [Self.drive])
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the I/O APIC lives through anything`(seed: UInt64) {
    var life = RandomLife(
      seed: seed, clock: ManualClock(), of: { IOAPIC(target: RecordingMSITarget()) },
      plug: { $1.map($0, at: 0..<0x50) }, wideAccess: .refuse,
      events: [Self.drive, { $0.endOfInterrupt(vector: UInt8(truncatingIfNeeded: $1)) }])
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `ACPI's fixed hardware lives through anything`(seed: UInt64) {
    let clock = ManualClock()
    let loop = ManualLoop()
    var life = RandomLife(
      seed: seed, clock: clock,
      of: {
        ACPIPowerManagement(
          interrupt: line(9), clock: clock, loop: loop, control: RecordingMachineControl())
      },
      plug: { device, ports in
        for block in [ACPIPowerManagement.Block.event, .control, .timer, .generalPurposeEvents] {
          let port = UInt64(block.rawValue) * 8
          ports.map(device, at: port..<port + block.length, region: block.rawValue)
        }
      },
      events: [{ device, _ in device.pressPowerButton() }, { $0.raise(event: Int($1 % 16)) }])
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the 8254 lives through anything`(seed: UInt64) {
    let clock = ManualClock()
    let loop = ManualLoop()
    var life = RandomLife(
      seed: seed, clock: clock, of: { I8254(interrupt: line(0), clock: clock, loop: loop) },
      plug: {
        $1.map($0, at: 0x40..<0x44, region: I8254.Block.timer.rawValue)
        $1.map($0, at: 0x61..<0x62, region: I8254.Block.systemControlB.rawValue)
      })
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the 8259 pair lives through anything`(seed: UInt64) {
    var life = RandomLife(
      seed: seed, clock: ManualClock(), of: { I8259Pair(output: line(0)) },
      plug: {
        $1.map($0, at: 0x20..<0x22, region: I8259Pair.Block.master.rawValue)
        $1.map($0, at: 0xa0..<0xa2, region: I8259Pair.Block.slave.rawValue)
        $1.map($0, at: 0x4d0..<0x4d2, region: I8259Pair.Block.edgeLevel.rawValue)
      }, events: [Self.drive, { pair, _ in _ = pair.acknowledge() }])
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the real-time clock lives through anything`(seed: UInt64) {
    let clock = ManualClock(epoch: 1_700_000_000)
    let loop = ManualLoop()
    var life = RandomLife(
      seed: seed, clock: clock, of: { RTCMC146818(interrupt: line(8), clock: clock, loop: loop) },
      plug: { $1.map($0, at: 0x70..<0x74) })
    #expect(life.live(steps: Self.steps) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `the 8042 lives through anything`(seed: UInt64) {
    var life = RandomLife(
      seed: seed, clock: ManualClock(),
      of: {
        I8042(
          keyboardInterrupt: line(1), mouseInterrupt: line(12), control: RecordingMachineControl())
      },
      plug: {
        $1.map($0, at: 0x60..<0x61, region: I8042.Block.data.rawValue)
        $1.map($0, at: 0x64..<0x65, region: I8042.Block.command.rawValue)
      })
    #expect(life.live(steps: Self.steps) == [])
  }
}
