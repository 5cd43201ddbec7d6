import ArchitectureX86
import Board
import Chipset
import Execution
import Glibc
import HostOS
import Inspection
import Kit
import Logging
import Memory
import Monitor
import SavedState
import SoftwareEngine
import Synchronization
import Testing

/// Guests made by chance on the whole machine: two processors of the software engine and a PC's devices.
/// Whatever they do, the monitor does not trap, comes to rest when asked, and keeps to its memory.
///
/// For a longer run: ROOST_FUZZ_SECONDS, and ROOST_FUZZ_SEED for where to begin; ROOST_FUZZ_LOG names a
/// file that holds the seed in hand, for what a crash leaves behind.
struct RandomCodeTests {
  private static func setting(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  @Test func `code made by chance never takes the monitor with it`() async throws {
    let seconds = Self.setting("ROOST_FUZZ_SECONDS").flatMap { UInt64($0) } ?? 5
    var seed = Self.setting("ROOST_FUZZ_SEED").flatMap { UInt64($0) } ?? 1
    let record = try Self.setting("ROOST_FUZZ_LOG").map { try HostFile.create($0) }
    let bench = try await Bench()
    let guard_ = Watchdog()
    let deadline = HostClock.now.advanced(by: seconds * 1_000_000_000)
    var lives = 0
    while HostClock.now < deadline {
      guard_.begin(seed)
      try record?.writeAll(Array("\(seed)\n".utf8))
      try await bench.live(seed: seed)
      guard_.end()
      seed &+= 1
      lives += 1
    }
    print(bench.report())
    await bench.close()
    #expect(lives > 0)
    print("random code: \(lives) guests, up to seed \(seed &- 1)")
  }
}

/// One machine, in which one guest lives after the other.
private final class Bench {
  private let loop: EventLoop
  private let machine: Assembly
  private let powerOn: [X86.State]
  private let events: Task<Void, Never>

  init() async throws {
    loop = try EventLoop(name: "bench")
    var configuration = Rig.configuration(processors: 2)
    configuration.memory = MemorySize(bytes: 8 << 20)
    configuration.model = .x86_64v3
    machine = try Assembly(
      PCShape(configuration), image: nil, engine: SoftwareEngine(), clock: GuestClock(on: loop),
      loop: loop, backends: Rig.backends,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    powerOn = try await machine.processorStates()
    let stream = machine.events
    events = Task { for await _ in stream {} }
  }

  /// A guest's life: a few milliseconds; sometimes it is saved, restored and goes on.
  func live(seed: UInt64) async throws {
    var guest = RandomGuest(seed: seed)
    for piece in guest.pieces { try machine.memory.write(piece.bytes, at: GPA(piece.address)) }
    machine.resetParts()
    let states = powerOn.enumerated().map { index, state in
      index == 1 && seed % 4 == 0 ? state : guest.state(from: state)
    }
    _ = try await machine.processors.visit { index, processor throws(EngineError) in
      // A state that no processor could be in is refused; then the one before stays.
      do throws(EngineError) {
        try processor.setState(states[index], of: .zero)
      } catch {}
    }
    await run()
    guard seed % 8 == 0 else { return }
    let tree = try await machine.savedTree()
    let again = try SavedTree(decoding: tree.encoded())
    try await machine.restore(again)
    let second = try await machine.savedTree()
    for (before, after) in zip(tree.parts, second.parts) where before != after {
      Issue.record("seed \(seed): \(before.name) differs after it was restored")
    }
    await run()
  }

  private func run() async {
    startLegacyTimer()
    machine.resume()
    try? await Task.sleep(for: .milliseconds(3))
    machine.pc.powerManagement.pressPowerButton()
    machine.interrupts.set(ProcessorPin.lint1, asserted: true)
    machine.interrupts.set(ProcessorPin.lint1, asserted: false)
    await machine.quiesce()
  }

  /// Lets the 8254 interrupt as fast as it can, through the 8259 pair.
  private func startLegacyTimer() {
    var ports = BusView(machine.board.ports)
    for (port, value) in [
      (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0), (0x43, 0x14), (0x40, 2),
    ] as [(UInt64, UInt64)] {
      ports.write(value, port, .byte)
    }
  }

  /// What the processors count, for people.
  func report() -> String {
    var root = Node()
    machine.inspect(&root)
    return root.find("processors")?.text() ?? ""
  }

  func close() async {
    machine.dismantle()
    events.cancel()
    loop.stop()
  }
}

/// Ends the process, naming the seed, when a guest does not come to rest.
private final class Watchdog: Sendable {
  private let current = Mutex<(seed: UInt64, since: HostInstant)?>(nil)
  private let watching = Mutex<Task<Void, Never>?>(nil)

  /// Nanoseconds. A life is a few milliseconds, but its task gets few turns where other tests hold the threads of tasks.
  private static let patience: UInt64 = 600_000_000_000

  init() {
    let task = Task.detached { [weak self] in
      while let self, !Task.isCancelled {
        if let current = self.current.withLock({ $0 }),
          current.since.advanced(by: Self.patience) < HostClock.now
        {
          fatalError("the guest of seed \(current.seed) does not come to rest")
        }
        try? await Task.sleep(for: .seconds(1))
      }
    }
    watching.withLock { $0 = task }
  }

  deinit { watching.withLock { $0 }?.cancel() }

  func begin(_ seed: UInt64) { current.withLock { $0 = (seed, HostClock.now) } }
  func end() { current.withLock { $0 = nil } }
}
