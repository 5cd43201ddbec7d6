import Board
import Kit
import Testing
import Work

@testable import Chipset

/// A timer on a board of test instruments. Time is given in ticks of the timer's own clock.
private struct Bench {
  let pins = RecordingController()
  let clock = ManualClock()
  let loop = ManualLoop()
  let timer: I8254

  init() {
    timer = I8254(interrupt: InterruptLine(to: pins, pin: 0), clock: clock, loop: loop)
    timer.start()
  }

  func write(_ value: UInt64, _ offset: UInt64, _ block: I8254.Block = .timer) {
    try? timer.write(value, Access(region: block.rawValue, width: .byte, offset: offset))
  }

  func read(_ offset: UInt64, _ block: I8254.Block = .timer) -> UInt64 {
    (try? timer.read(Access(region: block.rawValue, width: .byte, offset: offset))) ?? .max
  }

  func program(_ channel: UInt64, mode: UInt64, count: UInt64, decimal: Bool = false) {
    write(channel << 6 | 0x30 | mode << 1 | (decimal ? 1 : 0), 3)
    write(count & 0xff, channel)
    write(count >> 8, channel)
  }

  func count(_ channel: UInt64) -> UInt64 {
    write(channel << 6, 3)
    return read(channel) | read(channel) << 8
  }

  /// Lets the clock pulse so often; alarms ring on time.
  func pulse(_ ticks: UInt64) {
    let now = PITTick(at: clock.now)
    let then = (now + Int64(ticks)).instant
    clock.advance(by: then.nanoseconds(since: clock.now))
  }

  var speaker: UInt64 { read(0, .systemControlB) }
  var ticks: Int { pins.rises(0) }
}

/// The output of a channel over so many pulses, as a picture: `#` high, `_` low.
private func picture(_ channel: PITChannel, from start: PITTick, count: Int64) -> String {
  var channel = channel
  return (0..<count).map {
    channel.advance(to: start + $0)
    return channel.output(at: start + $0) ? "#" : "_"
  }.joined()
}

private func channel(mode: UInt8, count: UInt8, gate: Bool = true) -> PITChannel {
  var channel = PITChannel(gate: gate)
  let now = PITTick(at: VMInstant(nanoseconds: 0))
  channel.control(.init(raw: 0x10 | mode << 1), at: now)
  channel.write(count, at: now)
  return channel
}

private let origin = PITTick(at: VMInstant(nanoseconds: 0))

@Suite struct I8254Tests {
  // MARK: - Time

  @Test func `one second is 1,193,182 ticks, also after a hundred years`() {
    let second: UInt64 = 1_000_000_000
    let century = 100 * 365 * 86400 * second
    #expect(PITTick(at: VMInstant(nanoseconds: second)).count == 1_193_182)
    let before = PITTick(at: VMInstant(nanoseconds: century))
    let after = PITTick(at: VMInstant(nanoseconds: century + second))
    #expect(after - before == 1_193_182)
  }

  @Test(arguments: [1, 2, 999, 1_193_182, 1 << 40, 1 << 54] as [Int64])
  func `a tick's first moment is in that tick, the one before is not`(count: Int64) {
    let instant = (origin + count).instant
    #expect(PITTick(at: instant).count == count)
    let before = VMInstant(nanoseconds: instant.nanoseconds - 1)
    #expect(PITTick(at: before).count == count - 1)
  }

  @Test func `the last moment there is does not trap`() {
    let last = PITTick(at: VMInstant(nanoseconds: .max))
    #expect(last.count > 0)
    #expect((last + (1 << 20)).instant.nanoseconds == .max)
  }

  // MARK: - Modes: 82C54, "Mode Definitions", figures 15 to 20

  @Test func `mode 0 rises when the count ends, and stays`() {
    #expect(picture(channel(mode: 0, count: 4), from: origin, count: 10) == "_____#####")
  }

  @Test func `mode 1 is low for the count after a trigger`() {
    var channel = channel(mode: 1, count: 3, gate: false)
    #expect(picture(channel, from: origin, count: 4) == "####")
    channel.setGate(true, at: origin + 4)
    #expect(picture(channel, from: origin + 4, count: 6) == "#___##")
  }

  @Test func `mode 2 is low for the last tick of each period`() {
    #expect(picture(channel(mode: 2, count: 3), from: origin, count: 11) == "###_##_##_#")
  }

  @Test func `mode 3 is a square wave, an odd count is high one tick longer`() {
    #expect(picture(channel(mode: 3, count: 4), from: origin, count: 10) == "###__##__#")
    #expect(picture(channel(mode: 3, count: 5), from: origin, count: 12) == "####__###__#")
  }

  @Test func `mode 4 strobes once when the count ends`() {
    #expect(picture(channel(mode: 4, count: 3), from: origin, count: 8) == "####_###")
  }

  @Test func `mode 5 strobes after a trigger`() {
    var channel = channel(mode: 5, count: 3, gate: false)
    channel.setGate(true, at: origin)
    #expect(picture(channel, from: origin, count: 8) == "####_###")
  }

  @Test func `modes 6 and 7 are 2 and 3`() {
    #expect(channel(mode: 6, count: 3).mode == .rateGenerator)
    #expect(channel(mode: 7, count: 3).mode == .squareWave)
  }

  @Test func `a new count in mode 2 waits for the end of the period`() {
    var channel = channel(mode: 2, count: 4)
    channel.write(2, at: origin + 2)
    #expect(picture(channel, from: origin, count: 10) == "####_#_#_#")
  }

  @Test func `a new count in mode 3 waits for the end of the half period`() {
    var channel = channel(mode: 3, count: 6)
    channel.write(2, at: origin + 2)
    #expect(picture(channel, from: origin, count: 10) == "####_#_#_#")
  }

  @Test func `a closed gate stops modes 0 and 4, and opens them where they were`() {
    var channel = channel(mode: 0, count: 4)
    channel.setGate(false, at: origin + 3)
    #expect(picture(channel, from: origin + 3, count: 20) == String(repeating: "_", count: 20))
    channel.setGate(true, at: origin + 100)
    #expect(picture(channel, from: origin + 100, count: 4) == "__##")
  }

  @Test func `a closed gate holds modes 2 and 3 high, and opening it starts them anew`() {
    var channel = channel(mode: 2, count: 3)
    channel.setGate(false, at: origin + 3)
    #expect(picture(channel, from: origin + 3, count: 3) == "###")
    channel.setGate(true, at: origin + 10)
    #expect(picture(channel, from: origin + 10, count: 7) == "###_##_")
  }

  // MARK: - Reading

  @Test func `a count is read low byte first, and stands still once latched`() {
    let bench = Bench()
    bench.program(0, mode: 2, count: 0x1234)
    bench.pulse(1)
    bench.write(0x00, 3)
    bench.pulse(100)
    #expect(bench.read(0) == 0x34)
    #expect(bench.read(0) == 0x12)
    #expect(bench.count(0) == 0x1234 - 100)
  }

  @Test func `a count of zero is 65536, or 10000 in decimal`() {
    let bench = Bench()
    bench.program(0, mode: 2, count: 0)
    bench.program(1, mode: 2, count: 0, decimal: true)
    bench.pulse(2)
    #expect(bench.count(0) == 0xffff)
    #expect(bench.count(1) == 0x9999)
  }

  @Test func `in decimal each digit has four bits`() {
    let bench = Bench()
    bench.program(1, mode: 2, count: 0x1000, decimal: true)
    bench.pulse(2)
    #expect(bench.count(1) == 0x0999)
  }

  @Test func `mode 3 counts down by two`() {
    let bench = Bench()
    bench.program(1, mode: 3, count: 10)
    bench.pulse(1)
    let counts = (0..<6).map { _ in
      defer { bench.pulse(1) }
      return bench.count(1)
    }
    #expect(counts == [10, 8, 6, 4, 2, 10])
  }

  @Test func `mode 0 counts on past zero`() {
    let bench = Bench()
    bench.program(1, mode: 0, count: 5)
    bench.pulse(8)
    #expect(bench.count(1) == 0xfffe)
  }

  // "Read-Back Command"
  @Test func `status tells output, null count and the control word`() {
    let bench = Bench()
    bench.write(0x34, 3)
    bench.write(0xe2, 3)
    #expect(bench.read(0) == 0xf4, "no count was written")
    bench.write(0x10, 0)
    bench.write(0x00, 0)
    bench.pulse(1)
    bench.write(0xc2, 3)
    #expect(bench.read(0) == 0xb4, "the status comes first")
    #expect(bench.read(0) == 0x10)
    #expect(bench.read(0) == 0x00)
  }

  // MARK: - On a board

  @Test func `channel 0 ticks a hundred times a second`() {
    let bench = Bench()
    bench.program(0, mode: 2, count: 11932)
    let before = bench.ticks
    bench.clock.advance(by: 1_000_000_000)
    #expect(bench.ticks - before == 99 || bench.ticks - before == 100)
    bench.clock.advance(by: 9_000_000_000)
    #expect(bench.ticks - before == Int(1_193_182 * 10 / 11932))
  }

  @Test func `a one-shot ticks once`() {
    let bench = Bench()
    bench.program(0, mode: 0, count: 1000)
    #expect(bench.ticks == 0)
    bench.pulse(1000)
    #expect(bench.ticks == 0)
    bench.pulse(1)
    #expect(bench.ticks == 1)
    bench.clock.advance(by: 1_000_000_000)
    #expect(bench.ticks == 1)
  }

  @Test func `ticks that the loop was late for come as one, and then time is kept`() {
    let state = Bench()
    state.program(0, mode: 2, count: 1000)
    state.timer.stop(Barrier())
    let before = state.ticks
    state.pulse(10_500)
    state.timer.start()
    #expect(state.ticks == before + 1)
    state.pulse(499)
    #expect(state.ticks == before + 1)
    state.pulse(3)
    #expect(state.ticks == before + 2)
  }

  @Test func `an absurdly fast timer does not keep the loop busy`() {
    let bench = Bench()
    bench.program(0, mode: 2, count: 2)
    bench.clock.advance(by: 10_000_000)
    #expect(bench.ticks <= 101)
  }

  // The steps of Linux' `pit_calibrate_tsc`.
  @Test func `channel 2 measures 50 ms for Linux`() {
    let bench = Bench()
    bench.write(bench.speaker & ~0x02 | 0x01, 0, .systemControlB)
    bench.program(2, mode: 0, count: 1_193_182 / 20)
    #expect(bench.speaker & 0x20 == 0)
    bench.clock.advance(by: 49_999_000)
    #expect(bench.speaker & 0x20 == 0)
    bench.clock.advance(by: 2_000)
    #expect(bench.speaker & 0x20 == 0x20)
  }

  // The steps of Linux' `quick_pit_calibrate`.
  @Test func `the high byte of channel 2 falls every 256 ticks`() {
    let bench = Bench()
    bench.write(0x01, 0, .systemControlB)
    bench.program(2, mode: 0, count: 0xffff)
    bench.pulse(1)
    for high in stride(from: UInt64(0xff), to: 0xf0, by: -1) {
      _ = bench.read(2)
      #expect(bench.read(2) == high)
      bench.pulse(256)
    }
  }

  @Test func `port 61 gates channel 2, and shows the refresh`() {
    let bench = Bench()
    bench.write(0xff, 0, .systemControlB)
    #expect(bench.speaker & 0xcf == 0x0f)
    let before = bench.speaker & 0x10
    bench.pulse(18)
    #expect(bench.speaker & 0x10 != before)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: {
        I8254(
          interrupt: InterruptLine(to: RecordingController(), pin: 0), clock: ManualClock(),
          loop: ManualLoop())
      },
      plug: {
        $1.map($0, at: 0x40..<0x44, region: I8254.Block.timer.rawValue)
        $1.map($0, at: 0x61..<0x62, region: I8254.Block.systemControlB.rawValue)
      },
      disturb: { timer in
        for (region, value, offset): (UInt8, UInt64, UInt64) in [
          (0, 0x34, 3), (0, 0x9c, 0), (0, 0x2e, 0), (0, 0x76, 3), (0, 5, 1), (0, 0, 1), (0, 9, 1),
          (0, 0, 1), (1, 0x03, 0), (0, 0xb6, 3), (0, 0x21, 2), (0, 0xc2, 3),
        ] {
          try? timer.write(value, Access(region: region, width: .byte, offset: offset))
        }
      })
    #expect(broken == [])
  }
}
