import ArchitectureX86
import Board
import Execution
import HostOS
import Synchronization
import Testing

/// Interrupts of every kind, from whoever may send them: SDM Vol. 3A chapter 11.
extension EngineContract {
  @Suite struct InterruptTests {
    private typealias Place = Rig.Place

    /// Delivery modes: SDM Vol. 3A §11.11.2.
    enum Mode: UInt32 {
      case fixed = 0, lowestPriority, nmi = 4, initialise, startUp
    }

    // MARK: - Messages

    @Test(arguments: EngineUnderTest.available, Waiting.allCases)
    func `a message interrupts a processor`(_ engine: EngineUnderTest, _ waiting: Waiting) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(waiting)
      let vectors: [UInt8] = [0x31, 0x80, 0xfe, 0x31, 0x20]
      for (index, vector) in vectors.enumerated() {
        rig.signal(vector)
        #expect(rig.waitUntil { rig.vectors.count > index })
      }
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == vectors)
    }

    @Test(arguments: EngineUnderTest.available)
    func `the end of a level-triggered interrupt is told, that of others is not`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine)
      let listener = Listener()
      rig.controller.connect(endOfInterrupt: listener)
      let run = try rig.beginWaiting(.halted)
      for (index, vector) in [0x41, 0x61, 0x41, 0x51].enumerated() {
        rig.signal(UInt8(vector), isLevel: vector != 0x51)
        #expect(rig.waitUntil { rig.vectors.count > index })
      }
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == [0x41, 0x61, 0x41, 0x51])
      #expect(rig.waitUntil { listener.heard.count >= 3 })
      #expect(listener.heard == [0x41, 0x61, 0x41])
    }

    @Test(arguments: EngineUnderTest.available)
    func `messages reach those whom they address`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine, processors: 3)
      let runs = try (0..<3).map { try rig.beginWaiting(.halted, processor: $0) }
      var expected: [Rig.Interrupt] = []
      func send(_ vector: UInt8, to address: UInt64, reaches processors: Int...) {
        rig.controller.signal(MSI(address: address, data: UInt32(vector)), from: 0)
        expected += processors.map { Rig.Interrupt(vector: vector, processor: $0) }
        #expect(rig.waitUntil { rig.interrupts.count == expected.count })
        let new = rig.interrupts.suffix(processors.count).sorted { $0.processor < $1.processor }
        #expect(new == Array(expected.suffix(processors.count)))
      }
      for processor in 0..<3 {
        send(0x40, to: 0xfee0_0000 | UInt64(processor) << 12, reaches: processor)
      }
      send(0x41, to: 0xfeef_f000, reaches: 0, 1, 2)
      // Logical destinations: each processor has the bit of its number.
      send(0x42, to: 0xfee0_2004, reaches: 1)
      send(0x43, to: 0xfee0_5004, reaches: 0, 2)
      send(0x44, to: 0xfeef_f004, reaches: 0, 1, 2)
      for processor in 0..<3 { rig.end(processor: processor) }
      for run in runs { _ = try run.get() }
      #expect(rig.interrupts.count == expected.count)
    }

    @Test(arguments: EngineUnderTest.available)
    func `a lowest-priority message reaches one of those whom it addresses`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine, processors: 3)
      let runs = try (0..<3).map { try rig.beginWaiting(.halted, processor: $0) }
      for round in 0..<10 {
        rig.signal(0x50, .lowestPriority, address: 0xfee0_600c)
        #expect(rig.waitUntil { rig.interrupts.count > round })
      }
      for processor in 0..<3 { rig.end(processor: processor) }
      for run in runs { _ = try run.get() }
      #expect(rig.interrupts.count == 10)
      #expect(rig.interrupts.allSatisfy { $0.processor != 0 })
    }

    // MARK: - Pins

    @Test(arguments: EngineUnderTest.available, Waiting.allCases)
    func `LINT1 and messages bring NMIs`(_ engine: EngineUnderTest, _ waiting: Waiting) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(waiting, interrupts: false)
      for count in 1...3 {
        rig.controller.set(ProcessorPin.lint1, asserted: true)
        rig.controller.set(ProcessorPin.lint1, asserted: false)
        #expect(rig.waitUntil { rig.vectors.count == 2 * count - 1 })
        rig.signal(0, .nmi)
        #expect(rig.waitUntil { rig.vectors.count == 2 * count })
      }
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == [UInt8](repeating: 2, count: 6))
    }

    @Test(arguments: EngineUnderTest.available, Waiting.allCases)
    func `LINT0 brings interrupts whose vector the acknowledger names`(
      _ engine: EngineUnderTest, _ waiting: Waiting
    ) throws {
      let rig = try Rig(engine)
      let acknowledger = Acknowledger(rig.controller)
      rig.controller.connect(acknowledger: acknowledger)
      let run = try rig.beginWaiting(waiting)
      for (index, vector) in [0x30, 0x37, 0x77].enumerated() {
        acknowledger.request(UInt8(vector))
        #expect(rig.waitUntil { rig.vectors.count > index })
      }
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == [0x30, 0x37, 0x77])
      #expect(acknowledger.count == 3)
    }

    @Test(arguments: EngineUnderTest.available)
    func `an external interrupt that is taken back before it is taken never was`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine)
      let acknowledger = Acknowledger(rig.controller)
      rig.controller.connect(acknowledger: acknowledger)
      let run = try rig.beginWaiting(.spinning, interrupts: false)
      acknowledger.request(0x30)
      rig.controller.set(ProcessorPin.lint0, asserted: false)
      rig.end()
      _ = try run.get()
      try rig.run { code in
        code.setInterrupts()
        code.dawdle()
      }
      #expect(rig.vectors == [])
      #expect(acknowledger.count == 0)
    }

    /// A device asks for an interrupt while the processor's access to it is answered: each request is acknowledged
    /// once, and its vector arrives, whatever the next instruction does.
    @Test(arguments: EngineUnderTest.available)
    func `an external interrupt that an access sets off is not lost`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      let acknowledger = Acknowledger(rig.controller)
      rig.controller.connect(acknowledger: acknowledger)
      let device = Recorder { _ in acknowledger.request(0x37) }
      rig.ports.map(device, at: 0x600..<0x604)
      rig.registers.map(device, at: Place.registers..<Place.registers + 8)
      let rounds = 20
      try rig.run { code in
        code.move(.rbx, Place.registers)
        for _ in 0..<rounds {
          code.setInterrupts()
          code.noOperation()
          code.output(1, port: 0x600)
          code.clearInterrupts()
          code.store(2, .init(base: .rbx))
          code.noOperation()
          code.setInterrupts()
          code.dawdle()
        }
      }
      #expect(acknowledger.count >= rounds)
      #expect(rig.vectors == [UInt8](repeating: 0x37, count: acknowledger.count))
    }

    @Test(arguments: EngineUnderTest.available)
    func `an external interrupt wakes a processor whose state says that it halts`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine)
      let acknowledger = Acknowledger(rig.controller)
      rig.controller.connect(acknowledger: acknowledger)
      try rig.load { code in
        let again = code.placed()
        code.halt()
        code.jump(to: again)
      }
      for round in 1...5 {
        acknowledger.request(0x30)
        var state = try rig.state()
        state.enterLongMode(at: Place.code)
        state.rflags |= X86.Flags.interrupt
        state.activity = .halted
        try rig.setState(state)
        let run = rig.resume()
        #expect(rig.waitUntil(within: 3) { rig.vectors.count == round })
        rig.end()
        _ = try run.get()
      }
      #expect(acknowledger.count == 5)
    }

    // MARK: - Processors among themselves

    @Test(arguments: EngineUnderTest.available, [true, false])
    func `INIT and start-up start a processor`(_ engine: EngineUnderTest, byMessage: Bool) throws {
      let rig = try Rig(engine, processors: 2)
      try rig.write(
        [
          0xba, 0x04, 0x05,  // mov dx, 0x504
          0x66, 0xb8, 0x78, 0x56, 0x34, 0x12,  // mov eax, 0x12345678
          0x8c, 0xc8,  // mov ax, cs
          0x66, 0xef,  // out dx, eax
          0xba, 0x00, 0x05,  // mov dx, 0x500
          0x66, 0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
          0x66, 0xef,  // out dx, eax
          0xeb, 0xfe,  // jmp $
        ], at: 0x9000)
      let started = rig.resume(processor: 1)
      #expect(try started.poll(for: 5_000_000) == nil)
      if byMessage {
        rig.signal(0, .initialise, address: 0xfee0_1000)
        rig.signal(9, .startUp, address: 0xfee0_1000)
      } else {
        try rig.run { code in
          code.setAPIC(0xf0, 0x1ff)
          code.setAPIC(0x310, 1 << 24)
          code.setAPIC(0x300, 0x4500)
          code.setAPIC(0x300, 0x4609)
        }
      }
      let state = try started.get()
      #expect(rig.reports == [0x1234_0900])
      #expect(state.segments[X86.SegmentRegister.cs.rawValue].base == 0x9000)
    }

    @Test(arguments: EngineUnderTest.available)
    func `a processor interrupts others and itself`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine, processors: 2)
      let other = try rig.beginWaiting(.halted, processor: 1)
      try rig.run { code in
        code.setAPIC(0xf0, 0x1ff)
        code.setInterrupts()
        code.setAPIC(0x300, 0x4_4070)  // to itself
        code.dawdle()
        code.setAPIC(0x310, 1 << 24)
        code.setAPIC(0x300, 0x4071)
      }
      #expect(rig.waitUntil { rig.interrupts.count == 2 })
      rig.end(processor: 1)
      _ = try other.get()
      #expect(
        rig.interrupts == [.init(vector: 0x70), .init(vector: 0x71, processor: 1)])
    }

    /// SDM Vol. 3A §11.12.11 "SELF IPI Register".
    @Test(arguments: EngineUnderTest.available)
    func `in x2APIC mode a processor interrupts itself by one register`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      let handler = try rig.load(at: Place.code + 0x1000) { code in
        code.move(.rsi, 0x99)
        code.move(.rcx, 0x80b)
        code.move(.rax, 0)
        code.move(.rdx, 0)
        code.writeMSR()
        code.returnFromInterrupt()
      }
      try rig.setGate(0x99, handler: handler.origin)
      let state = try rig.run { code in
        func write(_ index: UInt32, _ value: UInt32) {
          code.move(.rcx, UInt64(index))
          code.move(.rax, UInt64(value))
          code.move(.rdx, 0)
          code.writeMSR()
        }
        write(X86.MSR.apicBase, 0xfee0_0d00)
        write(0x80f, 0x1ff)
        code.setInterrupts()
        write(0x83f, 0x99)
        code.dawdle()
      }
      #expect(state[.rsi] == 0x99)
    }

    // MARK: - Priorities and shadows

    @Test(arguments: EngineUnderTest.available)
    func `waiting interrupts come in the order of their priority`(_ engine: EngineUnderTest) throws
    {
      let rig = try Rig(engine)
      let latch = Recorder { _ in for vector in [0x41, 0xa2, 0x53] { rig.signal(UInt8(vector)) } }
      rig.ports.map(latch, at: 0x600..<0x604)
      try rig.run { code in
        code.setAPIC(0xf0, 0x1ff)
        code.output(0, port: 0x600)
        code.setInterrupts()
        code.dawdle()
        code.clearInterrupts()
      }
      #expect(rig.vectors == [0xa2, 0x53, 0x41])
    }

    @Test(arguments: EngineUnderTest.available, [true, false])
    func `the task priority holds interrupts back`(_ engine: EngineUnderTest, byCR8: Bool) throws {
      let rig = try Rig(engine)
      let latch = Recorder { _ in for vector in [0x41, 0x9f, 0xa0] { rig.signal(UInt8(vector)) } }
      rig.ports.map(latch, at: 0x600..<0x604)
      let state = try rig.run { code in
        func setPriority(_ priority: UInt32) {
          if byCR8 {
            code.move(.rcx, UInt64(priority))
            code.setTaskPriority(.rcx)
          } else {
            code.setAPIC(0x80, priority << 4)
          }
        }
        code.setAPIC(0xf0, 0x1ff)
        setPriority(9)
        code.setInterrupts()
        code.output(0, port: 0x600)
        code.dawdle()
        code.output(1, port: Rig.Port.report)
        code.move(.rbx, Place.apic)
        code.load(.rsi, .init(base: .rbx, displacement: 0x80), .doubleword)
        setPriority(0)
        code.dawdle()
      }
      #expect(rig.vectors == [0xa0, 0x9f, 0x41])
      #expect(state[.rsi] == 0x90)
    }

    @Test(arguments: EngineUnderTest.available)
    func `an interrupt waits until the instruction after STI has ended`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      let latch = Recorder { _ in rig.signal(0x41) }
      rig.ports.map(latch, at: 0x600..<0x604)
      try rig.catchReturnAddress(of: 0x41)
      let code = try rig.load { code in
        code.setAPIC(0xf0, 0x1ff)
        code.output(0, port: 0x600)
        code.setInterrupts()
        code.noOperation()
        let again = code.placed()
        code.jump(to: again)
      }
      let state = try rig.run(from: code.origin)
      let sti = try #require(code.bytes.firstIndex(of: 0xfb).map { code.origin + UInt64($0) })
      #expect(state[.rsi] == sti + 2)
    }

    @Test(arguments: EngineUnderTest.available, [true, false])
    func `a shadow in the state holds an interrupt back for one instruction`(
      _ engine: EngineUnderTest, hasShadow: Bool
    ) throws {
      let rig = try Rig(engine)
      try rig.catchReturnAddress(of: 0x41)
      try rig.run { code in code.setAPIC(0xf0, 0x1ff) }
      rig.signal(0x41)
      try rig.load { code in
        code.noOperation()
        let again = code.placed()
        code.jump(to: again)
      }
      var state = try rig.state()
      let apic = state.apic
      state.enterLongMode(at: Place.code)
      state.apic = apic
      state.rflags |= X86.Flags.interrupt
      state.events.interruptShadow = hasShadow
      try rig.setState(state)
      #expect(try rig.resume().get()[.rsi] == Place.code + (hasShadow ? 1 : 0))
    }
  }

  /// Hears of ended interrupts.
  private final class Listener: EndOfInterruptListener {
    private let vectors = Mutex<[UInt8]>([])
    var heard: [UInt8] { vectors.withLock { $0 } }
    func endOfInterrupt(vector: UInt8) { vectors.withLock { $0.append(vector) } }
  }

  /// Stands in for the 8259 pair: holds LINT0 until its request is acknowledged.
  private final class Acknowledger: InterruptAcknowledger {
    private let pins: any InterruptController
    private let state = Mutex((vector: UInt8(0), count: 0))

    init(_ pins: any InterruptController) { self.pins = pins }

    var count: Int { state.withLock { $0.count } }

    func request(_ vector: UInt8) {
      state.withLock { $0.vector = vector }
      pins.set(ProcessorPin.lint0, asserted: true)
    }

    func acknowledge() -> UInt8 {
      let vector = state.withLock { state in
        state.count += 1
        return state.vector
      }
      pins.set(ProcessorPin.lint0, asserted: false)
      return vector
    }
  }
}

// MARK: - What such tests need of a rig

/// What a processor does while it waits for interrupts.
enum Waiting: String, CaseIterable, CustomTestStringConvertible {
  case halted, spinning
  var testDescription: String { rawValue }
}

extension Rig {
  var controller: any ProcessorInterrupts {
    guard let controller = partition.interruptController else {
      preconditionFailure("every engine of a PC has local APICs")
    }
    return controller
  }

  func signal(
    _ vector: UInt8, _ mode: EngineContract.InterruptTests.Mode = .fixed, isLevel: Bool = false,
    address: UInt64 = 0xfee0_0000
  ) {
    let level: UInt32 = isLevel ? 1 << 15 | 1 << 14 : 0
    controller.signal(
      MSI(address: address, data: UInt32(vector) | mode.rawValue << 8 | level), from: 0)
  }

  /// Lets a processor wait for interrupts, with its APIC on and a logical ID of its own, until `end`.
  func beginWaiting(
    _ waiting: Waiting, processor: Int = 0, interrupts: Bool = true,
    prepare: (inout Assembler) -> Void = { _ in }
  ) throws -> Answer<X86.State> {
    let before = reports.count
    let program = try load(at: Place.code + 0x1_0000 + UInt64(processor) * 0x1000) { code in
      code.setAPIC(0xf0, 0x1ff)
      code.setAPIC(0xd0, 1 << UInt32(24 + processor))
      prepare(&code)
      code.output(UInt32(processor), port: Port.report)
      if interrupts { code.setInterrupts() }
      let again = code.placed()
      if waiting == .halted { code.halt() } else { code.pause() }
      code.jump(to: again)
    }
    let run = begin(processor: processor, from: program.origin)
    try #require(waitUntil { reports.count > before }, "the processor did not get ready")
    return run
  }

  /// Lets the handler of a vector end the run, with the address that it interrupted in RSI.
  func catchReturnAddress(of vector: UInt8) throws {
    let handler = try load(at: Place.code + 0x2_0000) { code in
      code.load(.rsi, .init(base: .rsp))
      code.end()
    }
    try setGate(vector, handler: handler.origin)
  }
}
