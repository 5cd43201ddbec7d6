import Board
import Kit
import SavedState
import Testing
import Work

@testable import Chipset

private let second: UInt64 = 1_000_000_000

/// A clock that starts at 2026-03-01T12:34:56Z, a Sunday.
private struct Bench {
  let pins = RecordingController()
  let clock = ManualClock(epoch: 1_772_368_496)
  let rtc: RTCMC146818

  init() {
    rtc = RTCMC146818(
      interrupt: InterruptLine(to: pins, pin: 8), clock: clock, loop: ManualLoop())
    rtc.start()
  }

  func port(_ offset: UInt64, _ value: UInt64) {
    try? rtc.write(value, Access(width: .byte, offset: offset))
  }

  func read(_ index: UInt64) -> UInt64 {
    port(0, index)
    return (try? rtc.read(Access(width: .byte, offset: 1))) ?? .max
  }

  func write(_ index: UInt64, _ value: UInt64) {
    port(0, index)
    port(1, value)
  }

  var time: [UInt64] { [0x32, 9, 8, 7, 6, 4, 2, 0].map(read) }
  var interrupted: Bool { pins.level(8) }
}

@Suite struct RTCMC146818Tests {
  // MARK: - The calendar

  @Test(
    arguments: [
      (0, [19, 70, 1, 1, 5, 0, 0, 0]), (951_782_399, [20, 0, 2, 28, 2, 23, 59, 59]),
      (951_782_400, [20, 0, 2, 29, 3, 0, 0, 0]), (4_107_542_400, [21, 0, 3, 1, 2, 0, 0, 0]),
      (-1, [19, 69, 12, 31, 4, 23, 59, 59]), (1_772_368_496, [20, 26, 3, 1, 1, 12, 34, 56]),
    ] as [(Int64, [UInt8])])
  func `seconds and calendar agree`(seconds: Int64, fields: [UInt8]) {
    let calendar = RTCCalendar(secondsSince1970: seconds)
    #expect(
      [
        calendar.century, calendar.year, calendar.month, calendar.day, calendar.weekday,
        calendar.hour, calendar.minute, calendar.second,
      ] == fields)
    #expect(calendar.secondsSince1970 == seconds)
  }

  @Test func `every day of four centuries comes back`() {
    for day in stride(from: Int64(-62_167_219_200), to: 60_000_000_000, by: 86_400 * 37) {
      #expect(RTCCalendar(secondsSince1970: day).secondsSince1970 == day)
    }
  }

  // MARK: - Reading the time

  @Test func `the time is the guest clock's`() {
    let bench = Bench()
    #expect(bench.time == [0x20, 0x26, 0x03, 0x01, 0x01, 0x12, 0x34, 0x56])
    bench.clock.advance(by: 4 * second)
    #expect(bench.read(0) == 0x00)
    #expect(bench.read(2) == 0x35)
  }

  // MC146818, table 3 "Time, calendar, and alarm data modes"
  @Test func `numbers may be binary, hours twelve`() {
    let bench = Bench()
    bench.write(0x0b, 0x04)
    #expect(bench.time == [20, 26, 3, 1, 1, 0x80 | 12, 34, 56])
    bench.clock.advance(by: 3600 * second)
    #expect(bench.read(4) == 0x80 | 1)
    bench.write(0x0b, 0x00)
    bench.clock.advance(by: 11 * 3600 * second)
    #expect(bench.read(4) == 0x12)
  }

  @Test func `an update is announced 244 µs before`() {
    let bench = Bench()
    #expect(bench.read(0x0a) == 0x26)
    bench.clock.advance(by: second - 200_000)
    #expect(bench.read(0x0a) == 0xa6)
    bench.clock.advance(by: 200_000)
    #expect(bench.read(0x0a) == 0x26)
  }

  @Test func `register D says that the battery is good and nothing else`() {
    let bench = Bench()
    bench.write(0x0d, 0)
    #expect(bench.read(0x0d) == 0x80)
  }

  // MARK: - Setting the time

  // The steps of Linux' `mc146818_set_time`.
  @Test func `Linux sets the time, and the next second comes half a second later`() {
    let bench = Bench()
    bench.clock.advance(by: 123_456_789)
    bench.write(0x0b, 0x82)
    bench.write(0x0a, 0x76)
    for (index, value): (UInt64, UInt64) in [
      (9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59), (0, 0x59), (0x32, 0x19),
    ] {
      bench.write(index, value)
    }
    bench.clock.advance(by: 10 * second)
    #expect(bench.read(0) == 0x59, "the time stands still")
    bench.write(0x0b, 0x02)
    bench.write(0x0a, 0x26)
    bench.clock.advance(by: second / 2 - 1)
    #expect(bench.read(0) == 0x59)
    bench.clock.advance(by: 1)
    #expect(bench.time == [0x20, 0x00, 0x01, 0x01, 0x07, 0x00, 0x00, 0x00])
  }

  @Test func `a running time can be set as well`() {
    let bench = Bench()
    bench.write(4, 0x03)
    bench.clock.advance(by: 5 * second)
    #expect(bench.time == [0x20, 0x26, 0x03, 0x01, 0x01, 0x03, 0x35, 0x01])
  }

  @Test func `nonsense in the time registers is taken somehow`() {
    let bench = Bench()
    for index: UInt64 in [0, 2, 4, 6, 7, 8, 9, 0x32] {
      for value: UInt64 in [0, 0xff, 0x9f] {
        bench.write(0x0b, 0x82)
        bench.write(index, value)
        bench.write(0x0b, 0x06)
        _ = bench.time
      }
    }
    #expect(bench.read(0x0d) == 0x80)
  }

  // MARK: - Interrupts

  @Test func `the update interrupt comes each second, and reading register C ends it`() {
    let bench = Bench()
    bench.write(0x0b, 0x12)
    bench.clock.advance(by: second - 1)
    #expect(!bench.interrupted)
    bench.clock.advance(by: 1)
    #expect(bench.interrupted)
    #expect(bench.read(0x0c) & 0x90 == 0x90)
    #expect(!bench.interrupted)
    #expect(bench.read(0x0c) == 0x00)
    bench.clock.advance(by: second)
    #expect(bench.interrupted)
  }

  @Test(arguments: [(6, 1024), (15, 2), (3, 8192), (1, 256), (2, 128)] as [(UInt64, Int)])
  func `the periodic interrupt has the rate selected`(selection: UInt64, rate: Int) {
    let bench = Bench()
    bench.write(0x0a, 0x20 | selection)
    bench.write(0x0b, 0x42)
    var count = 0
    let step = second / UInt64(rate) / 4
    for _ in 0..<(4 * rate) {
      bench.clock.advance(by: step)
      if bench.interrupted {
        count += 1
        #expect(bench.read(0x0c) & 0xc0 == 0xc0)
      }
    }
    #expect(abs(count - rate) <= 1)
  }

  @Test func `flags rise without interrupting when that is not enabled`() {
    let bench = Bench()
    bench.clock.advance(by: second)
    #expect(!bench.interrupted)
    #expect(bench.read(0x0c) == 0x50)
  }

  @Test func `the alarm rings at its time of day`() {
    let bench = Bench()
    bench.write(1, 0x05)
    bench.write(3, 0x35)
    bench.write(5, 0x12)
    bench.write(0x0b, 0x22)
    bench.clock.advance(by: 8 * second)
    #expect(!bench.interrupted)
    bench.clock.advance(by: second)
    #expect(bench.interrupted)
    #expect(bench.read(0x0c) & 0xa0 == 0xa0)
    bench.clock.advance(by: 86_399 * second)
    #expect(!bench.interrupted)
    bench.clock.advance(by: second)
    #expect(bench.interrupted)
  }

  @Test func `alarm fields may be left open`() {
    let bench = Bench()
    bench.write(1, 0x00)
    bench.write(3, 0xff)
    bench.write(5, 0xc0)
    bench.write(0x0b, 0x22)
    bench.clock.advance(by: 4 * second)
    #expect(bench.interrupted)
    _ = bench.read(0x0c)
    bench.clock.advance(by: 59 * second)
    #expect(!bench.interrupted)
    bench.clock.advance(by: second)
    #expect(bench.interrupted)
  }

  @Test func `an alarm that never matches is silent`() {
    let bench = Bench()
    bench.write(5, 0x99)
    bench.write(0x0b, 0x22)
    bench.clock.advance(by: 200_000 * second)
    #expect(!bench.interrupted)
  }

  // MARK: - Memory

  @Test func `both banks keep what is written`() {
    let bench = Bench()
    bench.write(0x0f, 0x5a)
    bench.port(2, 0x80 | 0x0f)
    bench.port(3, 0xa5)
    #expect(bench.read(0x0f) == 0x5a)
    #expect((try? bench.rtc.read(Access(width: .byte, offset: 3))) == 0xa5)
  }

  @Test func `firmware finds the size of memory`() {
    let bench = Bench()
    bench.rtc.presetMemorySize(below4GiB: 3 << 30, above4GiB: 5 << 30)
    #expect([0x15, 0x16, 0x17, 0x18, 0x30, 0x31].map(bench.read) == [0x80, 2, 255, 255, 255, 255])
    #expect([0x34, 0x35].map(bench.read) == [0x00, 0xbf])
    #expect([0x5b, 0x5c, 0x5d].map(bench.read) == [0x00, 0x40, 0x01])
  }

  @Test func `a reset keeps time and memory, and ends interrupts`() {
    let bench = Bench()
    bench.write(0x40, 0x77)
    bench.write(0x0b, 0x12)
    bench.clock.advance(by: second)
    bench.rtc.stop(Barrier())
    bench.rtc.reset()
    #expect(!bench.interrupted)
    #expect(bench.read(0x0b) == 0x02)
    #expect(bench.read(0x40) == 0x77)
    #expect(bench.read(0) == 0x57)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: {
        RTCMC146818(
          interrupt: InterruptLine(to: RecordingController(), pin: 8),
          clock: ManualClock(epoch: 1_772_368_496), loop: ManualLoop())
      },
      plug: { $1.map($0, at: 0x70..<0x74) },
      disturb: { rtc in
        for (offset, value): (UInt64, UInt64) in [
          (0, 0x05), (1, 0x23), (0, 0x0b), (1, 0xe2), (0, 0x07), (1, 0x11), (0, 0x8f), (1, 0x0a),
          (2, 0x12), (3, 0x34),
        ] {
          try? rtc.write(value, Access(width: .byte, offset: offset))
        }
      },
      batteryBacked: true)
    #expect(broken == [])
  }

  @Test func `a memory of another size is refused`() {
    let bench = Bench()
    var saved = bench.rtc.save()
    saved.memory.append(0)
    #expect(throws: RestoreError.self) { try bench.rtc.restore(saved) }
  }
}
