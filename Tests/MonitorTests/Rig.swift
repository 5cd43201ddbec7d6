import Board
import Execution
import HostOS
import Logging
import Monitor
import Streams
import Synchronization

/// A machine with a fake engine, its loop, and nothing at its ports.
struct Rig {
  let loop: EventLoop
  let machine: VirtualMachine

  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  static let backends = PC.Backends(serial: (0..<4).map { _ in NullStream() })

  static func configuration(processors: Int = 1, restartsOnReset: Bool = true) -> VMConfiguration {
    VMConfiguration(
      memory: MemorySize(bytes: 16 << 20), processors: processors,
      boot: .rom([UInt8](repeating: 0xf4, count: 0x1_0000)), debugExitPort: 0xf4,
      restartsOnReset: restartsOnReset)
  }

  init(
    processors: Int = 1, restartsOnReset: Bool = true,
    _ program: @escaping FakeEngine.Program = { (_, _) throws(EngineError) in nil }
  ) throws {
    loop = try EventLoop(name: "rig")
    machine = try VirtualMachine(
      Self.configuration(processors: processors, restartsOnReset: restartsOnReset),
      engine: FakeEngine(program), loop: loop, backends: Self.backends, log: Self.log)
  }

  init(
    restoring path: String,
    _ program: @escaping FakeEngine.Program = { (_, _) throws(EngineError) in nil }
  ) throws {
    loop = try EventLoop(name: "rig")
    machine = try VirtualMachine(
      restoring: path, engine: FakeEngine(program), loop: loop, backends: Self.backends,
      log: Self.log)
  }
}

/// Counts what processors did.
final class Tally: Sendable {
  private let counts = Mutex<[Int: Int]>([:])
  func add(_ key: Int) { counts.withLock { $0[key, default: 0] += 1 } }
  subscript(key: Int) -> Int { counts.withLock { $0[key, default: 0] } }
}

/// Waits until something holds, a minute at the least.
func eventually(_ condition: () async -> Bool) async -> Bool {
  let deadline = HostClock.now.advanced(by: 60_000_000_000)
  // Where other tests hold the threads of tasks, the machine gets as few turns as this does.
  var looks = 0
  while await !condition() {
    looks += 1
    guard HostClock.now < deadline || looks < 1000 else { return false }
    try? await Task.sleep(for: .milliseconds(1))
  }
  return true
}
