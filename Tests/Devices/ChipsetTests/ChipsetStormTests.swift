import Board
import Kit
import SavedState
import Testing
import Work

@testable import Chipset

/// The oldest parts of a PC, wired as on its board.
private struct Board {
  let ports = IOBus(wideAccess: .split)
  let stream = RecordingStream()
  let pair: I8259Pair
  let timer: I8254
  let rtc: RTCMC146818
  let uart: UART16550
  let keyboard: I8042

  init(clock: ManualClock, loop: ManualLoop) {
    let pair = I8259Pair(output: InterruptLine(to: RecordingController(), pin: 0))
    self.pair = pair
    timer = I8254(interrupt: InterruptLine(to: pair, pin: 0), clock: clock, loop: loop)
    rtc = RTCMC146818(interrupt: InterruptLine(to: pair, pin: 8), clock: clock, loop: loop)
    uart = UART16550(interrupt: InterruptLine(to: pair, pin: 4), stream: stream, loop: loop)
    keyboard = I8042(
      keyboardInterrupt: InterruptLine(to: pair, pin: 1),
      mouseInterrupt: InterruptLine(to: pair, pin: 12), control: RecordingMachineControl())
    ports.map(pair, at: 0x20..<0x22, region: I8259Pair.Block.master.rawValue)
    ports.map(timer, at: 0x40..<0x44, region: I8254.Block.timer.rawValue)
    ports.map(keyboard, at: 0x60..<0x61, region: I8042.Block.data.rawValue)
    ports.map(timer, at: 0x61..<0x62, region: I8254.Block.systemControlB.rawValue)
    ports.map(keyboard, at: 0x64..<0x65, region: I8042.Block.command.rawValue)
    ports.map(rtc, at: 0x70..<0x74)
    ports.map(pair, at: 0xa0..<0xa2, region: I8259Pair.Block.slave.rawValue)
    ports.map(uart, at: 0x3f8..<0x400)
    ports.map(pair, at: 0x4d0..<0x4d2, region: I8259Pair.Block.edgeLevel.rawValue)
  }

  /// In the order in which they start.
  var parts: [Part] {
    [
      Part("pair", pair), Part("timer", timer), Part("rtc", rtc), Part("uart", uart),
      Part("keyboard", keyboard),
    ]
  }

  func stop(_ loop: ManualLoop) {
    for part in parts.reversed() { part.component.stop(Barrier()) }
    loop.run()
  }

  func save() throws -> [SavedPart] {
    try parts.map { try $0.component.savedPart(named: $0.name) }
  }
}

/// The same numbers every time.
private struct Dice: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}

@Suite struct ChipsetStormTests {
  /// Whatever a guest does to the ports, in whatever order and however much time passes: nothing traps,
  /// and the machine can be saved, restored and saved again at any moment.
  @Test(arguments: [1, 0x5eed, 0xdead_beef, 0x1234_5678_9abc] as [UInt64])
  func `no storm of accesses brings it down`(seed: UInt64) throws {
    var dice = Dice(state: seed)
    let clock = ManualClock(epoch: 1_772_368_496)
    let loop = ManualLoop()
    var board = Board(clock: clock, loop: loop)
    for part in board.parts { part.component.start() }
    var view = BusView(board.ports)
    let addresses = board.ports.map.flatMap { Array($0.range) }

    for step in 1...20_000 {
      let address = addresses[Int.random(in: addresses.indices, using: &dice)]
      let width = AccessWidth.allCases[Int.random(in: 0..<4, using: &dice)]
      switch Int.random(in: 0..<16, using: &dice) {
      case 0..<8: view.write(dice.next(), address, width)
      case 8..<12:
        let answer = view.read(address, width)
        #expect(answer & ~width.mask == 0)
      case 12: clock.advance(by: dice.next() % 3_000_000)
      case 13: _ = board.pair.acknowledge()
      case 14:
        let code = UInt8.random(in: 0...0xff, using: &dice)
        board.keyboard.press(Bool.random(using: &dice) ? .code(code) : .extended(code))
        board.keyboard.move(
          x: Int32(truncatingIfNeeded: dice.next()), y: Int32(truncatingIfNeeded: dice.next()),
          wheel: 1, buttons: PS2Mouse.Buttons(rawValue: code))
      default:
        board.stream.setRoom(Int.random(in: 0..<4, using: &dice))
        board.stream.deliver([UInt8](repeating: 7, count: Int.random(in: 0..<20, using: &dice)))
        loop.run()
      }

      if step % 1000 == 0 {
        board.stop(loop)
        let saved = try board.save()
        let twin = Board(clock: clock, loop: loop)
        for (part, state) in zip(twin.parts, saved) { try part.component.restore(from: state) }
        #expect(try twin.save() == saved)
        board = twin
        if step % 5000 == 0 { for part in board.parts { part.component.reset() } }
        for part in board.parts { part.component.start() }
        view = BusView(board.ports)
      }
    }
  }
}
