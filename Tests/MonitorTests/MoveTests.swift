import ArchitectureX86
import Board
import Execution
import HostOS
import Inspection
import Memory
import Monitor
import SoftwareEngine
import Synchronization
import Testing

/// A machine's processors go from one engine to another, or stay where they are.
struct MoveTests {
  @Test func `the new engine's processors run on and the old engine's have ended`() async throws {
    let tally = Tally()
    let rig = try Rig(processors: 2) { (index, _) throws(EngineError) in
      tally.add(index)
      return nil
    }
    try await rig.machine.start()
    #expect(await eventually { tally[0] > 1 && tally[1] > 1 })
    let time = try await rig.machine.move(
      to: FakeEngine { (index, _) throws(EngineError) in
        tally.add(10 + index)
        return nil
      })
    #expect(time > .zero)
    let (first, second) = (tally[0], tally[1])
    #expect(await rig.machine.condition == .running)
    #expect(await eventually { tally[10] > 1 && tally[11] > 1 })
    #expect(tally[0] == first && tally[1] == second)
    await rig.machine.stop()
    rig.loop.stop()
  }

  @Test func `a paused machine stays paused`() async throws {
    let tally = Tally()
    let rig = try Rig()
    try await rig.machine.start()
    await rig.machine.pause()
    try await rig.machine.move(
      to: FakeEngine { (_, _) throws(EngineError) in
        tally.add(0)
        return nil
      })
    #expect(await rig.machine.condition == .paused)
    try await Task.sleep(for: .milliseconds(5))
    #expect(tally[0] == 0)
    await rig.machine.resume()
    #expect(await eventually { tally[0] > 0 })
    await rig.machine.stop()
    rig.loop.stop()
  }

  @Test func `a machine that is off cannot be moved`() async throws {
    let rig = try Rig()
    await #expect(throws: MachineNotOn.self) { try await rig.machine.move(to: FakeEngine()) }
    await rig.machine.stop()
    rig.loop.stop()
  }

  @Test(arguments: Refusal.allCases)
  func `a machine whose new engine refuses it goes on where it is`(_ refusal: Refusal) async throws
  {
    let tally = Tally()
    let rig = try Rig(processors: 2) { (index, _) throws(EngineError) in
      tally.add(index)
      return nil
    }
    try await rig.machine.start()
    await #expect(throws: EngineError.self) {
      try await rig.machine.move(to: RefusingEngine(refusal))
    }
    let (first, second) = (tally[0], tally[1])
    #expect(await eventually { tally[0] > first && tally[1] > second })
    #expect(await rig.machine.condition == .running)
    await rig.machine.stop()
    #expect(await rig.machine.end() == .stopped)
    rig.loop.stop()
  }

  @Test func `a counting guest counts on through fifty moves`() async throws {
    let loop = try EventLoop(name: "machine")
    let machine = try SoftwareMachineTests.makeMachine(
      [
        0x31, 0xc0, 0x8e, 0xd8,  // xor ax, ax; mov ds, ax
        0x66, 0xff, 0x06, 0x00, 0x10,  // again: inc dword [1000h]
        0xe4, 0xf8,  // in al, f8h: nobody answers
        0x66, 0x81, 0x3e, 0x00, 0x10, 0x00, 0x00, 0x20, 0x00,  // cmp dword [1000h], 200000h
        0x75, 0xee,  // jne again
        0xb0, 0x15, 0xe6, 0xf4, 0xeb, 0xfe,  // mov al, 15h; out f4h, al; jmp $
      ], on: loop)
    try await machine.start()
    let released = Released()
    for _ in 0..<50 {
      try await Task.sleep(for: .milliseconds(1))
      if await machine.condition == .ended { break }
      _ = try? await machine.move(to: released.watching(SoftwareEngine()))
    }
    #expect(await machine.end() == .debugExit(0x15))
    // Only the last engine's partition is left.
    #expect(await eventually { released.count <= 1 })
    loop.stop()
  }
}

/// Where an engine may refuse a machine.
enum Refusal: CaseIterable, Sendable { case partition, memory, processor, state }

/// An engine that refuses its machine.
private struct RefusingEngine: Engine {
  typealias ISA = X86
  let refusal: Refusal

  init(_ refusal: Refusal) { self.refusal = refusal }

  func makePartition(_ plan: PartitionPlan<X86>) throws(EngineError) -> any Partition<X86> {
    if refusal == .partition { throw EngineError("no partition") }
    return RefusingPartition(refusal, try SoftwareEngine().makePartition(plan))
  }
}

private final class RefusingPartition: Partition {
  typealias ISA = X86
  private let refusal: Refusal
  private let inner: any Partition<X86>

  init(_ refusal: Refusal, _ inner: any Partition<X86>) {
    self.refusal = refusal
    self.inner = inner
  }

  func map(_ memory: GuestMemory) throws(EngineError) {
    try inner.map(memory)
    if refusal == .memory { throw EngineError("no memory") }
  }
  func permit(_ access: MemoryAccess, in range: GPARange) throws(EngineError) {}
  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<X86> {
    if refusal == .processor, index == 1 { throw EngineError("no processor") }
    return RefusingProcessor(refusal, index)
  }
  func kick(_ index: Int) {}
  func inspect(_ node: inout Node) {}
  var interruptController: (any ProcessorInterrupts)? { inner.interruptController }
  var dirtyPages: (any DirtyPageTracker)? { nil }
}

private final class RefusingProcessor: VirtualProcessor {
  typealias ISA = X86
  private let refusal: Refusal
  private let index: Int

  init(_ refusal: Refusal, _ index: Int) {
    self.refusal = refusal
    self.index = index
  }

  func run(_ buses: inout Buses) throws(EngineError) -> Exit { .kicked }
  func state(of vtl: VTL) throws(EngineError) -> X86.State { .powerOn(isBootProcessor: index == 0) }
  func setState(_ state: X86.State, of vtl: VTL) throws(EngineError) {
    if refusal == .state, index == 1 { throw EngineError("no state") }
  }
  func setDebugStops(_ stops: DebugStops) throws(EngineError) {}
}

/// Counts the partitions that were made and are still there.
final class Released: Sendable {
  private struct Weak: @unchecked Sendable { weak var partition: (any Partition<X86>)? }
  private let partitions = Mutex<[Weak]>([])

  var count: Int { partitions.withLock { $0.count { $0.partition != nil } } }

  func watching(_ engine: any Engine<X86>) -> any Engine<X86> { Watched(engine: engine, by: self) }

  private struct Watched: Engine {
    typealias ISA = X86
    let engine: any Engine<X86>
    let by: Released

    func makePartition(_ plan: PartitionPlan<X86>) throws(EngineError) -> any Partition<X86> {
      let partition = try engine.makePartition(plan)
      by.partitions.withLock { $0.append(Weak(partition: partition)) }
      return partition
    }
  }
}
