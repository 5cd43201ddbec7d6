import Board
import Kit
import SavedState
import Testing

@testable import Chipset

private struct Bench {
  let pins = RecordingController()
  let owner = RecordingMachineControl()
  let controller: I8042

  init() {
    controller = I8042(
      keyboardInterrupt: InterruptLine(to: pins, pin: 1),
      mouseInterrupt: InterruptLine(to: pins, pin: 12), control: owner)
    controller.start()
  }

  private func access(_ block: I8042.Block) -> Access {
    Access(region: block.rawValue, width: .byte, offset: 0)
  }

  func command(_ value: UInt64) { try? controller.write(value, access(.command)) }
  func data(_ value: UInt64) { try? controller.write(value, access(.data)) }
  var status: UInt64 { (try? controller.read(access(.command))) ?? .max }
  func read() -> UInt64 { (try? controller.read(access(.data))) ?? .max }

  /// All that stands in the output buffer, one byte after the other.
  func drain() -> [UInt64] {
    var bytes: [UInt64] = []
    while status & 1 != 0 { bytes.append(read()) }
    return bytes
  }

  func answer(_ value: UInt64) -> [UInt64] {
    command(value)
    return drain()
  }

  func keyboard(_ bytes: UInt64...) -> [UInt64] {
    bytes.flatMap { byte in
      data(byte)
      return drain()
    }
  }

  func mouse(_ bytes: UInt64...) -> [UInt64] {
    bytes.flatMap { byte in
      command(0xd4)
      data(byte)
      return drain()
    }
  }
}

@Suite struct I8042Tests {
  // MARK: - The controller

  @Test func `at power-on nothing waits and the lock is open`() {
    let bench = Bench()
    #expect(bench.status & 0x11 == 0x10)
    #expect(bench.owner.requests.isEmpty)
  }

  @Test func `it passes its tests`() {
    let bench = Bench()
    #expect(bench.answer(0xaa) == [0x55])
    #expect(bench.answer(0xab) == [0x00])
    #expect(bench.answer(0xa9) == [0x00])
  }

  @Test func `the command byte is read back as written`() {
    let bench = Bench()
    bench.command(0x60)
    bench.data(0x47)
    #expect(bench.answer(0x20) == [0x47])
    bench.command(0xa7)
    bench.command(0xad)
    #expect(bench.answer(0x20) == [0x77])
    bench.command(0xa8)
    bench.command(0xae)
    #expect(bench.answer(0x20) == [0x47])
  }

  @Test func `status says whether a command was written last`() {
    let bench = Bench()
    bench.command(0x60)
    #expect(bench.status & 0x08 != 0)
    bench.data(0x47)
    #expect(bench.status & 0x08 == 0)
  }

  // The steps of Linux' i8042.c: `i8042_controller_check`, `i8042_controller_init`,
  // `i8042_check_aux`, `i8042_check_mux`.
  @Test func `Linux finds a controller with two ports and no multiplexer`() {
    let bench = Bench()
    #expect(bench.drain().isEmpty)
    let control = bench.answer(0x20)
    #expect(control == bench.answer(0x20))
    #expect(control[0] & 0x40 != 0, "translated")
    bench.command(0x60)
    bench.data(control[0] & ~0x01 | 0x10)
    #expect(bench.status & 0x10 != 0)

    bench.command(0xd3)
    bench.data(0x5a)
    #expect(bench.status & 0x21 == 0x21)
    #expect(bench.read() == 0x5a)
    bench.command(0xa7)
    #expect(bench.answer(0x20)[0] & 0x20 != 0)
    bench.command(0xa8)
    #expect(bench.answer(0x20)[0] & 0x20 == 0)

    bench.command(0x60)
    bench.data(0x56)
    bench.command(0xd3)
    bench.data(0xa5)
    #expect(bench.pins.level(12))
    #expect(bench.read() == 0xa5)
    #expect(!bench.pins.level(12))

    for byte: UInt64 in [0xf0, 0x56, 0xa4] {
      bench.command(0xd3)
      bench.data(byte)
      #expect(bench.drain() == [byte])
    }
  }

  @Test func `address line 20 follows the output port`() {
    let bench = Bench()
    #expect(bench.answer(0xd0) == [0x03])
    bench.command(0xd1)
    bench.data(0x01)
    bench.command(0xdf)
    bench.command(0xdf)
    bench.command(0xdd)
    bench.command(0xdf)
    #expect(bench.owner.requests == [false, true, false, true].map { .a20($0) })
    #expect(bench.answer(0xd0) == [0x03])
    bench.owner.setA20(false)
    #expect(bench.answer(0xd0) == [0x01])
    bench.command(0xdf)
    #expect(bench.owner.isA20Open)
  }

  @Test func `pulsing bit 0 resets the machine`() {
    let bench = Bench()
    bench.command(0xff)
    #expect(bench.owner.requests.isEmpty)
    bench.command(0xfe)
    bench.command(0xd1)
    bench.data(0x02)
    #expect(bench.owner.requests == [.reset, .reset])
  }

  // MARK: - The keyboard

  // The steps of Linux' atkbd.c, through translation.
  @Test func `the keyboard answers its commands`() {
    let bench = Bench()
    #expect(bench.keyboard(0xff) == [0xfa, 0xaa])
    #expect(bench.keyboard(0xf2) == [0xfa, 0xab, 0x41])
    #expect(bench.keyboard(0xed, 0x02) == [0xfa, 0xfa])
    #expect(bench.keyboard(0xf3, 0x00) == [0xfa, 0xfa])
    #expect(bench.keyboard(0xf4) == [0xfa])
    #expect(bench.keyboard(0xee) == [0xee])
    #expect(bench.keyboard(0xef) == [0xfe])
  }

  @Test func `untranslated it names itself and its scan code set`() {
    let bench = Bench()
    bench.command(0x60)
    bench.data(0x05)
    #expect(bench.keyboard(0xf2) == [0xfa, 0xab, 0x83])
    #expect(bench.keyboard(0xf0, 0x00) == [0xfa, 0xfa, 0x02])
    #expect(bench.keyboard(0xf0, 0x03) == [0xfa, 0xfa])
    #expect(bench.keyboard(0xf0, 0x00) == [0xfa, 0xfa, 0x03])
    #expect(bench.keyboard(0xf0, 0x07) == [0xfa, 0xfe])
  }

  @Test(
    arguments: [
      (1, [0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]),
      (2, [0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75]),
      (3, [0x1c, 0xf0, 0x1c, 0x63, 0xf0, 0x63]),
    ] as [(UInt64, [UInt64])])
  func `each set has its codes for A and the cursor up`(set: UInt64, codes: [UInt64]) {
    let bench = Bench()
    bench.command(0x60)
    bench.data(0x05)
    _ = bench.keyboard(0xf0, set)
    for key in [PS2Key.code(0x1c), .extended(0x75)] {
      bench.controller.press(key)
      bench.controller.release(key)
    }
    #expect(bench.drain() == codes)
  }

  @Test func `translation makes set 1 of set 2, also for the keys without a simple code`() {
    let bench = Bench()
    for key in [PS2Key.code(0x1c), .extended(0x75), .code(0x83)] {
      bench.controller.press(key)
      bench.controller.release(key)
    }
    #expect(bench.drain() == [0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41, 0xc1])
    bench.controller.press(.pause)
    bench.controller.release(.pause)
    #expect(bench.drain() == [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5])
  }

  @Test func `each byte interrupts anew`() {
    let bench = Bench()
    bench.controller.press(.extended(0x75))
    #expect(bench.pins.rises(1) == 1)
    _ = bench.read()
    #expect(bench.pins.level(1))
    #expect(bench.pins.rises(1) == 2)
    _ = bench.read()
    #expect(!bench.pins.level(1))
  }

  @Test func `a disabled interface holds keys back`() {
    let bench = Bench()
    bench.command(0xad)
    bench.controller.press(.code(0x1c))
    #expect(bench.status & 1 == 0)
    bench.command(0xae)
    #expect(bench.drain() == [0x1e])
  }

  @Test func `keys that nobody takes are lost whole`() {
    let bench = Bench()
    for _ in 0..<100 { bench.controller.release(.extended(0x75)) }
    #expect(bench.drain().count % 2 == 0)
  }

  @Test func `a keyboard told to be silent is silent`() {
    let bench = Bench()
    _ = bench.keyboard(0xf5)
    bench.controller.press(.code(0x1c))
    #expect(bench.drain().isEmpty)
    _ = bench.keyboard(0xf4)
    bench.controller.press(.code(0x1c))
    #expect(bench.drain() == [0x1e])
  }

  // MARK: - The mouse

  @Test func `the mouse answers its commands`() {
    let bench = Bench()
    #expect(bench.mouse(0xff) == [0xfa, 0xaa, 0x00])
    #expect(bench.mouse(0xf2) == [0xfa, 0x00])
    #expect(bench.mouse(0xe8, 0x03) == [0xfa, 0xfa])
    #expect(bench.mouse(0xf3, 60) == [0xfa, 0xfa])
    #expect(bench.mouse(0xe7) == [0xfa])
    #expect(bench.mouse(0xf4) == [0xfa])
    #expect(bench.mouse(0xe9) == [0xfa, 0x30, 0x03, 60])
    #expect(bench.mouse(0xaa) == [0xfe])
  }

  @Test func `a knock makes it an IntelliMouse, another an Explorer`() {
    let bench = Bench()
    #expect(bench.mouse(0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2).suffix(2) == [0xfa, 0x00])
    #expect(bench.mouse(0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2).suffix(2) == [0xfa, 0x03])
    #expect(bench.mouse(0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2).suffix(2) == [0xfa, 0x04])
    _ = bench.mouse(0xf4)
    bench.controller.move(x: 0, y: 0, wheel: -1, buttons: [.left, .fifth])
    #expect(bench.drain() == [0x09, 0, 0, 0x2f])
  }

  @Test func `motion is right and up, in nine bits`() {
    let bench = Bench()
    _ = bench.mouse(0xf4)
    bench.controller.move(x: 5, y: 3, buttons: [])
    #expect(bench.drain() == [0x28, 0x05, 0xfd])
    bench.controller.move(x: -300, y: 0, buttons: .right)
    #expect(bench.drain() == [0x1a, 0x01, 0x00, 0x1a, 0xd3, 0x00])
  }

  @Test func `motion sums up while nobody asks, clicks are all kept`() {
    let bench = Bench()
    _ = bench.mouse(0xf4)
    bench.controller.move(x: 1, y: 0, buttons: [])
    for _ in 0..<3 { bench.controller.move(x: 2, y: 0, buttons: []) }
    bench.controller.move(x: 0, y: 0, buttons: .left)
    bench.controller.move(x: 0, y: 0, buttons: [])
    #expect(bench.drain() == [0x08, 1, 0, 0x08, 6, 0, 0x09, 0, 0, 0x08, 0, 0])
  }

  @Test func `extreme motion does not trap`() {
    let bench = Bench()
    _ = bench.mouse(0xf4)
    for _ in 0..<3 {
      bench.controller.move(x: .max, y: .min, wheel: .min, buttons: .all)
      bench.controller.move(x: .min, y: .max, wheel: .max, buttons: [])
    }
    #expect(!bench.drain().isEmpty)
  }

  @Test func `in remote mode it speaks when asked`() {
    let bench = Bench()
    _ = bench.mouse(0xf0)
    bench.controller.move(x: 7, y: 0, buttons: .middle)
    #expect(bench.drain().isEmpty)
    #expect(bench.mouse(0xeb) == [0xfa, 0x0c, 7, 0])
  }

  @Test func `in wrap mode it is an echo`() {
    let bench = Bench()
    _ = bench.mouse(0xee)
    #expect(bench.mouse(0xf4, 0x12) == [0xf4, 0x12])
    #expect(bench.mouse(0xec) == [0xfa])
  }

  @Test func `keys and motion interrupt on their own wires`() {
    let bench = Bench()
    _ = bench.mouse(0xf4)
    bench.command(0x60)
    bench.data(0x47)
    bench.controller.move(x: 1, y: 0, buttons: [])
    #expect(bench.pins.level(12))
    #expect(!bench.pins.level(1))
    #expect(bench.status & 0x21 == 0x21)
  }

  // MARK: - The machine

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: {
        I8042(
          keyboardInterrupt: InterruptLine(to: RecordingController(), pin: 1),
          mouseInterrupt: InterruptLine(to: RecordingController(), pin: 12),
          control: RecordingMachineControl())
      },
      plug: {
        $1.map($0, at: 0x60..<0x61, region: I8042.Block.data.rawValue)
        $1.map($0, at: 0x64..<0x65, region: I8042.Block.command.rawValue)
      },
      disturb: { controller in
        for (region, value): (UInt8, UInt64) in [
          (1, 0x60), (0, 0x67), (1, 0xd4), (0, 0xf4), (1, 0xdd), (0, 0xed), (1, 0xd1),
        ] {
          try? controller.write(value, Access(region: region, width: .byte, offset: 0))
        }
        controller.press(.extended(0x75))
        controller.move(x: 500, y: 5, buttons: .left)
        controller.move(x: 1, y: 1, buttons: [])
      })
    #expect(broken == [])
  }

  @Test func `a keyboard buffer that is too long is refused`() {
    let bench = Bench()
    var saved = bench.controller.save()
    saved.keyboard.keys = Array(repeating: 0x1c, count: 17)
    #expect(throws: RestoreError.self) { try bench.controller.restore(saved) }
  }
}
