import ArchitectureX86
import CProcessor
import Execution
import Kit
import SoftwareEngine
import Testing

@testable import X86Processor

/// Stops for a debugger, of which the guest sees nothing.
@Suite struct DebugStopsTests {
  private typealias Place = TestMachine.Place

  private let machine = TestMachine()

  private func start(at code: [UInt8], _ stops: DebugStops) throws {
    machine.write(code, at: Place.code)
    var state = machine.core.state
    state.rip = Place.code
    state.activity = .active
    try machine.core.restore(state)
    machine.core.setDebugStops(stops)
  }

  private func go() -> Exit { machine.core.run(&machine.buses) }
  private var distance: UInt64 { machine.cpu.pointee.rip &- Place.code }

  @Test func `steps end behind one instruction each`() throws {
    try start(
      at: [
        0x48, 0xff, 0xc0,  // inc rax
        0xeb, 0x02, 0x90, 0x90,  // jmp
        0x9c,  // pushf
        0x5a,  // pop rdx
        0x0f, 0x0b,  // ud2
      ], DebugStops(step: true))
    for place in [3, 7, 8, 9] as [UInt64] {
      #expect(go() == .debug)
      #expect(distance == place)
    }
    #expect(machine.cpu.rdx & X86.Flags.trap == 0)
    #expect(go() == .debug)
    #expect(machine.cpu.pointee.rip == Place.handlers + 6 * 16)
    #expect(machine.read(machine.cpu.rsp + 16) & X86.Flags.trap == 0)
    #expect(machine.core.debugRegisterValue(6) == 0xffff_0ff0)
    #expect(machine.core.debugRegisterValue(7) == 0x400)
  }

  @Test func `a step over HLT ends, and the next one waits`() throws {
    try start(at: [0xf4, 0x90], DebugStops(step: true))
    #expect(go() == .debug)
    #expect(machine.core.activity == .halted)
    #expect(go() == .kicked)  // the harness lets nobody sleep
    #expect(distance == 1)
  }

  @Test func `breakpoints stop before their instruction, each time anew`() throws {
    try start(
      at: [
        0xb9, 3, 0, 0, 0,  // mov ecx, 3
        0xff, 0xc9,  // again: dec ecx
        0x75, 0xfc,  // jnz again
        0xf4,
      ],
      DebugStops(breakpoints: [Place.code, Place.code + 5, Place.code + 9]))
    for count in [3, 2, 1] as [UInt64] {
      #expect(go() == .debug)
      #expect(distance == 5)
      #expect(machine.cpu.rcx == count)
    }
    #expect(go() == .debug)
    #expect(distance == 9)
    #expect(go() == .kicked)
    #expect(machine.core.activity == .halted)
  }

  @Test func `a kick does not let a breakpoint be missed`() throws {
    try start(at: [0x90, 0x90, 0xf4], DebugStops(breakpoints: [Place.code + 1]))
    machine.core.kick()
    #expect(go() == .kicked)
    #expect(go() == .debug)
    #expect(distance == 1)
    machine.core.kick()
    #expect(go() == .kicked)
    #expect(go() == .kicked)
    #expect(distance == 3)
  }

  @Test func `a handler's first instruction can be stopped at`() throws {
    let handler = Place.handlers + 6 * 16
    try start(at: [0x0f, 0x0b], DebugStops(breakpoints: [handler]))
    #expect(go() == .debug)
    #expect(machine.cpu.pointee.rip == handler)
  }

  @Test func `the guest's own tracing goes on`() throws {
    try start(at: [0x90, 0x90], DebugStops(step: true))
    machine.cpu.pointee.system_flags |= X86.Flags.trap
    #expect(go() == .debug)
    #expect(machine.cpu.pointee.rip == Place.handlers + 16)
    #expect(machine.core.debugRegisterValue(6) & 1 << 14 != 0)
  }

  @Test func `without stops the core runs on`() throws {
    try start(at: [0x90, 0x90, 0xf4], DebugStops(step: true, breakpoints: [Place.code + 1]))
    #expect(go() == .debug)
    machine.core.setDebugStops(DebugStops())
    #expect(go() == .kicked)
    #expect(distance == 3)
  }

  @Test func `a processor refuses more breakpoints than there are`() throws {
    let partition = try SoftwareEngine().makePartition(
      PartitionPlan(processors: 1, model: .x86_64v2, clock: machine.clock, loop: ManualLoop()))
    try partition.map(machine.memory)
    let processor = try partition.bindProcessor(0)
    try processor.setDebugStops(DebugStops(breakpoints: [1, 2, 3, 4]))
    #expect(throws: EngineError.self) {
      try processor.setDebugStops(DebugStops(breakpoints: [1, 2, 3, 4, 5]))
    }
  }
}
