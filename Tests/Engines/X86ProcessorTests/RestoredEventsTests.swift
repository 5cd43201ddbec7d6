import ArchitectureX86
import Testing

@testable import X86Processor

/// States of other engines: events on their way, and what a processor of ours would not leave so.
@Suite struct RestoredEventsTests {
  private typealias Place = TestMachine.Place

  private let machine = TestMachine()

  private func state(_ event: X86.InjectedEvent) -> X86.State {
    machine.write([0x90, 0xf4], at: Place.code)
    var state = machine.core.state
    state.rip = Place.code
    state.activity = .active
    state.events.injected = event
    return state
  }

  @Test(arguments: [
    X86.InjectedEvent(kind: .external, vector: 0x41),
    X86.InjectedEvent(kind: .exception, vector: 13, errorCode: 0x28),
    X86.InjectedEvent(kind: .exception, vector: 6),
    X86.InjectedEvent(kind: .software, vector: 0x80),
    X86.InjectedEvent(kind: .nmi, vector: 2),
  ])
  func `an event on its way enters its handler first`(_ event: X86.InjectedEvent) throws {
    let before = state(event)
    try machine.core.restore(before)
    #expect(machine.core.state.events.injected == event)
    #expect(machine.resume() == .halted)
    #expect(machine.haltedVector == Int(event.vector))
    let frame = try #require(machine.frame)
    #expect(frame.rip == Place.code)
    #expect(frame.code == event.errorCode.map { UInt64($0) })
    let after = machine.core.state
    #expect(after.events.injected == nil)
    #expect(after.events.nmiBlocked == (event.kind == .nmi))
  }

  @Test func `the instruction emulator delivers it too`() throws {
    let emulator = InstructionEmulator(
      index: 0, processors: 1, memory: machine.memory, model: .x86_64v2, clock: machine.clock)
    let before = state(.init(kind: .external, vector: 0x41))
    let outcome = try emulator.execute(before, &machine.buses)
    #expect(outcome.state.rip == Place.handlers + 0x41 * 16 + 1)
    #expect(outcome.state.activity == .halted)
    #expect(outcome.state.events.injected == nil)
    #expect(outcome.instruction.all == [0xf4])
  }

  @Test func `an event whose handler cannot be entered is a triple fault`() throws {
    var before = state(.init(kind: .external, vector: 0x41))
    before.idtr.limit = 0
    try machine.core.restore(before)
    #expect(machine.resume() == .tripleFault)
    #expect(machine.core.state.activity == .shutdown)
  }

  @Test func `segments may be unusable and have bits that mean nothing`() throws {
    var before = machine.core.state
    before.ldtr = X86.Segment(selector: 0, base: 0, limit: 0xffff, attributes: 0x1_0fff)
    before.segments[0].attributes = 0xfff_ffff
    try machine.core.restore(before)
    #expect(machine.core.state.ldtr.attributes == 0x1_00ff)
    #expect(machine.core.state.segments[0].attributes == 0x1_f0ff)
  }
}
