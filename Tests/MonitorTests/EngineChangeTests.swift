import ArchitectureX86
import Execution
import HostOS
import KVM
import Kit
import Logging
import Monitor
import SoftwareEngine
import Streams
import Testing

/// What this host's KVM cannot do, if it cannot run these machines.
private let obstacle = KVMSurvey(for: .x86_64v2).obstacle(tscFrequency: nil)

/// A machine's processors go from our own engine to KVM and back.
@Suite(.serialized, .enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
struct EngineChangeTests {
  /// Sums up numbers until somebody types, and then compares the sum with what Gauss says.
  private static let program: [UInt8] = [
    0x66, 0x31, 0xc9, 0x66, 0x31, 0xdb,  // xor ecx, ecx; xor ebx, ebx
    0x66, 0x41, 0x66, 0x01, 0xcb,  // again: inc ecx; add ebx, ecx
    0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01,  // mov dx, 3fdh; in al, dx; test al, 1
    0x74, 0xf3,  // jz again
    0x66, 0x89, 0xc8, 0x66, 0x89, 0xcf, 0x66, 0x47,  // mov eax, ecx; mov edi, ecx; inc edi
    0x66, 0xf7, 0xe7, 0x66, 0x0f, 0xac, 0xd0, 0x01,  // mul edi; shrd eax, edx, 1
    0x66, 0x39, 0xd8,  // cmp eax, ebx
    0xb0, 0x15, 0x74, 0x02, 0xb0, 0x16,  // mov al, 15h; je end; mov al, 16h
    0xe6, 0xf4, 0xeb, 0xfe,  // end: out f4h, al; jmp $
  ]

  private func makeMachine(
    on loop: EventLoop, com1: any ByteStream, engine: any Engine<X86> = SoftwareEngine()
  ) throws -> VirtualMachine {
    var configuration = VMConfiguration(
      memory: MemorySize(bytes: 16 << 20), boot: .rom(SoftwareMachineTests.rom(Self.program)),
      debugExitPort: 0xf4)
    configuration.model.tscFrequency = try KVMHost().counter?.frequency ?? 1_000_000_000
    var backends = Rig.backends
    backends.serial[0] = com1
    return try VirtualMachine(
      configuration, engine: engine, loop: loop, backends: backends,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test func `a sum is right after fifty changes of the engine`() async throws {
    let loop = try EventLoop(name: "machine")
    defer { loop.stop() }
    let keyboard = RecordingStream()
    let machine = try makeMachine(on: loop, com1: keyboard)
    try await machine.start()
    var engine = EngineKind.software
    let released = Released()
    for _ in 0..<50 {
      try await Task.sleep(for: .milliseconds(Int.random(in: 1...5)))
      engine = engine.other
      try await machine.move(to: released.watching(engine.makeEngine()))
      #expect(await machine.inspect("processors")?.contains(engine.rawValue) == true)
    }
    keyboard.deliver([0x20])
    #expect(await machine.end() == .debugExit(0x15))
    // Only the last engine's partition is left.
    #expect(await eventually { released.count <= 1 })
  }

  @Test(arguments: [EngineKind.software, .kvm])
  func `a machine that has ended leaves no partition behind`(_ engine: EngineKind) async throws {
    let loop = try EventLoop(name: "machine")
    let released = Released()
    do {
      let keyboard = RecordingStream()
      let machine = try makeMachine(
        on: loop, com1: keyboard, engine: released.watching(engine.makeEngine()))
      try await machine.start()
      keyboard.deliver([0x20])
      #expect(await machine.end() == .debugExit(0x15))
    }
    loop.stop()
    #expect(await eventually { released.count == 0 })
  }
}
