import ArchitectureX86
import Board
import Execution
import HostOS
import Synchronization
import Testing

/// `kick` makes `run` return: soon, always, and never without a reason.
extension EngineContract {
  @Suite struct KickTests {
    private typealias Place = Rig.Place

    /// What a guest may be at when it is kicked.
    enum Occupation: String, CaseIterable, CustomTestStringConvertible {
      case spinning, halted, onPorts
      var testDescription: String { rawValue }
    }

    private func rig(_ engine: EngineUnderTest, _ occupation: Occupation) throws -> Rig {
      let rig = try Rig(engine)
      rig.ports.map(Counter(), at: 0x100..<0x104)
      try rig.load { code in
        code.move(.rdx, 0x100)
        let again = code.placed()
        switch occupation {
        case .spinning: code.increment(.init(base: .rbx))
        case .halted: code.halt()
        case .onPorts: code.output(.byte)
        }
        code.jump(to: again)
      }
      var state = try rig.state()
      state.enterLongMode(at: Place.code)
      state[.rbx] = Place.data
      try rig.setState(state)
      return rig
    }

    @Test(arguments: EngineUnderTest.available, Occupation.allCases)
    func `a kick before run makes it return at once`(
      _ engine: EngineUnderTest, _ occupation: Occupation
    ) throws {
      let rig = try rig(engine, occupation)
      for _ in 0..<50 {
        rig.partition.kick(0)
        #expect(try rig.processors[0].perform { vp, buses in try vp.run(&buses) } == .kicked)
      }
    }

    @Test(arguments: EngineUnderTest.available, Occupation.allCases)
    func `a kick ends a run`(_ engine: EngineUnderTest, _ occupation: Occupation) throws {
      let rig = try rig(engine, occupation)
      for round in 0..<20 {
        let run = rig.processors[0].begin { vp, buses in try vp.run(&buses) }
        #expect(try run.poll(for: UInt64(round) * 200_000) == nil, "run returned unasked")
        rig.partition.kick(0)
        #expect(try run.get(within: 5) == .kicked)
      }
    }

    @Test(arguments: EngineUnderTest.available, Occupation.allCases)
    func `run does not return by itself after a kick was served`(
      _ engine: EngineUnderTest, _ occupation: Occupation
    ) throws {
      let rig = try rig(engine, occupation)
      for _ in 0..<3 { rig.partition.kick(0) }
      #expect(try rig.processors[0].perform { vp, buses in try vp.run(&buses) } == .kicked)
      let run = rig.processors[0].begin { vp, buses in try vp.run(&buses) }
      #expect(try run.poll(for: 30_000_000) == nil)
      rig.partition.kick(0)
      #expect(try run.get(within: 5) == .kicked)
    }

    @Test(arguments: EngineUnderTest.available, Occupation.allCases)
    func `each kick makes run return once`(
      _ engine: EngineUnderTest, _ occupation: Occupation
    ) throws {
      let rig = try rig(engine, occupation)
      let runner = Runner(rig)
      for kick in 1...1000 {
        rig.partition.kick(0)
        try #require(runner.waitForReturns(kick), "kick \(kick) was lost")
      }
      #expect(try runner.finish() == 1001)
    }

    /// Every thread waits now and then for a return after its kick, so that a lost kick is missed sooner or later,
    /// at the latest by whoever is last.
    @Test(arguments: EngineUnderTest.available, Occupation.allCases)
    func `of a storm of kicks none is lost`(
      _ engine: EngineUnderTest, _ occupation: Occupation
    ) throws {
      let rig = try rig(engine, occupation)
      let runner = Runner(rig)
      let lost = Atomic<Int>(0)
      let storm = StormOfThreads(4) {
        for kick in 1...2500 {
          let returns = runner.returns
          rig.partition.kick(0)
          if kick % 50 == 0, !runner.waitForReturns(returns + 1) {
            lost.add(1, ordering: .relaxed)
            return
          }
        }
      }
      storm.join()
      #expect(lost.load(ordering: .relaxed) == 0)
      #expect(try runner.finish() <= 10_001)
    }
  }

  /// Runs a processor over and over, and counts how often it comes back.
  private final class Runner: Sendable {
    private let counts = Counts()
    private let rig: Rig
    private let answer: Answer<Void>

    private final class Counts: Sendable {
      let returns = Atomic<Int>(0)
      let isOver = Atomic<Bool>(false)
    }

    init(_ rig: Rig) {
      self.rig = rig
      let counts = counts
      answer = rig.processors[0].begin { vp, buses in
        while !counts.isOver.load(ordering: .acquiring) {
          let exit = try vp.run(&buses)
          guard exit == .kicked else { throw UnexpectedEnd(description: "\(exit)") }
          counts.returns.add(1, ordering: .releasing)
        }
      }
    }

    var returns: Int { counts.returns.load(ordering: .acquiring) }

    func waitForReturns(_ count: Int) -> Bool {
      let deadline = HostClock.now.advanced(by: 5_000_000_000)
      while returns < count {
        guard HostClock.now < deadline else { return false }
        Thread.sleep(until: HostClock.now.advanced(by: 10_000))
      }
      return true
    }

    /// Ends it with a last kick; answers how often it came back.
    func finish() throws -> Int {
      counts.isOver.store(true, ordering: .releasing)
      rig.partition.kick(0)
      try answer.get(within: 5)
      return returns
    }
  }

  /// Threads that all do the same at the same time.
  private struct StormOfThreads {
    private let threads: [HostOS.Thread]

    init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
      threads = (0..<count).compactMap { try? Thread(name: "storm \($0)", body) }
    }

    func join() { for thread in threads { thread.join() } }
  }
}
