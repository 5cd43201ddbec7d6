import ArchitectureX86
import CProcessor
import Kit
import InterruptControllers
import Memory
import Testing

@testable import X86Processor

/// What a core wrote while another began to keep code decoded from the same page.
@Suite struct WatchedCodeTests {
  private typealias Place = TestMachine.Place
  private static let routine = Place.data + 0x2000

  private let machine = TestMachine()
  private let writer: Core
  private let neighbours: Neighbours
  private let apics: LocalAPICs

  init() throws {
    let neighbours = Neighbours()
    apics = LocalAPICs(
      processors: 1, clock: machine.clock, loop: ManualLoop(), tscFrequency: 1_000_000_000,
      attention: neighbours)
    writer = Core(
      index: 0, memory: machine.memory, apic: apics[0], model: .x86_64v2, clock: machine.clock)
    neighbours.cores = [machine.core, writer]
    self.neighbours = neighbours
    machine.core.neighbours = neighbours
    writer.neighbours = neighbours
    machine.memory.watchedLines.watcher = neighbours

    machine.write([0xb0, 1, 0xf4], at: Self.routine)  // mov al, 1; hlt
    machine.write([0xc6, 0x43, 1, 0, 0xf4], at: Place.code)  // mov byte ptr [rbx + 1], 0; hlt
    var state = machine.core.state
    state.rip = Place.code
    state.activity = .active
    state.registers[3] = Place.data  // elsewhere on another page of the same kind
    try writer.restore(state)
  }

  private func runRoutine() -> UInt64 {
    machine.run(from: Self.routine)
    return machine.cpu.rax & 0xff
  }

  private func runWriter(rbx: UInt64) {
    writer.cpu.rbx = rbx
    writer.cpu.pointee.rip = Place.code
    writer.activity = .active
    _ = writer.run(&machine.buses)
  }

  /// The writer gets the right to write the routine's page unasked, then the routine is decoded, then the writer
  /// writes: all before it hears of that.
  private func writeUnasked() {
    runWriter(rbx: Self.routine + 0x100)
    #expect(writer.directPointer(Self.routine, write: true) != nil)
    #expect(runRoutine() == 1)
    #expect(machine.memory.watchedLines.watched(page: Int(Self.routine >> 12)) != 0)
    machine.host(Self.routine).storeBytes(of: 2, toByteOffset: 1, as: UInt8.self)
  }

  /// The routine's core changes its constant to 3 and runs it: MOV BYTE [RBX + 1], 3; JMP RBX.
  private func runRoutineChanged() -> UInt64 {
    machine.cpu.rbx = Self.routine
    machine.run(from: Place.code + 0x2000)
    return machine.cpu.rax & 0xff
  }

  @Test func `a core runs what it wrote, though another has unwatched the page meanwhile`() {
    machine.write([0xc6, 0x43, 1, 3, 0xff, 0xe3], at: Place.code + 0x2000)
    // Another routine, in another line of the same page.
    machine.write([0xb0, 7, 0xf4], at: Self.routine + 0x80)
    #expect(runRoutine() == 1)
    // The other core's word of it is on its way, and more is decoded before it comes.
    #expect(machine.memory.watchedLines.unwatch(page: Int(Self.routine >> 12)))
    machine.run(from: Self.routine + 0x80)
    #expect(machine.cpu.rax & 0xff == 7)
    #expect(runRoutineChanged() == 3)
  }

  @Test func `a core runs what it wrote, though another watches the page already`() {
    machine.write([0xc6, 0x43, 1, 3, 0xff, 0xe3], at: Place.code + 0x2000)
    // This core may write to the page unasked; the other's word that it watches it is on its way.
    machine.cpu.rbx = Self.routine + 0x100
    machine.run(from: Place.code)
    #expect(machine.core.directPointer(Self.routine, write: true) != nil)
    let page = Int(Self.routine >> 12)
    #expect(machine.memory.watchedLines.watch(1 << 4, page: page))
    #expect(runRoutine() == 1)
    #expect(runRoutineChanged() == 3)
    // What it wrote unasked before may be missing from what the other decoded.
    #expect(machine.core.hasLostGrants)
  }

  @Test func `it is found by its translation`() {
    writeUnasked()
    runWriter(rbx: Place.data)
    #expect(runRoutine() == 2)
  }

  @Test(arguments: [true, false])
  func `it is found after the translation is gone`(_ global: Bool) {
    writeUnasked()
    writer.flushTranslations(global: global)
    runWriter(rbx: Place.data)
    #expect(runRoutine() == 2)
    #expect(!writer.hasLostGrants)
  }

  @Test func `it is found after the translation made room for another`() {
    writeUnasked()
    // What is as far away as the TLB reaches has the same entry.
    let other = Self.routine + UInt64(X86_TLB_ENTRIES) << 12
    machine.map(other, to: Place.data)
    _ = writer.translate(other, write: false)
    #expect(writer.hasLostGrants)
    runWriter(rbx: Place.data)
    #expect(runRoutine() == 2)
  }

  @Test(
    arguments: [
      [0x0f, 0xa2, 0xff, 0xd6, 0xf4],  // cpuid; call rsi; hlt
      // mov rax, cr3; mov cr3, rax; call rsi; hlt
      [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xff, 0xd6, 0xf4],
    ] as [[UInt8]])
  func `a serialising instruction finds what has not been told yet`(_ code: [UInt8]) {
    writeUnasked()
    machine.write(code, at: Place.code + 0x1000)
    machine.cpu.rsi = Self.routine
    machine.run(from: Place.code + 0x1000)
    #expect(machine.cpu.rax & 0xff == 2)
    #expect(!machine.core.unheardPages.isEmpty)
    // The writer tells what it did, and the page is announced anew; then there is no more to find.
    for _ in 0..<2 {
      runWriter(rbx: Place.data)
      machine.run(from: Place.code + 0x1000)
    }
    #expect(machine.core.unheardPages.isEmpty)
  }

  /// Between the moment at which another core unwatches a page and that at which its word of it arrives.
  @Test(arguments: [true, false])
  func `a core runs what it wrote itself, though nobody watches`(_ hasWrittenBefore: Bool) {
    if hasWrittenBefore {
      machine.cpu.rbx = Self.routine + 0x100
      machine.run(from: Place.code)
    }
    #expect(runRoutine() == 1)
    #expect(machine.memory.watchedLines.unwatch(page: Int(Self.routine >> 12)))
    // mov byte ptr [rbx + 1], 2; hlt
    machine.write([0xc6, 0x43, 1, 2, 0xf4], at: Place.code + 0x1000)
    machine.cpu.rbx = Self.routine
    machine.run(from: Place.code + 0x1000)
    #expect(runRoutine() == 2)
  }

  @Test func `nothing is lost while no core announces`() {
    runWriter(rbx: Self.routine + 0x100)
    writer.flushTranslations(global: true)
    #expect(!writer.hasLostGrants)
    #expect(runRoutine() == 1)
    let drops = machine.core.statistics.droppedPages.current
    runWriter(rbx: Place.data)
    #expect(runRoutine() == 1)
    #expect(machine.core.statistics.droppedPages.current == drops)
  }

  /// Two cores on one thread.
  private final class Neighbours: CoreNeighbours, ProcessorAttention, MemoryWatcher,
    @unchecked Sendable
  {
    // Sendable although `cores` varies: one thread only uses it.
    var cores: [Core] = []
    func pageWatched(page: Int, physical: UInt64, by core: Core) {
      for other in cores where other !== core {
        other.notePageWatched(page: page, physical: physical)
      }
    }
    func haveAllHeard(_ announcements: UInt64) -> Bool {
      cores.allSatisfy { $0.hasHeard(announcements) }
    }
    func sleep(_ core: Core) { core.kick() }
    func wake(_ core: Core) {}
    func attend(_ processor: Int) {}
    func watchedLinesChanged(page: Int) { for core in cores { core.noteCodeChanged(page: page) } }
  }
}
