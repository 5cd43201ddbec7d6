import ArchitectureX86
import Board
import Execution
import Memory
import Synchronization
import Testing

/// Taking memory away from processors, and giving it back.
extension EngineContract {
  @Suite struct PermissionTests {
    private typealias Place = Rig.Place
    private static let page = Place.data + 0x1000

    private static var range: GPARange {
      get throws { try #require(GPARange(start: GPA(page), count: 0x1000)) }
    }

    @Test(arguments: EngineUnderTest.available)
    func `a page that may not be accessed is the bus's, and comes back`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      let device = Recorder()
      device.set(0xd0d0, at: 0)
      rig.registers.map(device, at: Self.page..<Self.page + 0x1000)
      try rig.write(0xa0a0, at: Self.page)
      let access = Assembler.Memory(base: .rbx)
      func readAndWrite() throws -> UInt64 {
        try rig.run { code in
          code.move(.rbx, Self.page)
          code.load(.rcx, access)
          code.store(0x11, access)
        }[.rcx]
      }
      #expect(try readAndWrite() == 0xa0a0)
      #expect(device.seen.isEmpty)
      try rig.write(0xa0a0, at: Self.page)
      try rig.partition.permit(.none, in: Self.range)
      #expect(try readAndWrite() == 0xd0d0)
      #expect(try rig.read(Self.page) == 0xa0a0)
      #expect(device.seen == [.read(0, .quadword, 0xd0d0), .write(0, .doubleword, 0x11)])
      try rig.partition.permit(.read, in: Self.range)
      #expect(try readAndWrite() == 0xa0a0)
      #expect(try rig.read(Self.page) == 0xa0a0)
      #expect(device.seen.count == 3)
      try rig.partition.permit(.full, in: Self.range)
      #expect(try readAndWrite() == 0xa0a0)
      #expect(try rig.read(Self.page) & 0xffff_ffff == 0x11)
      #expect(device.seen.count == 3)
    }

    @Test(arguments: EngineUnderTest.available)
    func `devices reach a page that processors may not access`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      try rig.partition.permit(.none, in: Self.range)
      try rig.write(0x1234, at: Self.page)
      #expect(try rig.read(Self.page) == 0x1234)
    }

    @Test(arguments: EngineUnderTest.available)
    func `a processor's own access takes effect at once`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let partition = rig.partition
      let device = Recorder()
      device.set(0xbeef, at: 0)
      rig.registers.map(device, at: Self.page..<Self.page + 0x1000)
      let failures = Mutex<[String]>([])
      let latch = Recorder { seen in
        do {
          try partition.permit(seen.value == 0 ? .none : .full, in: Self.range)
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
      rig.ports.map(latch, at: 0x600..<0x604)
      try rig.write(0xa0a0, at: Self.page)
      let access = Assembler.Memory(base: .rbx)
      let state = try rig.run { code in
        code.move(.rbx, Self.page)
        code.load(.rsi, access)
        code.output(0, port: 0x600)
        code.load(.rdi, access)
        code.output(1, port: 0x600)
        code.load(.rcx, access)
      }
      #expect(failures.withLock { $0 } == [])
      #expect([state[.rsi], state[.rdi], state[.rcx]] == [0xa0a0, 0xbeef, 0xa0a0])
    }

    @Test(arguments: EngineUnderTest.available)
    func `code runs on from a page that was taken away and given back`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      for (value, permission) in [(1, MemoryAccess.full), (2, .read), (3, .full)] {
        try rig.partition.permit(.none, in: Self.range)
        try rig.load(at: Self.page) {
          $0.move(.rsi, UInt64(value))
          $0.ret()
        }
        try rig.partition.permit(permission, in: Self.range)
        let state = try rig.run { code in
          code.move(.rdi, Self.page)
          code.call(.rdi)
        }
        #expect(state[.rsi] == UInt64(value))
      }
    }

    /// Two processors add to words of a page whose access changes all the time. Each addition reaches memory or
    /// the bus, and both hold one sum.
    @Test(arguments: EngineUnderTest.available)
    func `no access is lost while a page comes and goes under running processors`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine, processors: 2)
      let memory = rig.memory
      // Behind the page: a device that keeps its registers in the same memory.
      let device = MemoryBehind(memory, at: Self.page)
      rig.registers.map(device, at: Self.page..<Self.page + 0x1000)
      let count: UInt64 = engine == .software ? 200_000 : 4000
      for processor in 0..<2 {
        let own = Assembler.Memory(base: .rbx, displacement: Int32(processor) * 64)
        try rig.load(at: Place.code + UInt64(processor) * 0x1000) { code in
          code.move(.rbx, Self.page)
          code.move(.rcx, count)
          code.move(.rsi, 1)
          let again = code.placed()
          code.load(.rdi, own)
          code.compute(.add, .rdi, 1)
          code.store(.rdi, own)
          code.compute(.subtract, .rcx, 1)
          code.jump(if: .notZero, to: again)
          code.end(processor)
        }
      }
      let runs = (0..<2).map { rig.begin(processor: $0, from: Place.code + UInt64($0) * 0x1000) }
      var changes = 0
      var isDone = false
      while !isDone {
        for access in [MemoryAccess.none, .read, .full] {
          try rig.partition.permit(access, in: Self.range)
          changes += 1
          isDone = try runs.allSatisfy { try $0.poll(for: 100_000) != nil }
        }
        try #require(changes < 100_000)
      }
      for processor in 0..<2 { #expect(try rig.read(Self.page + UInt64(processor) * 64) == count) }
      #expect(changes >= 3)
    }

    @Test(arguments: EngineUnderTest.available)
    func `what is not whole pages of memory is refused`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      for (start, count) in [
        (Self.page + 1, 0x1000), (Self.page, 0x800), (Place.memoryEnd, 0x1000),
        (Place.memoryEnd - 0x1000, 0x2000),
      ] as [(UInt64, UInt64)] {
        let range = try #require(GPARange(start: GPA(start), count: count))
        #expect(throws: EngineError.self) { try rig.partition.permit(.none, in: range) }
      }
    }
  }

  /// A device whose registers are what lies in memory at their address.
  private final class MemoryBehind: IODevice {
    private let memory: GuestMemory
    private let base: UInt64

    init(_ memory: GuestMemory, at base: UInt64) {
      self.memory = memory
      self.base = base
    }

    func read(_ access: Access) throws(IOError) -> UInt64 {
      do { return try memory.load(UInt64.self, at: GPA(base + access.offset)) } catch {
        throw .absent
      }
    }

    func write(_ value: UInt64, _ access: Access) throws(IOError) {
      do { try memory.store(value, at: GPA(base + access.offset)) } catch { throw .absent }
    }
  }
}
