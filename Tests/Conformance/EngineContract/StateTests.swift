import ArchitectureX86
import Board
import Execution
import Foundation
import Kit
import Memory
import Testing

/// A processor's state leaves an engine and comes back, to it or to another.
///
/// What an engine may answer otherwise than it was given, `RoundTrip` takes away.
extension EngineContract {
  @Suite struct StateTests {
    private typealias Place = Rig.Place

    /// Time stands: counters and timers stay where they are.
    private func rig(_ engine: EngineUnderTest) throws -> Rig {
      try Rig(engine, timePasses: false)
    }

    @Test(arguments: EngineUnderTest.available)
    func `any legal state is answered as it was set`(_ engine: EngineUnderTest) throws {
      let rig = try rig(engine)
      let powerOn = try rig.state()
      for seed in 0..<300 as Range<UInt64> {
        let state = RandomState(seed: seed, powerOn).state
        try rig.setState(state)
        let differences = RoundTrip.differences(from: state, to: try rig.state())
        try #require(differences == [], "seed \(seed)")
      }
    }

    @Test(arguments: EngineUnderTest.available, EngineUnderTest.available)
    func `a state goes to another engine and back`(
      _ engine: EngineUnderTest, _ other: EngineUnderTest
    ) throws {
      let rigs = try [rig(engine), rig(other)]
      let powerOn = try rigs[0].state()
      for seed in 1000..<1100 as Range<UInt64> {
        try rigs[0].setState(RandomState(seed: seed, powerOn).state)
        let first = try rigs[0].state()
        let bytes = try JSONEncoder().encode(first)
        try rigs[1].setState(JSONDecoder().decode(X86.State.self, from: bytes))
        try rigs[0].setState(powerOn)
        try rigs[0].setState(rigs[1].state())
        let differences = RoundTrip.differences(from: first, to: try rigs[0].state())
        try #require(differences == [], "seed \(seed)")
      }
    }

    /// A sum over a sequence of numbers, in a general register, a vector register and memory, goes on from engine
    /// to engine until a word in memory says that it is enough.
    @Test(arguments: EngineUnderTest.available, EngineUnderTest.available)
    func `a running sum goes from engine to engine 50 times`(
      _ engine: EngineUnderTest, _ other: EngineUnderTest
    ) throws {
      let rigs = try [Rig(engine), Rig(other)]
      for rig in rigs { try loadSum(rig) }
      var state = try rigs[0].state()
      state.enterLongMode(at: Place.code)
      state[.rbx] = 1
      state[.rdi] = Place.data
      for at in 160..<176 { state.xsave[at] = 0 }
      var memory = [UInt8](repeating: 0, count: 16)
      var chance = Chance(seed: 7)
      for move in 0...50 {
        let rig = rigs[move % 2]
        try rig.memory.write(memory, at: GPA(Place.data))
        if move == 50 { try rig.write(1, at: Place.data + 8) }
        try rig.setState(state)
        let run = rig.processors[0].begin { vp, buses in
          let exit = try vp.run(&buses)
          guard exit == .kicked else { throw UnexpectedEnd(description: "\(exit)") }
          return try vp.state(of: .zero)
        }
        if move < 50 {
          rig.wait(nanoseconds: chance.number(below: 2_000_000))
          rig.partition.kick(0)
        }
        state = try run.get()
        memory = try rig.memory.bytes(at: GPA(Place.data), count: 16)
        #expect(rig.faults == [])
      }
      let expected = Sum(after: state[.rcx])
      #expect(state[.rcx] > 0)
      #expect(state[.rbx] == expected.number)
      #expect(state[.rsi] == expected.sum)
      #expect(try rigs[0].read(Place.data) == expected.sum)
      let low = state.xsave[160..<168].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      #expect(low == expected.sum)
    }

    private func loadSum(_ rig: Rig) throws {
      try rig.load { code in
        let again = code.placed()
        code.multiply(.rbx, by: 1_103_515_245)
        code.compute(.add, .rbx, 12_345)
        code.compute(.add, .rsi, .rbx)
        code.compute(.add, .init(base: .rdi), .rbx)
        code.emit(0x66, 0x48, 0x0f, 0x6e, 0xcb)  // MOVQ XMM1, RBX
        code.emit(0x66, 0x0f, 0xd4, 0xc1)  // PADDQ XMM0, XMM1
        code.compute(.add, .rcx, 1)
        code.load(.rdx, .init(base: .rdi, displacement: 8))
        code.compute(.compare, .rdx, 0)
        code.jump(if: .zero, to: again)
        code.end()
      }
    }

    /// The sequence and its sum after some steps, found by squaring: a step is a linear function of both, and so are
    /// 2, 4, 8 and more of them.
    private struct Sum {
      var number: UInt64 = 1
      var sum: UInt64 = 0

      init(after steps: UInt64) {
        // number' = a·number + b; sum' = sum + c·number + d.
        var (a, b) = (UInt64(1_103_515_245), UInt64(12_345))
        var (c, d) = (a, b)
        var rest = steps
        while rest != 0 {
          if rest & 1 != 0 { (number, sum) = (a &* number &+ b, sum &+ c &* number &+ d) }
          (c, d) = (c &+ c &* a, d &+ c &* b &+ d)
          (a, b) = (a &* a, a &* b &+ b)
          rest >>= 1
        }
      }
    }

    @Test(arguments: EngineUnderTest.available)
    func `a state that no processor can be in is refused`(_ engine: EngineUnderTest) throws {
      let rig = try rig(engine)
      let good = try rig.state()
      func expectRefused(_ change: (inout X86.State) -> Void) throws {
        var state = good
        change(&state)
        #expect(throws: (any Error).self) { try rig.setState(state) }
      }
      try expectRefused { $0.registers.removeLast() }
      try expectRefused { $0.segments = [] }
      try expectRefused { $0.debug.append(0) }
      try expectRefused { $0.xsave = [] }
      try expectRefused { $0.apic?.registers.removeLast() }
      try expectRefused { $0.efer |= X86.EFER.longModeActive }
      try expectRefused { $0.cr0 = X86.CR0.paging }
      // And the processor works still.
      try rig.setState(good)
      #expect(RoundTrip.differences(from: good, to: try rig.state()) == [])
    }

    /// A segment's bit L means nothing outside long mode.
    @Test(arguments: EngineUnderTest.available)
    func `protected mode takes code segments of any kind`(_ engine: EngineUnderTest) throws {
      let rig = try rig(engine)
      let powerOn = try rig.state()
      for seed in 0..<20 as Range<UInt64> {
        var state = RandomState(seed: seed, powerOn).state
        guard state.efer & X86.EFER.longModeActive == 0 else { continue }
        state.segments[X86.SegmentRegister.cs.rawValue].attributes |= 0x2000
        try rig.setState(state)
        #expect(try rig.state().rip == state.rip)
      }
    }

    /// A load of SS holds interrupts back, too, and does so where they are off.
    @Test(arguments: EngineUnderTest.available)
    func `a shadow without interrupts is kept, and its processor runs`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try rig(engine)
      try rig.load { $0.end() }
      var state = try rig.state()
      state.enterLongMode(at: Place.code)
      state.events.interruptShadow = true
      try rig.setState(state)
      #expect(try rig.state().events.interruptShadow)
      _ = try rig.resume().get()
    }

    @Test(arguments: EngineUnderTest.available)
    func `what was sent to a processor before it took a state is gone`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine, processors: 2)
      let waiting = try rig.state(of: 1)
      rig.signal(0, .initialise, address: 0xfee0_1000)
      rig.signal(9, .startUp, address: 0xfee0_1000)
      try rig.setState(waiting, of: 1)
      let run = rig.resume(processor: 1)
      #expect(try run.poll(for: 20_000_000) == nil)
      rig.end(processor: 1)
      #expect(try run.get().activity == .waitForSIPI)
    }

    @Test(arguments: EngineUnderTest.available)
    func `an NMI that comes at rest is in the state`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      for pin in [true, false] {
        try rig.run { $0.noOperation() }
        if pin {
          rig.controller.set(ProcessorPin.lint1, asserted: true)
          rig.controller.set(ProcessorPin.lint1, asserted: false)
        } else {
          rig.signal(0, .nmi)
        }
        #expect(try rig.state().events.nmiPending)
      }
    }

    /// Whatever a guest does to its local APIC, it can be saved and moved.
    @Test(arguments: EngineUnderTest.available, EngineUnderTest.available)
    func `a local APIC that the guest filled with nonsense goes to another engine`(
      _ engine: EngineUnderTest, _ other: EngineUnderTest
    ) throws {
      let rigs = try [rig(engine), rig(other)]
      let offsets: [Int32] = [0x20, 0x80, 0xd0, 0xe0, 0xf0, 0x280] + (0x32...0x37).map { $0 << 4 }
      try rigs[0].run { code in
        code.setAPIC(0xf0, 0x1ff)
        code.setAPIC(0x300, 0x4_4005)  // to itself, with a vector that there is not
        for offset in offsets { code.setAPIC(offset, 0xffff_ffff) }
        code.setAPIC(0x380, 0xffff_ffff)
        code.setAPIC(0x3e0, 0xffff_ffff)
      }
      let state = try rigs[0].state()
      try rigs[1].setState(state)
      try rigs[0].setState(rigs[1].state())
    }

    @Test(arguments: EngineUnderTest.available)
    func `an NMI and interrupts that wait in a state are delivered`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      try rig.load { code in
        code.setInterrupts()
        code.dawdle()
        code.end()
      }
      var state = try rig.state()
      var apic = try #require(state.apic)
      state.enterLongMode(at: Place.code)
      apic.registers[0xf] = 0x1ff
      // Requested: 41h and A2h.
      apic.registers[0x22] = 1 << 1
      apic.registers[0x25] = 1 << 2
      state.apic = apic
      state.events.nmiPending = true
      try rig.setState(state)
      _ = try rig.resume().get()
      #expect(rig.vectors == [2, 0xa2, 0x41])
    }

    @Test(
      arguments: EngineUnderTest.available, [X86.InjectedEvent.Kind.external, .nmi, .exception])
    func `an event that was on its way into its handler arrives`(
      _ engine: EngineUnderTest, _ kind: X86.InjectedEvent.Kind
    ) throws {
      let rig = try Rig(engine)
      let vector: UInt8 = kind == .external ? 0x55 : kind == .nmi ? 2 : 13
      let handler = try rig.load(at: Place.code + 0x1000) { code in
        code.pop(.rsi)
        if kind == .exception { code.pop(.rdi) }
        code.end()
      }
      try rig.setGate(vector, handler: handler.origin)
      try rig.load { $0.end() }
      var state = try rig.state()
      state.enterLongMode(at: Place.code)
      state.events.injected = X86.InjectedEvent(
        kind: kind, vector: vector, errorCode: kind == .exception ? 0x123 : nil)
      try rig.setState(state)
      let end = try rig.resume().get()
      if kind == .exception {
        #expect(end[.rsi] == 0x123)
        #expect(end[.rdi] == Place.code)
      } else {
        #expect(end[.rsi] == Place.code)
      }
    }
  }
}
