import ArchitectureX86
import Board
import Execution
import Testing

/// The A20 gate, of engines that have one.
extension EngineContract {
  @Suite struct AddressLine20Tests {
    private typealias Place = Rig.Place
    /// Where bit 20 of an address is clear, for the code too.
    private static let low = Place.data
    private static let high = Place.data | 1 << 20
    private static let code: UInt64 = 0xb_0000

    /// Port 600h moves the gate: 0 closes it.
    private func makeRig(_ engine: EngineUnderTest, processors: Int = 1) throws -> Rig? {
      let rig = try Rig(engine, processors: processors)
      guard let gate = rig.partition.addressLine20 else { return nil }
      rig.ports.map(Recorder { gate.set(open: $0.value != 0) }, at: 0x600..<0x604)
      try rig.write(0x1111, at: Self.low)
      try rig.write(0x2222, at: Self.high)
      return rig
    }

    @Test func `only the software engine has it`() throws {
      for engine in EngineUnderTest.available {
        #expect(try Rig(engine).partition.addressLine20 == nil || engine == .software)
      }
      #expect(try Rig(.software).partition.addressLine20 != nil)
    }

    @Test(arguments: EngineUnderTest.available)
    func `a processor's own move takes effect at once`(_ engine: EngineUnderTest) throws {
      guard let rig = try makeRig(engine) else { return }
      let access = Assembler.Memory(base: .rbx)
      try rig.load(at: Self.code) { code in
        code.move(.rbx, Self.high)
        code.load(.rsi, access)
        code.output(0, port: 0x600)
        code.load(.rdi, access)
        code.store(0x33, access)
        code.output(1, port: 0x600)
        code.load(.rcx, access)
        code.end(0)
      }
      let state = try rig.run(from: Self.code)
      #expect([state[.rsi], state[.rdi], state[.rcx]] == [0x2222, 0x1111, 0x2222])
      #expect(try rig.read(Self.low) == 0x33)
    }

    @Test(arguments: EngineUnderTest.available)
    func `the instruction behind the one that closes the gate is fetched where it then lies`(
      _ engine: EngineUnderTest
    ) throws {
      guard let rig = try makeRig(engine) else { return }
      // The same program twice, but for what it says at its end.
      for (address, answer) in [(Self.code | 1 << 20, 1), (Self.code, 2)] as [(UInt64, Int)] {
        try rig.load(at: address) { code in
          code.output(0, port: 0x600)
          code.move(.rsi, UInt64(answer))
          code.output(1, port: 0x600)
          code.move(.rdi, UInt64(answer))
          code.end(0)
        }
      }
      let state = try rig.run(from: Self.code | 1 << 20)
      #expect([state[.rsi], state[.rdi]] == [2, 1])
    }

    @Test(arguments: EngineUnderTest.available)
    func `other processors hear of it while they run`(_ engine: EngineUnderTest) throws {
      guard let rig = try makeRig(engine, processors: 2) else { return }
      let gate = try #require(rig.partition.addressLine20)
      let access = Assembler.Memory(base: .rbx)
      for processor in 0..<2 {
        try rig.load(at: Self.code + UInt64(processor) * 0x1000) { code in
          code.move(.rbx, Self.high)
          for value in [0x1111, 0x2222] as [Int32] {
            let again = code.placed()
            code.load(.rsi, access)
            code.compute(.compare, .rsi, value)
            code.jump(if: .notZero, to: again)
            code.move(.rdx, UInt64(Rig.Port.report))
            code.move(.rax, UInt64(value))
            code.output(.doubleword)
          }
          code.end(processor)
        }
      }
      let runs = (0..<2).map { rig.begin(processor: $0, from: Self.code + UInt64($0) * 0x1000) }
      gate.set(open: false)
      #expect(rig.waitUntil { rig.reports.count == 2 })
      gate.set(open: true)
      for run in runs { _ = try run.get() }
      #expect(rig.reports == [0x1111, 0x1111, 0x2222, 0x2222])
    }

    @Test(arguments: EngineUnderTest.available)
    func `a gate that was closed before the processors ran is closed`(_ engine: EngineUnderTest)
      throws
    {
      guard let rig = try makeRig(engine) else { return }
      try #require(rig.partition.addressLine20).set(open: false)
      try rig.load(at: Self.code) { code in
        code.move(.rbx, Self.high)
        code.load(.rsi, Assembler.Memory(base: .rbx))
        code.end(0)
      }
      #expect(try rig.run(from: Self.code)[.rsi] == 0x1111)
    }
  }
}
