import Board
import Kit
import Streams
import Synchronization
import Testing
import Work

@testable import Chipset

/// One UART on a board of test instruments.
private struct Bench {
  let pins = RecordingController()
  let stream = RecordingStream()
  let loop = ManualLoop()
  let uart: UART16550

  init() {
    uart = UART16550(interrupt: InterruptLine(to: pins, pin: 4), stream: stream, loop: loop)
    uart.start()
    loop.run()
  }

  func read(_ offset: UInt64) -> UInt64 {
    (try? uart.read(Access(width: .byte, offset: offset))) ?? .max
  }

  func write(_ value: UInt64, _ offset: UInt64) {
    try? uart.write(value, Access(width: .byte, offset: offset))
  }

  func deliver(_ bytes: [UInt8]) {
    stream.deliver(bytes)
    loop.run()
  }

  var interrupted: Bool { pins.level(4) }
}

/// A stream that takes nothing the first time, and has room again before it has said so.
private final class HastyStream: ByteStream {
  private let state = Mutex((user: (any ByteStreamUser)?.none, sent: [UInt8](), refused: false))

  var sent: [UInt8] { state.withLock { $0.sent } }

  func attach(_ user: any ByteStreamUser) { state.withLock { $0.user = user } }
  func receive(upTo count: Int) -> [UInt8] { [] }

  func send(_ bytes: [UInt8]) -> Int {
    let user = state.withLock { state -> (any ByteStreamUser)? in
      if state.refused { state.sent += bytes }
      defer { state.refused = true }
      return state.refused ? nil : state.user
    }
    user?.streamReady(.maySend)
    return user == nil ? bytes.count : 0
  }
}

/// A stream during whose first call something else happens.
private final class EventfulStream: ByteStream {
  private let state = Mutex((during: (@Sendable () -> Void)?.none, sent: [UInt8]()))

  var sent: [UInt8] { state.withLock { $0.sent } }

  func attach(_ user: any ByteStreamUser) {}
  func receive(upTo count: Int) -> [UInt8] { [] }
  func during(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.during = body } }

  func send(_ bytes: [UInt8]) -> Int {
    state.withLock { state in
      state.sent += bytes
      return state.during.take()
    }?()
    return bytes.count
  }
}

private typealias State = UART16550.State

@Suite struct UART16550Tests {
  // MARK: - The chip

  // Table I "UART Reset Configuration"
  @Test func `after reset nothing is pending and the transmitter is empty`() {
    var chip = State()
    #expect(chip.read(.interruptEnable) == 0)
    #expect(chip.read(.interruptIdentification) == 0x01)
    #expect(chip.read(.lineStatus) == 0x60)
    #expect(chip.read(.modemControl) == 0)
    #expect(chip.read(.modemStatus) & 0x0f == 0)
  }

  // §8.3
  @Test func `the divisor latch hides the first two registers`() {
    var chip = State()
    chip.write(0x0f, to: .interruptEnable)
    chip.write(0x83, to: .lineControl)
    chip.write(0x34, to: .data)
    chip.write(0x12, to: .interruptEnable)
    #expect(chip.read(.data) == 0x34)
    #expect(chip.read(.interruptEnable) == 0x12)
    chip.write(0x03, to: .lineControl)
    #expect(chip.read(.interruptEnable) == 0x0f)
  }

  // §8.10
  @Test func `the scratch register holds any value`() {
    var chip = State()
    for value: UInt8 in [0x55, 0xaa, 0, 0xff] {
      chip.write(value, to: .scratch)
      #expect(chip.read(.scratch) == value)
    }
  }

  // §8.7: bits 4 to 7 are always 0
  @Test func `the upper half of interrupt enable does not exist`() {
    var chip = State()
    chip.write(0xff, to: .interruptEnable)
    #expect(chip.read(.interruptEnable) == 0x0f)
  }

  // §8.5 and §8.6, bits 6 and 7
  @Test func `with its FIFOs on the chip names itself a 16550A`() {
    var chip = State()
    chip.write(0x01, to: .interruptIdentification)
    #expect(chip.read(.interruptIdentification) == 0xc1)
    chip.write(0x00, to: .interruptIdentification)
    #expect(chip.read(.interruptIdentification) == 0x01)
  }

  // §8.5
  @Test func `FIFO bits are programmed together with the enabling one`() {
    var chip = State()
    chip.write(0x01, to: .interruptIdentification)
    chip.receive([1, 2])
    chip.write(0xc3, to: .interruptIdentification)
    #expect(chip.receiver.isEmpty)
    #expect(chip.fifoControl.triggerLevel == 14)
    chip.write(0xc2, to: .interruptIdentification)
    #expect(chip.fifoControl.triggerLevel == 1)
  }

  // §8.11
  @Test(arguments: [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] as [(UInt8, Int)])
  func `received data interrupts at the trigger level, less of it by timeout`(
    control: UInt8, level: Int
  ) {
    var chip = State()
    chip.write(0x01, to: .interruptEnable)
    chip.write(control, to: .interruptIdentification)
    for count in 1...16 {
      chip.receive([UInt8(count)])
      let expected: UInt8 = count < level ? 0xcc : 0xc4
      #expect(chip.read(.interruptIdentification) == expected)
    }
  }

  // §8.4, bit 1
  @Test func `a byte too many is lost and reported once`() {
    var chip = State()
    chip.write(0x05, to: .interruptEnable)
    chip.receive([1])
    chip.receive([2])
    #expect(chip.read(.interruptIdentification) == 0x06)
    #expect(chip.read(.lineStatus) == 0x63)
    #expect(chip.read(.lineStatus) == 0x61)
    #expect(chip.read(.data) == 2)
    #expect(chip.read(.lineStatus) == 0x60)
    chip.write(0x01, to: .interruptIdentification)
    chip.receive(Array(0...16))
    #expect(chip.read(.lineStatus) == 0x63)
    #expect((0...15).allSatisfy { chip.read(.data) == $0 })
  }

  // §8.6, table IV
  @Test func `reading the identification register clears the transmit interrupt`() {
    var chip = State()
    chip.write(0x02, to: .interruptEnable)
    #expect(chip.read(.interruptIdentification) == 0x02)
    #expect(chip.read(.interruptIdentification) == 0x01)
    chip.write(0x00, to: .interruptEnable)
    chip.write(0x02, to: .interruptEnable)
    #expect(chip.read(.interruptIdentification) == 0x02)
  }

  // §8.8, bit 4; this is how Linux looks for the chip
  @Test func `in loopback the modem inputs are the modem outputs`() {
    var chip = State()
    chip.write(0x1a, to: .modemControl)
    #expect(chip.read(.modemStatus) & 0xf0 == 0x90)
    chip.write(0x15, to: .modemControl)
    #expect(chip.read(.modemStatus) & 0xf0 == 0x60)
    chip.write(0x10, to: .modemControl)
    #expect(chip.read(.modemStatus) == 0x06, "data set ready fell, the ring indicator ended")
    #expect(chip.read(.modemStatus) == 0x00)
  }

  @Test func `in loopback what is sent is received`() {
    var chip = State()
    chip.write(0x10, to: .modemControl)
    chip.write(0x5a, to: .data)
    #expect(chip.read(.lineStatus) == 0x61)
    #expect(chip.read(.data) == 0x5a)
  }

  // MARK: - On a board

  @Test func `a byte written goes out at once and the transmitter is empty again`() {
    let bench = Bench()
    bench.write(0x41, 0)
    #expect(bench.stream.sent == [0x41])
    #expect(bench.read(5) == 0x60)
  }

  @Test func `the transmit interrupt comes after each byte, through OUT 2 only`() {
    let bench = Bench()
    bench.write(0x02, 1)
    #expect(!bench.interrupted)
    bench.write(0x08, 4)
    #expect(bench.interrupted)
    #expect(bench.read(2) == 0x02)
    #expect(!bench.interrupted)
    bench.write(0x41, 0)
    #expect(bench.interrupted)
    bench.write(0x18, 4)
    #expect(!bench.interrupted, "in loopback the outputs are off")
  }

  @Test func `while the stream takes nothing the transmitter stays full`() {
    let bench = Bench()
    bench.stream.setRoom(1)
    bench.write(0x08, 4)
    bench.write(0x02, 1)
    bench.write(0x41, 0)
    #expect(bench.interrupted)
    bench.write(0x42, 0)
    #expect(!bench.interrupted)
    #expect(bench.read(5) == 0x00)
    #expect(bench.stream.sent == [0x41])
    bench.stream.setRoom(10)
    bench.loop.run()
    #expect(bench.stream.sent == [0x41, 0x42])
    #expect(bench.read(5) == 0x60)
    #expect(bench.interrupted)
  }

  @Test(arguments: [0x00, 0x01] as [UInt64])
  func `bytes written without a look at the line status wait and leave in order`(fifos: UInt64) {
    let bench = Bench()
    bench.stream.setRoom(0)
    bench.write(fifos, 2)
    for byte: UInt64 in 0..<300 { bench.write(byte & 0xff, 0) }
    bench.stream.setRoom(1000)
    bench.loop.run()
    #expect(bench.stream.sent == Array(0...255))
  }

  @Test func `what comes in interrupts until it is read`() {
    let bench = Bench()
    bench.write(0x08, 4)
    bench.write(0x01, 1)
    bench.deliver([0x61])
    #expect(bench.interrupted)
    #expect(bench.read(5) == 0x61)
    #expect(bench.read(0) == 0x61)
    #expect(!bench.interrupted)
  }

  @Test(arguments: [0x00, 0x01] as [UInt64])
  func `a long paste arrives whole`(fifoControl: UInt64) {
    let bench = Bench()
    bench.write(fifoControl, 2)
    let text = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
    bench.deliver(text)
    var received: [UInt8] = []
    while bench.read(5) & 1 != 0 {
      received.append(UInt8(truncatingIfNeeded: bench.read(0)))
      bench.loop.run()
    }
    #expect(received == text)
  }

  @Test func `what comes in during loopback waits for its end`() {
    let bench = Bench()
    bench.write(0x10, 4)
    bench.deliver([7])
    #expect(bench.read(5) & 1 == 0)
    bench.write(0x00, 4)
    bench.loop.run()
    #expect(bench.read(0) == 7)
  }

  @Test func `at rest bytes neither come nor go`() {
    let bench = Bench()
    bench.uart.stop(Barrier())
    bench.loop.run()
    bench.write(0x41, 0)
    bench.deliver([1])
    #expect(bench.stream.sent.isEmpty)
    #expect(bench.read(5) == 0)
    bench.uart.start()
    bench.loop.run()
    #expect(bench.stream.sent == [0x41])
    #expect(bench.read(0) == 1)
  }

  @Test func `what was written before the stop is sent`() {
    let stream = EventfulStream()
    let loop = ManualLoop()
    let uart = UART16550(
      interrupt: InterruptLine(to: RecordingController(), pin: 4), stream: stream, loop: loop)
    uart.start()
    loop.run()
    stream.during {
      // As a processor does that prints its last byte and powers off while the loop sends the one before.
      try? uart.write(0x42, Access(width: .byte, offset: 0))
      uart.stop(Barrier())
    }
    try? uart.write(0x41, Access(width: .byte, offset: 0))
    loop.run()
    #expect(stream.sent == [0x41, 0x42])
  }

  @Test func `room announced before the short answer is heard is not forgotten`() {
    let stream = HastyStream()
    let uart = UART16550(
      interrupt: InterruptLine(to: RecordingController(), pin: 4), stream: stream,
      loop: ManualLoop())
    uart.start()
    try? uart.write(0x41, Access(width: .byte, offset: 0))
    #expect(stream.sent == [0x41])
  }

  // The steps of Linux' 8250_port.c, `autoconfig`.
  @Test func `Linux finds a 16550A`() {
    let bench = Bench()
    bench.write(0, 1)
    #expect(bench.read(1) == 0)
    bench.write(0x0f, 1)
    #expect(bench.read(1) & 0x0f == 0x0f)
    bench.write(0, 1)
    bench.write(0x1a, 4)
    #expect(bench.read(6) & 0xf0 == 0x90)
    bench.write(0, 4)
    bench.write(0xbf, 3)
    bench.write(0, 2)
    bench.write(0, 3)
    bench.write(0x01, 2)
    #expect(bench.read(2) >> 6 == 3)
    bench.write(0x80, 3)
    #expect(bench.read(2) != 0, "no extended features")
    bench.write(0xe0, 3)
    #expect(bench.read(2) & 0x10 == 0, "no second bank")
    bench.write(0x21, 2)
    #expect(bench.read(2) & 0x20 == 0, "no 64-byte FIFO")
  }

  @Test func `it keeps the contract of components`() {
    let loop = ManualLoop()
    let broken = ComponentContract.violations(
      of: {
        UART16550(
          interrupt: InterruptLine(to: RecordingController(), pin: 4), stream: RecordingStream(),
          loop: loop)
      },
      plug: { $1.map($0, at: 0x3f8..<0x400) },
      disturb: { uart in
        for (offset, value) in [(2, 0xc1), (1, 0x0f), (4, 0x0b), (7, 0x77)] as [(UInt64, UInt64)] {
          try? uart.write(value, Access(width: .byte, offset: offset))
        }
      },
      settle: { loop.run() })
    #expect(broken == [])
  }

  @Test func `a FIFO that is too long is refused`() throws {
    let bench = Bench()
    var saved = bench.uart.save()
    saved.receiver = Array(repeating: 0, count: 17)
    saved.fifoControl = 1
    #expect(throws: (any Error).self) { try bench.uart.restore(saved) }
    saved.receiver = [1, 2]
    saved.fifoControl = 0
    #expect(throws: (any Error).self) { try bench.uart.restore(saved) }
  }
}
