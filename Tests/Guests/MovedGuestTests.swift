import Execution
import HostOS
import Kit
import Logging
import Monitor
import SoftwareEngine
import Streams
import Testing

extension MachineTests {
  @Suite struct MovedGuestTests {}
}

/// A guest whose processors go to a new engine at any moment notices nothing.
extension MachineTests.MovedGuestTests {
  @Test(arguments: [
    ("timers", 1), ("rtc", 1), ("interrupts", 2), ("atomics", 4), ("paging", 1),
    ("self-modifying", 2), ("user", 1),
  ])
  func `a guest goes on in another engine`(_ program: String, processors: Int) async throws {
    let loop = try EventLoop(name: "guest devices")
    defer { loop.stop() }
    let console = RecordingStream()
    let machine = try VirtualMachine(
      VMConfiguration(
        memory: MemorySize(bytes: 64 << 20), processors: processors,
        boot: .kernel(.program(program)), debugExitPort: 0xf4, restartsOnReset: false),
      engine: SoftwareEngine(), loop: loop,
      backends: PC.Backends(serial: [console] + (0..<3).map { _ in NullStream() }),
      log: Logger(label: "guest") { _ in SwiftLogNoOpLogHandler() })
    try await machine.start()
    let mover = Task {
      var moves = 0
      while await machine.condition == .running {
        try await Task.sleep(for: .microseconds(Int.random(in: 100...20_000)))
        do {
          try await machine.move(to: SoftwareEngine())
          moves += 1
        } catch is MachineNotOn {
          break
        }
      }
      return moves
    }
    let reason = await machine.end()
    let moves = try await mover.value
    let text = String(decoding: console.sent, as: UTF8.self)
    #expect(reason == .debugExit(0x10), "after \(moves) moves:\n\(text)")
    #expect(text.split(separator: "\n").last?.hasPrefix("end ") == true, "\(text)")
  }
}
