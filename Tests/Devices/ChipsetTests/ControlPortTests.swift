import Board
import Kit
import Testing

@testable import Chipset

private func write(_ value: UInt64, _ device: any IODevice, _ width: AccessWidth = .byte) throws {
  try device.write(value, Access(width: width, offset: 0))
}

private func read(_ device: any IODevice) throws -> UInt64 {
  try device.read(Access(width: .byte, offset: 0))
}

/// ICH9 §13.7.3.
@Suite struct FastA20PortTests {
  let owner = RecordingMachineControl()

  @Test func `moving the gate is told once, and read back`() throws {
    let port = FastA20Port(control: owner)
    #expect(try read(port) == 2)
    try write(0xfc, port)
    try write(0x00, port)
    #expect(try read(port) == 0)
    try write(0x02, port)
    #expect(owner.requests == [.a20(false), .a20(true)])
  }

  @Test func `it shows the gate as another has moved it`() throws {
    let port = FastA20Port(control: owner)
    owner.setA20(false)
    #expect(try read(port) == 0)
    #expect(port.save().value == 0)
    owner.setA20(true)
    #expect(try read(port) == 2)
  }

  @Test func `the reset bit resets as it rises`() throws {
    let port = FastA20Port(control: owner)
    try write(0x03, port)
    try write(0x03, port)
    #expect(owner.requests == [.reset])
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { FastA20Port(control: RecordingMachineControl()) },
      plug: { $1.map($0, at: 0x92..<0x93) },
      disturb: { try? write(1, $0) })
    #expect(broken == [])
  }
}

/// ICH9 §13.7.5.
@Suite struct ResetControlTests {
  let owner = RecordingMachineControl()

  @Test func `the machine is reset when the reset bit rises`() throws {
    let port = ResetControl(control: owner)
    try write(0x02, port)
    #expect(owner.requests == [])
    try write(0x06, port)
    #expect(owner.requests == [.reset])
    #expect(try read(port) == 6)
    try write(0xff, port)
    #expect(owner.requests == [.reset])
    #expect(try read(port) == 0x0e)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { ResetControl(control: RecordingMachineControl()) },
      plug: { $1.map($0, at: 0xcf9..<0xcfa) }, disturb: { try? write(2, $0) })
    #expect(broken == [])
  }
}

@Suite struct POSTPortTests {
  @Test func `the last code can be read back`() throws {
    let port = POSTPort()
    try write(0xab, port)
    #expect(try read(port) == 0xab)
    #expect(port.lastCode == 0xab)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { POSTPort() }, plug: { $1.map($0, at: 0x80..<0x81) }, disturb: { try? write(2, $0) })
    #expect(broken == [])
  }
}

@Suite struct DebugExitTests {
  @Test func `what is written ends the machine`() throws {
    let owner = RecordingMachineControl()
    let port = DebugExit(control: owner)
    try write(0x1_31, port)
    try write(0x1234, port, .word)
    try write(0xffff_ffff, port, .doubleword)
    #expect(owner.requests == [.exit(0x31), .exit(0x1234), .exit(0xffff_ffff)])
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { DebugExit(control: RecordingMachineControl()) },
      plug: { $1.map($0, at: 0xf4..<0xf8) }, disturb: { _ in })
    #expect(broken == [])
  }
}

@Suite struct DebugConsoleTests {
  let stream = RecordingStream()
  let loop = ManualLoop()
  let console: DebugConsole

  init() { console = DebugConsole(stream: stream, loop: loop) }

  @Test func `what is written is sent, and a read tells the port`() throws {
    for byte in "hello".utf8 { try write(UInt64(byte), console) }
    #expect(stream.sent == Array("hello".utf8))
    #expect(try read(console) == 0xe9)
  }

  @Test func `what a full stream does not take waits until there is room`() throws {
    stream.setRoom(2)
    loop.run()
    for byte in "hello".utf8 { try write(UInt64(byte), console) }
    #expect(stream.sent == Array("he".utf8))
    stream.setRoom(100)
    loop.run()
    #expect(stream.sent == Array("hello".utf8))
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { () -> DebugConsole in
        let stream = RecordingStream()
        stream.setRoom(0)
        return DebugConsole(stream: stream, loop: ManualLoop())
      },
      plug: { $1.map($0, at: 0xe9..<0xea) }, disturb: { try? write(65, $0) })
    #expect(broken == [])
  }
}
