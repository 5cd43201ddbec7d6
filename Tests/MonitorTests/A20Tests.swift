import Glibc
import HostOS
import Kit
import Logging
import Monitor
import SoftwareEngine
import Testing

/// The A20 gate of the whole machine: who moves it, and what stays of it. Firmware in real mode tells, by what lies at
/// FFFF:0510, whether addresses wrap around at 1 MiB.
struct A20Tests {
  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Closes the gate at the keyboard controller.
  private static let closeKeyboard: [UInt8] = [0xb0, 0xdd, 0xe6, 0x64]  // mov al, ddh; out 64h, al
  private static let openKeyboard: [UInt8] = [0xb0, 0xdf, 0xe6, 0x64]
  private static let closePort92: [UInt8] = [0xb0, 0x00, 0xe6, 0x92]  // mov al, 0; out 92h, al
  private static let openPort92: [UInt8] = [0xb0, 0x02, 0xe6, 0x92]

  /// Leaves the top of the address space, of which there is nothing while bit 20 is masked.
  private static let prologue: [UInt8] = [
    0xea, 0x05, 0xff, 0x00, 0xf0,  // jmp f000:ff05
    0x31, 0xc0, 0x8e, 0xd8,  // xor ax, ax; mov ds, ax
    0x48, 0x8e, 0xc0,  // dec ax; mov es, ax
  ]
  /// Ends with 11h if addresses wrap, else with 22h.
  private static let verdict: [UInt8] = [
    0xc6, 0x06, 0x00, 0x05, 0x11,  // mov byte [0500h], 11h
    0x26, 0xc6, 0x06, 0x10, 0x05, 0x22,  // mov byte es:[0510h], 22h
    0xa0, 0x00, 0x05,  // mov al, [0500h]
    0x34, 0x33,  // xor al, 33h
    0xe6, 0xf4, 0xeb, 0xfe,  // out f4h, al; jmp $
  ]

  private func outcome(_ code: [UInt8]) async throws -> ExitReason {
    let loop = try EventLoop(name: "machine")
    defer { loop.stop() }
    let machine = try SoftwareMachineTests.makeMachine(
      Self.prologue + code + Self.verdict, on: loop)
    try await machine.start()
    return await machine.end()
  }

  @Test func `whoever writes last moves the gate`() async throws {
    let (keyboard, port92) = (Self.closeKeyboard, Self.closePort92)
    #expect(try await outcome([]) == .debugExit(0x22))
    #expect(try await outcome(keyboard) == .debugExit(0x11))
    #expect(try await outcome(port92) == .debugExit(0x11))
    #expect(try await outcome(keyboard + Self.openKeyboard) == .debugExit(0x22))
    #expect(try await outcome(keyboard + Self.openPort92) == .debugExit(0x22))
    #expect(try await outcome(port92 + Self.openKeyboard) == .debugExit(0x22))
    // D1h: the output port as a whole. mov al, d1h; out 64h, al; mov al, 01h; out 60h, al
    let output: [UInt8] = [0xb0, 0xd1, 0xe6, 0x64, 0xb0, 0x01, 0xe6, 0x60]
    #expect(try await outcome(output) == .debugExit(0x11))
    // Port 92h shows what the keyboard controller did. in al, 92h; or al, 2; out 92h, al
    #expect(try await outcome(output + [0xe4, 0x92, 0x0c, 0x02, 0xe6, 0x92]) == .debugExit(0x22))
    #expect(try await outcome(output + [0xe4, 0x92, 0xe6, 0x92]) == .debugExit(0x11))
  }

  @Test func `a reset opens the gate`() async throws {
    let closed: [UInt8] =
      Self.closeKeyboard + [
        0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee,  // mov dx, cf9h; mov al, 6; out dx, al
        0xeb, 0xfe,  // jmp $
      ]
    let code: [UInt8] =
      [
        0xfe, 0x06, 0x00, 0x06,  // inc byte [0600h]
        0x80, 0x3e, 0x00, 0x06, 0x01,  // cmp byte [0600h], 1
        0x75, UInt8(closed.count),  // jne over
      ] + closed
    #expect(try await outcome(code) == .debugExit(0x22))
  }

  /// A machine that has closed its gate, and waits for a byte before it says how it finds it.
  private func closedMachine(
    on loop: EventLoop, _ com1: RecordingStream
  ) async throws -> VirtualMachine {
    let code: [UInt8] =
      Self.closePort92 + [
        0xba, 0xfd, 0x03,  // mov dx, 3fdh
        0xec, 0xa8, 0x01, 0x74, 0xfb,  // again: in al, dx; test al, 1; jz again
      ]
    let machine = try SoftwareMachineTests.makeMachine(
      Self.prologue + code + Self.verdict, on: loop, com1: com1)
    try await machine.start()
    #expect(await eventually { await machine.inspect("a20") == "false" })
    return machine
  }

  @Test func `a machine saved with the gate closed goes on with it closed`() async throws {
    let path = "/tmp/roost-a20-\(UInt64.random(in: 0...UInt64.max))"
    defer { unlink(path) }
    let loop = try EventLoop(name: "machine")
    defer { loop.stop() }
    let machine = try await closedMachine(on: loop, RecordingStream())
    try await machine.save(to: path)
    await machine.stop()
    var backends = Rig.backends
    let com1 = RecordingStream()
    backends.serial[0] = com1
    let restored = try VirtualMachine(
      restoring: path, engine: SoftwareEngine(), loop: loop, backends: backends, log: Self.log)
    #expect(await restored.inspect("a20") == "true")
    try await restored.start()
    #expect(await restored.inspect("a20") == "false")
    com1.deliver([0])
    #expect(await restored.end() == .debugExit(0x11))
  }

  @Test func `a machine that is moved takes its gate along`() async throws {
    let loop = try EventLoop(name: "machine")
    defer { loop.stop() }
    let com1 = RecordingStream()
    let machine = try await closedMachine(on: loop, com1)
    try await machine.move(to: SoftwareEngine())
    com1.deliver([0])
    #expect(await machine.end() == .debugExit(0x11))
  }
}
