import Board
import Kit
import Testing
import Work

@testable import Chipset

/// IA-PC HPET Specification 1.0a.
@Suite struct HPETTests {
  let clock = ManualClock()
  let loop = ManualLoop()
  let legacy = RecordingController()
  let pins = RecordingController()
  let hpet: HPET

  init() {
    hpet = HPET(
      irq0: InterruptLine(to: legacy, pin: 0), irq8: InterruptLine(to: legacy, pin: 8), pins: pins,
      clock: clock, loop: loop)
  }

  private func read(_ offset: UInt64, _ width: AccessWidth = .quadword) -> UInt64 {
    (try? hpet.read(Access(width: width, offset: offset))) ?? .max
  }

  private func write(_ value: UInt64, _ offset: UInt64, _ width: AccessWidth = .quadword) {
    try? hpet.write(value, Access(width: width, offset: offset))
  }

  private func tick(_ ticks: UInt64) { clock.advance(by: ticks * 10) }

  // §2.3.4
  @Test func `the capabilities name three comparators and a period of ten nanoseconds`() {
    #expect(read(0) == 0x0098_9680_8086_a201)
    #expect(read(4, .doubleword) == 10_000_000)
    write(0, 0)
    #expect(read(0, .doubleword) == UInt64(HPET.blockID))
  }

  // §2.3.7
  @Test func `the counter runs while enabled, and keeps its place while halted`() {
    tick(50)
    #expect(read(0xf0) == 0)
    write(1, 0x10)
    tick(100)
    #expect(read(0xf0) == 100)
    write(0, 0x10)
    tick(100)
    #expect(read(0xf0) == 100)
    write(0xffff_fff0, 0xf0, .doubleword)
    write(7, 0xf4, .doubleword)
    write(1, 0x10)
    tick(0x20)
    #expect(read(0xf0) == 0x8_0000_0010)
    #expect(read(0xf4, .doubleword) == 8)
  }

  // §2.3.8
  @Test func `a comparator takes only routes that exist`() {
    #expect(read(0x100) == 0x0000_0c00_0000_0030)
    write(11 << 9 | 4, 0x100)
    #expect(read(0x100, .doubleword) == 0x30 | 11 << 9 | 4)
    write(12 << 9 | 4, 0x100)
    #expect(read(0x100, .doubleword) == 0x30 | 11 << 9 | 4)
  }

  @Test func `a one-shot comparator interrupts once, at its tick`() {
    write(10 << 9 | 4, 0x140)
    write(500, 0x148)
    write(1, 0x10)
    tick(499)
    #expect(pins.rises(10) == 0)
    tick(1)
    #expect(pins.rises(10) == 1)
    tick(100_000)
    #expect(pins.rises(10) == 1)
    write(200_000, 0x148)
    tick(100_000)
    #expect(pins.rises(10) == 2)
    #expect(read(0x20) == 0)
  }

  @Test func `a level-triggered comparator holds its pin until it is acknowledged`() {
    write(10 << 9 | 6, 0x120)
    write(500, 0x128)
    write(1, 0x10)
    tick(500)
    #expect(pins.level(10))
    #expect(read(0x20) == 2)
    write(1, 0x20)
    #expect(pins.level(10))
    write(2, 0x20)
    #expect(!pins.level(10))
  }

  // §2.3.9.2.2
  @Test func `a periodic comparator takes its value and then its period, and keeps the beat`() {
    write(10 << 9 | 1 << 8 | 1 << 6 | 1 << 3 | 4, 0x100, .doubleword)
    write(10_000, 0x108, .doubleword)
    write(25_000, 0x108, .doubleword)
    write(1, 0x10)
    tick(9_999)
    #expect(pins.rises(10) == 0)
    tick(1)
    #expect(pins.rises(10) == 1)
    #expect(read(0x108) == 35_000)
    tick(24_999)
    #expect(pins.rises(10) == 1)
    tick(1)
    #expect(pins.rises(10) == 2)
    tick(250_000)
    #expect(pins.rises(10) == 12)
  }

  @Test func `a guest that writes a periodic comparator once has value and period alike`() {
    write(10 << 9 | 1 << 6 | 1 << 3 | 4, 0x100)
    write(30_000, 0x108)
    #expect(read(0x100) & 1 << 6 == 0)
    write(1, 0x10)
    tick(30_000)
    #expect(read(0x108) == 60_000)
    tick(30_000)
    #expect(pins.rises(10) == 2)
  }

  @Test func `the shortest period cannot flood the host`() {
    write(10 << 9 | 1 << 6 | 1 << 3 | 4, 0x100)
    write(1, 0x108)
    write(1, 0x108)
    write(1, 0x10)
    tick(100_000)
    #expect(pins.rises(10) <= 51)
    #expect(pins.rises(10) > 40)
  }

  @Test func `a 32-bit comparator matches again after the counter's low half wraps`() {
    write(10 << 9 | 1 << 8 | 4, 0x100)
    write(5, 0x108)
    write(1, 0x10)
    tick(5)
    tick(1 << 32)
    #expect(pins.rises(10) == 2)
  }

  @Test func `a 64-bit value that has passed does not come again`() {
    write(1, 0x10)
    tick(1000)
    write(10 << 9 | 4, 0x100)
    write(999, 0x108)
    tick(1 << 33)
    #expect(pins.rises(10) == 0)
    write(read(0xf0), 0x108)
    #expect(pins.rises(10) == 1)
  }

  // §2.3.5, LEG_RT_CNF
  @Test func `the legacy replacement takes the place of the 8254 and the clock`() {
    hpet.set(0, asserted: true)
    #expect(legacy.level(0))
    write(4, 0x100)
    write(4, 0x120)
    write(100, 0x108)
    write(200, 0x128)
    write(3, 0x10)
    #expect(!legacy.level(0))
    hpet.set(8, asserted: true)
    #expect(!legacy.level(8))
    tick(100)
    #expect(legacy.level(0) && !legacy.level(8))
    tick(100)
    #expect(legacy.rises(0) == 2 && legacy.rises(8) == 1)
    write(0, 0x10)
    #expect(legacy.level(0) && legacy.level(8))
    hpet.set(0, asserted: false)
    #expect(!legacy.level(0))
  }

  @Test func `a disabled comparator matches but does not interrupt`() {
    write(10 << 9 | 2, 0x100)
    write(5, 0x108)
    write(1, 0x10)
    tick(6)
    #expect(read(0x20) == 1)
    #expect(pins.rises(10) == 0)
  }

  @Test func `it keeps the contract of components`() {
    let clock = ManualClock()
    let broken = ComponentContract.violations(
      of: { () -> HPET in
        let pins = RecordingController()
        return HPET(
          irq0: InterruptLine(to: pins, pin: 0), irq8: InterruptLine(to: pins, pin: 8),
          pins: pins, clock: clock, loop: ManualLoop())
      },
      plug: { $1.map($0, at: 0xfed0_0000..<0xfed0_0180) },
      wideAccess: .refuse,
      disturb: { hpet in
        try? hpet.write(11 << 9 | 0x4e, Access(width: .doubleword, offset: 0x120))
        try? hpet.write(123, Access(width: .doubleword, offset: 0x128))
        try? hpet.write(77, Access(width: .doubleword, offset: 0x128))
        try? hpet.write(1, Access(width: .doubleword, offset: 0x10))
        clock.advance(by: 12_345)
      })
    #expect(broken == [])
  }
}
