import ArchitectureX86
import Board
import HostOS
import Monitor
import Synchronization
import Testing
import Work

/// Time: the processor's counter, its timer, and a clock that may stand.
extension EngineContract {
  @Suite struct TimeTests {
    private typealias Place = Rig.Place

    /// Notes what the guest read from its counter, and the moment at which it says so.
    private final class Notary: IODevice {
      private let clock: any VMClock
      private let notes = Mutex<[(ticks: UInt64, moment: VMInstant)]>([])

      init(_ clock: any VMClock) { self.clock = clock }

      var all: [(ticks: UInt64, moment: VMInstant)] { notes.withLock { $0 } }

      func read(_ access: Access) -> UInt64 { 0 }
      func write(_ value: UInt64, _ access: Access) {
        let now = clock.now
        notes.withLock { $0.append((value, now)) }
      }
    }

    /// A rig whose guest says on 600h what its counter says; each run does so once.
    private func rig(_ engine: EngineUnderTest) throws -> (Rig, Notary) {
      let rig = try Rig(engine)
      let notary = Notary(rig.clock)
      rig.registers.map(notary, at: Place.registers..<Place.registers + 8)
      return (rig, notary)
    }

    private func tell(_ code: inout Assembler) {
      code.move(.rbx, Place.registers)
      code.readTimeStampCounter()
      code.move(.rcx, .rdx)
      code.rotateLeft(.rcx, by: 32)
      code.compute(.or, .rcx, .rax)
      code.store(.rcx, .init(base: .rbx))
    }

    /// A program that tells it once in each run.
    private func loadTeller(_ rig: Rig) throws {
      try rig.load { code in
        let again = code.placed()
        tell(&code)
        code.output(0, port: Rig.Port.end)
        code.dawdle()
        code.jump(to: again)
      }
    }

    @Test(arguments: EngineUnderTest.available)
    func `the time-stamp counter ticks as the model says`(_ engine: EngineUnderTest) throws {
      let (rig, notary) = try rig(engine)
      try loadTeller(rig)
      try rig.run(from: Place.code)
      Thread.sleep(until: HostClock.now.advanced(by: 200_000_000))
      _ = try rig.resume().get()
      let notes = notary.all
      try #require(notes.count == 2)
      let ticks = Double(notes[1].ticks &- notes[0].ticks)
      let seconds = Double(notes[1].moment.nanoseconds(since: notes[0].moment)) / 1e9
      let expected = Double(EngineUnderTest.model.tscFrequency)
      #expect(abs(ticks / seconds / expected - 1) < 0.01)
    }

    @Test(arguments: EngineUnderTest.available)
    func `the time-stamp counter stands still while the clock does`(_ engine: EngineUnderTest)
      throws
    {
      let (rig, notary) = try rig(engine)
      try loadTeller(rig)
      try rig.run(from: Place.code)
      for _ in 0..<3 {
        rig.stopClock()
        Thread.sleep(until: HostClock.now.advanced(by: 50_000_000))
        rig.clock.start()
        _ = try rig.resume().get()
      }
      let notes = notary.all
      try #require(notes.count == 4)
      withKnownIssue("an emulated kernel mode reads the host's counter", isIntermittent: true) {
        for (earlier, later) in zip(notes, notes.dropFirst()) {
          let ticks = later.ticks &- earlier.ticks
          let nanoseconds = later.moment.nanoseconds(since: earlier.moment)
          let limit = UInt64(Double(nanoseconds + 10_000_000) * EngineUnderTest.ticksPerNanosecond)
          #expect(ticks < limit, "it ran on while the clock stood")
        }
      } when: {
        engine.emulatesKernelMode
      }
    }

    /// Two processors read their counters in turn; none reads less than the other just did.
    @Test(arguments: EngineUnderTest.available)
    func `processors agree on the time`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine, processors: 2, timePasses: false)
      let turn = Assembler.Memory(base: .rbx)
      let last = Assembler.Memory(base: .rbx, displacement: 0x40)
      let errors = Assembler.Memory(base: .rbx, displacement: 0x80)
      for processor in 0..<2 {
        try rig.load(at: Place.code + UInt64(processor) * 0x1000) { code in
          code.move(.rbx, Place.data)
          code.move(.rsi, 500)
          code.move(.rdi, UInt64(processor))
          let again = code.placed()
          code.pause()
          code.compute(.compare, .rdi, turn)
          code.jump(if: .notZero, to: again)
          code.readTimeStampCounter()
          code.rotateLeft(.rdx, by: 32)
          code.compute(.or, .rax, .rdx)
          let isRight = code.label()
          code.compute(.compare, .rax, last)
          code.jump(if: .notBelow, to: isRight)
          code.increment(errors)
          code.place(isRight)
          code.store(.rax, last)
          code.store(processor == 0 ? 1 : 0, turn, .quadword)
          code.compute(.subtract, .rsi, 1)
          code.jump(if: .notZero, to: again)
          code.end(processor)
        }
        // While time stands: a state's counter holds for the moment at which it is set.
        var state = try rig.state(of: processor)
        state.enterLongMode(at: Place.code + UInt64(processor) * 0x1000, of: processor)
        try rig.setState(state, of: processor)
      }
      rig.clock.start()
      for run in (0..<2).map({ rig.resume(processor: $0) }) { _ = try run.get() }
      #expect(try rig.read(Place.data + 0x80) == 0)
      #expect(try rig.read(Place.data + 0x40) > 0)
    }

    // MARK: - The APIC's timer: SDM Vol. 3A §11.5.4

    @Test(arguments: EngineUnderTest.available)
    func `the APIC timer rings once`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(.halted) { code in
        code.setAPIC(0x3e0, 0b1011)  // divided by 1
        code.setAPIC(0x320, 0x50)
        code.setAPIC(0x380, 2_000_000)
      }
      #expect(rig.waitUntil { !rig.vectors.isEmpty })
      Thread.sleep(until: HostClock.now.advanced(by: 20_000_000))
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == [0x50])
    }

    @Test(arguments: EngineUnderTest.available, Waiting.allCases)
    func `the APIC timer rings again and again`(_ engine: EngineUnderTest, _ waiting: Waiting)
      throws
    {
      let rig = try Rig(engine)
      let start = rig.clock.now
      let run = try rig.beginWaiting(waiting) { code in
        code.setAPIC(0x3e0, 0b1011)
        code.setAPIC(0x320, 0x2_0051)
        code.setAPIC(0x380, 5_000_000)
      }
      #expect(rig.waitUntil { rig.vectors.count >= 5 })
      let nanoseconds = rig.clock.now.nanoseconds(since: start)
      rig.end()
      _ = try run.get()
      #expect(rig.vectors.allSatisfy { $0 == 0x51 })
      #expect(nanoseconds >= 20_000_000)
    }

    @Test(arguments: EngineUnderTest.available)
    func `the APIC timer rings at a time-stamp`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let start = rig.clock.now
      let run = try rig.beginWaiting(.halted) { code in
        code.setAPIC(0x320, 0x4_0052)
        code.readTimeStampCounter()
        code.rotateLeft(.rdx, by: 32)
        code.compute(.or, .rax, .rdx)
        code.compute(.add, .rax, Int32(EngineUnderTest.model.tscFrequency / 100))
        code.move(.rdx, .rax)
        code.rotateLeft(.rdx, by: 32)
        code.move(.rcx, UInt64(X86.MSR.tscDeadline))
        code.writeMSR()
      }
      #expect(rig.waitUntil { !rig.vectors.isEmpty })
      let nanoseconds = rig.clock.now.nanoseconds(since: start)
      rig.end()
      _ = try run.get()
      #expect(rig.vectors == [0x52])
      #expect(nanoseconds >= 10_000_000)
    }

    /// What the timer would have done while its machine rested it does afterwards: the state says that it counts.
    @Test(arguments: EngineUnderTest.available, [false, true])
    func `the APIC timer that runs out at rest rings in whoever takes the state over`(
      _ engine: EngineUnderTest, isPeriodic: Bool
    ) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(.halted) { code in
        code.setAPIC(0x3e0, 0b1011)
        code.setAPIC(0x320, isPeriodic ? 0x2_0054 : 0x54)
        code.setAPIC(0x380, 60_000_000)
      }
      rig.end()
      _ = try run.get()
      rig.stopClock()
      try #require(rig.vectors.isEmpty, "this host is too slow")
      Thread.sleep(until: HostClock.now.advanced(by: 100_000_000))
      let state = try rig.state()
      #expect(state.apic?.timerIsCounting == true)
      try rig.setState(state)
      #expect(try rig.state().apic?.timerIsCounting == true)
      rig.clock.start()
      let rest = rig.resume()
      #expect(rig.waitUntil { rig.vectors.count >= (isPeriodic ? 3 : 1) })
      rig.end()
      _ = try rest.get()
      #expect(rig.vectors.allSatisfy { $0 == 0x54 })
      #expect(isPeriodic || rig.vectors.count == 1)
    }

    @Test(arguments: EngineUnderTest.available)
    func `a deadline that a new state has not does not ring`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(.halted) { code in
        code.setAPIC(0x320, 0x4_0055)
        code.readTimeStampCounter()
        code.rotateLeft(.rdx, by: 32)
        code.compute(.or, .rax, .rdx)
        code.compute(.add, .rax, Int32(EngineUnderTest.model.tscFrequency / 20))
        code.move(.rdx, .rax)
        code.rotateLeft(.rdx, by: 32)
        code.move(.rcx, UInt64(X86.MSR.tscDeadline))
        code.writeMSR()
      }
      rig.end()
      var state = try run.get()
      try #require(rig.vectors.isEmpty, "this host is too slow")
      #expect(state.apic?.tscDeadline != 0)
      state.apic?.tscDeadline = 0
      try rig.setState(state)
      #expect(try rig.state().apic?.tscDeadline == 0)
      let rest = rig.resume()
      #expect(try rest.poll(for: 120_000_000) == nil)
      rig.end()
      _ = try rest.get()
      #expect(rig.vectors == [])
    }

    @Test(arguments: EngineUnderTest.available)
    func `the APIC timer stands still while the clock does`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let run = try rig.beginWaiting(.halted) { code in
        code.setAPIC(0x3e0, 0b1011)
        code.setAPIC(0x320, 0x53)
        code.setAPIC(0x380, 100_000_000)
      }
      rig.end()
      _ = try run.get()
      rig.stopClock()
      Thread.sleep(until: HostClock.now.advanced(by: 150_000_000))
      rig.clock.start()
      let start = rig.clock.now
      let rest = rig.resume()
      #expect(rig.waitUntil { !rig.vectors.isEmpty })
      let nanoseconds = rig.clock.now.nanoseconds(since: start)
      withKnownIssue("the kernel's timer runs on, and rings early", isIntermittent: true) {
        #expect(nanoseconds > 40_000_000)
      } when: {
        engine != .software
      }
      rig.end()
      _ = try rest.get()
      #expect(rig.vectors == [0x53])
    }
  }
}

extension Rig {
  /// Holds time, as a machine does whose processors rest.
  fileprivate func stopClock() {
    let done = HostOS.Event()
    let clock = clock
    loop.post {
      clock.stop()
      done.signal()
    }
    done.wait()
  }
}
