import Board
import Glibc
import HostOS
import Kit
import Logging
import Monitor
import SoftwareEngine
import Streams
import Testing

/// Small pieces of firmware on the software engine, from the reset vector on.
struct SoftwareMachineTests {
  /// A ROM of 64 KiB whose reset vector jumps back to `code`, in real mode.
  static func rom(_ code: [UInt8]) -> [UInt8] {
    var rom = [UInt8](repeating: 0x90, count: 0x1_0000)
    rom.replaceSubrange(0xff00..<0xff00 + code.count, with: code)
    rom.replaceSubrange(0xfff0..<0xfff3, with: [0xe9, 0x0d, 0xff])  // jmp ff00
    return rom
  }

  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  static func makeMachine(
    _ code: [UInt8], on loop: EventLoop, com1: any ByteStream = NullStream()
  ) throws -> VirtualMachine {
    let configuration = VMConfiguration(
      memory: MemorySize(bytes: 16 << 20), boot: .rom(rom(code)), debugExitPort: 0xf4)
    var backends = Rig.backends
    backends.serial[0] = com1
    return try VirtualMachine(
      configuration, engine: SoftwareEngine(), loop: loop, backends: backends, log: Self.log)
  }

  @Test func `firmware prints and ends the run`() async throws {
    let loop = try EventLoop(name: "machine")
    let stream = RecordingStream()
    let machine = try Self.makeMachine(
      [
        0xba, 0xf8, 0x03,  // mov dx, 3f8h
        0xb0, 0x68, 0xee,  // mov al, 'h'; out dx, al
        0xb0, 0x69, 0xee,  // mov al, 'i'; out dx, al
        0xb0, 0x21, 0xe6, 0xf4,  // mov al, 21h; out f4h, al
        0xeb, 0xfe,  // jmp $
      ], on: loop, com1: stream)
    try await machine.start()
    #expect(await machine.end() == .debugExit(0x21))
    #expect(stream.sent == Array("hi".utf8))
    loop.stop()
  }

  @Test func `RAM outlives a reset and the processor starts anew`() async throws {
    let loop = try EventLoop(name: "machine")
    let machine = try Self.makeMachine(
      [
        0x31, 0xc0, 0x8e, 0xd8,  // xor ax, ax; mov ds, ax
        0xfe, 0x06, 0x00, 0x10,  // inc byte [1000h]
        0xa0, 0x00, 0x10,  // mov al, [1000h]
        0x3c, 0x03, 0x74, 0x08,  // cmp al, 3; je end
        0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee,  // mov dx, cf9h; mov al, 6; out dx, al
        0xeb, 0xfe,  // jmp $
        0xe6, 0xf4, 0xeb, 0xfe,  // end: out f4h, al; jmp $
      ], on: loop)
    try await machine.start()
    #expect(await machine.end() == .debugExit(3))
    loop.stop()
  }

  @Test func `a saved machine goes on counting in another`() async throws {
    let path = "/tmp/roost-counting-\(UInt64.random(in: 0...UInt64.max))"
    defer { unlink(path) }
    let loop = try EventLoop(name: "machine")
    let machine = try Self.makeMachine(
      [
        0x31, 0xc0, 0x8e, 0xd8,  // xor ax, ax; mov ds, ax
        0x66, 0xff, 0x06, 0x00, 0x10,  // again: inc dword [1000h]
        0x66, 0x81, 0x3e, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10,  // cmp dword [1000h], 10000000h
        0x75, 0xf0,  // jne again
        0xb0, 0x15, 0xe6, 0xf4, 0xeb, 0xfe,  // mov al, 15h; out f4h, al; jmp $
      ], on: loop)
    try await machine.start()
    try await machine.save(to: path)
    await machine.stop()

    let restored = try VirtualMachine(
      restoring: path, engine: SoftwareEngine(), loop: loop, backends: Rig.backends, log: Self.log)
    try await restored.start()
    #expect(await restored.end() == .debugExit(0x15))
    loop.stop()
  }

  @Test func `a processor that spins is paused, looked at and reset`() async throws {
    let loop = try EventLoop(name: "machine")
    let machine = try Self.makeMachine([0xeb, 0xfe], on: loop)
    try await machine.start()
    for _ in 0..<20 {
      await machine.pause()
      await machine.resume()
      await machine.reset()
    }
    #expect(
      await eventually {
        (try? await machine.registers().contains("rip 000000000000ff00")) == true
      })
    await machine.stop()
    #expect(await machine.end() == .stopped)
    loop.stop()
  }
}
