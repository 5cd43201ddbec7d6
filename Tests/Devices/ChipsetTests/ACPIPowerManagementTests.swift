import Board
import Kit
import Testing
import Work

@testable import Chipset

/// ACPI 6.5 §4.8 "ACPI Register Model".
@Suite struct ACPIPowerManagementTests {
  let clock = ManualClock()
  let loop = ManualLoop()
  let pins = RecordingController()
  let owner = RecordingMachineControl()
  let device: ACPIPowerManagement

  init() {
    device = ACPIPowerManagement(
      interrupt: InterruptLine(to: pins, pin: 9), clock: clock, loop: loop, control: owner,
      sleepTypes: .init(softOff: 5, others: [1: 3]))
  }

  private func read(_ block: ACPIPowerManagement.Block, _ offset: UInt64, _ width: AccessWidth)
    throws -> UInt64
  {
    try device.read(Access(region: block.rawValue, width: width, offset: offset))
  }

  private func write(
    _ value: UInt64, _ block: ACPIPowerManagement.Block, _ offset: UInt64, _ width: AccessWidth
  ) throws {
    try device.write(value, Access(region: block.rawValue, width: width, offset: offset))
  }

  // §4.8.3.1
  @Test func `the power button interrupts a guest that enabled it, until it is acknowledged`()
    throws
  {
    device.pressPowerButton()
    #expect(try read(.event, 0, .word) == 0x100)
    #expect(!pins.level(9))
    try write(0x100, .event, 2, .word)
    #expect(pins.level(9))
    try write(0x01, .event, 1, .byte)
    #expect(!pins.level(9))
    #expect(try read(.event, 0, .doubleword) == 0x100_0000)
  }

  @Test func `enable bits that stand for nothing stay clear`() throws {
    try write(0xffff_ffff, .event, 0, .doubleword)
    #expect(try read(.event, 2, .word) == 0x521)
  }

  // §4.8.3.2
  @Test func `sleep enable asks for what the sleep type says`() throws {
    #expect(try read(.control, 0, .word) == 1)
    try write(0x0001 | 1 << 10, .control, 0, .word)
    #expect(owner.requests == [])
    try write(0x20 | 1 << 2, .control, 1, .byte)
    #expect(owner.requests == [.sleep(3)])
    try write(0x2001 | 5 << 10, .control, 0, .word)
    #expect(owner.requests == [.sleep(3), .powerOff])
    try write(0x2001 | 7 << 10, .control, 0, .word)
    #expect(owner.requests.count == 2)
    #expect(try read(.control, 0, .word) == 1 | 7 << 10)
    device.wake()
    #expect(try read(.event, 0, .word) == 0x8000)
  }

  // §4.8.3.3
  @Test func `the timer counts 3579545 Hz exactly`() throws {
    clock.advance(by: 1_000_000_000)
    #expect(try read(.timer, 0, .doubleword) == 3_579_545)
    #expect(try read(.timer, 1, .byte) == 3_579_545 >> 8 & 0xff)
    clock.advance(by: 3600 * 1_000_000_000)
    #expect(try read(.timer, 0, .doubleword) == 3_579_545 * 3601 % (1 << 32))
  }

  @Test func `the timer interrupts when its highest bit changes`() throws {
    try write(1, .event, 2, .word)
    let half = try #require(Oscillator(frequency: 3_579_545).moment(of: 1 << 31)).nanoseconds
    clock.advance(by: half - 1)
    #expect(!pins.level(9))
    clock.advance(by: 1)
    #expect(pins.level(9))
    try write(1, .event, 0, .word)
    #expect(!pins.level(9))
    clock.advance(by: half)
    #expect(pins.level(9))
  }

  @Test func `a timer of 24 bits wraps there`() throws {
    let device = ACPIPowerManagement(
      interrupt: InterruptLine(to: pins, pin: 9), clock: clock, loop: loop, control: owner,
      timerHas32Bits: false)
    clock.advance(by: 10_000_000_000)
    let access = Access(region: 2, width: .doubleword, offset: 0)
    #expect(try device.read(access) == 35_795_450 % (1 << 24))
  }

  // §4.8.4.1
  @Test func `general-purpose events interrupt when enabled`() throws {
    device.raise(event: 9)
    device.raise(event: 16)
    #expect(try read(.generalPurposeEvents, 0, .word) == 1 << 9)
    try write(0x02, .generalPurposeEvents, 3, .byte)
    #expect(pins.level(9))
    try write(1 << 9, .generalPurposeEvents, 0, .word)
    #expect(!pins.level(9))
    #expect(try read(.generalPurposeEvents, 0, .doubleword) == 1 << 25)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: {
        ACPIPowerManagement(
          interrupt: InterruptLine(to: RecordingController(), pin: 9), clock: ManualClock(),
          loop: ManualLoop(), control: RecordingMachineControl())
      },
      plug: { device, ports in
        for (block, port) in [
          (.event, 0x600), (.control, 0x604), (.timer, 0x608), (.generalPurposeEvents, 0x620),
        ] as [(ACPIPowerManagement.Block, UInt64)] {
          ports.map(device, at: port..<port + block.length, region: block.rawValue)
        }
      },
      disturb: { device in
        device.pressPowerButton()
        device.raise(event: 3)
        try? device.write(0x1c02, Access(region: 1, width: .word, offset: 0))
        try? device.write(0x0121, Access(region: 0, width: .word, offset: 2))
      })
    #expect(broken == [])
  }
}
