import ArchitectureX86
import Execution
import Memory
import Testing

/// Which pages were written: those that were, and no others.
extension EngineContract {
  @Suite struct DirtyPageTests {
    private typealias Place = Rig.Place

    /// The pages from `data` on that were written since the last time.
    private func collect(_ rig: Rig) throws -> Set<UInt64> {
      let tracker = try #require(rig.partition.dirtyPages)
      return Set(
        tracker.collect().map { rig.memory.address(ofPage: $0).rawValue }.filter {
          $0 >= Place.data
        })
    }

    private func store(_ pages: [UInt64], _ rig: Rig) throws {
      try rig.run { code in
        for page in pages {
          code.move(.rbx, page)
          code.increment(.init(base: .rbx, displacement: 8))
        }
      }
    }

    @Test(arguments: EngineUnderTest.available)
    func `pages that the guest or a device writes are reported once`(_ engine: EngineUnderTest)
      throws
    {
      let rig = try Rig(engine)
      let pages = (0..<8).map { Place.data + $0 * 0x3000 }
      try store(pages, rig)
      let tracker = try #require(rig.partition.dirtyPages)
      tracker.start()
      // What was written before may be reported at the start.
      _ = try collect(rig)
      #expect(try collect(rig) == [])
      try store([pages[0], pages[3]], rig)
      try rig.write(1, at: pages[5])
      try rig.write([UInt8](repeating: 1, count: 0x1001), at: pages[6] + 0xfff)
      #expect(
        try collect(rig) == [pages[0], pages[3], pages[5], pages[6], pages[6] + 0x1000])
      #expect(try collect(rig) == [])
      for _ in 0..<3 {
        try store([pages[0], pages[1]], rig)
        #expect(try collect(rig) == [pages[0], pages[1]])
      }
      tracker.stop()
    }

    @Test(arguments: EngineUnderTest.available)
    func `reading marks nothing`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let tracker = try #require(rig.partition.dirtyPages)
      tracker.start()
      _ = try collect(rig)
      try rig.run { code in
        code.move(.rbx, Place.data)
        code.load(.rcx, .init(base: .rbx))
      }
      _ = try rig.read(Place.data + 0x5000)
      #expect(try collect(rig) == [])
      tracker.stop()
    }

    @Test(arguments: EngineUnderTest.available)
    func `tracking that was stopped starts again`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let tracker = try #require(rig.partition.dirtyPages)
      for round in 0..<3 {
        tracker.start()
        _ = try collect(rig)
        let page = Place.data + UInt64(round) * 0x1000
        try store([page], rig)
        #expect(try collect(rig) == [page])
        tracker.stop()
        try store([page], rig)
      }
    }

    /// A copy of memory that is brought up to date with the pages reported, while two processors write at random,
    /// is in the end what memory is: as in a migration.
    @Test(arguments: EngineUnderTest.available)
    func `a copy that follows the reports ends the same`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine, processors: 2)
      let pages: UInt64 = 256
      for processor in 0..<2 {
        try rig.load(at: Place.code + UInt64(processor) * 0x1000) { code in
          code.move(.rcx, engine == .software ? 300_000 : 3000)
          code.move(.rsi, UInt64(processor) * 77 + 1)
          let again = code.placed()
          code.multiply(.rsi, by: 1_103_515_245)
          code.compute(.add, .rsi, 12_345)
          // Bits 12 to 19 of the address: one of 256 pages; bit 3: the processor's own word.
          code.move(.rbx, .rsi)
          code.compute(.and, .rbx, 0xf_f000)
          code.compute(.add, .rbx, Int32(Place.data) + Int32(processor) * 8)
          code.compute(.add, .init(base: .rbx), .rsi)
          code.compute(.subtract, .rcx, 1)
          code.jump(if: .notZero, to: again)
          code.end(processor)
        }
      }
      let tracker = try #require(rig.partition.dirtyPages)
      tracker.start()
      var copy: [UInt64: [UInt8]] = [:]
      func follow(_ addresses: some Sequence<UInt64>) throws {
        for address in addresses {
          copy[address] = try rig.memory.bytes(at: GPA(address), count: 0x1000)
        }
      }
      try follow((0..<pages).map { Place.data + $0 << 12 })
      let runs = (0..<2).map { rig.begin(processor: $0, from: Place.code + UInt64($0) * 0x1000) }
      var rounds = 0
      while try !runs.allSatisfy({ try $0.poll(for: 500_000) != nil }) {
        try follow(collect(rig))
        rounds += 1
        try #require(rounds < 50_000)
      }
      try follow(collect(rig))
      for page in 0..<pages {
        let address = Place.data + page << 12
        #expect(try rig.memory.bytes(at: GPA(address), count: 0x1000) == copy[address])
      }
      #expect(try collect(rig) == [])
      tracker.stop()
    }
  }
}
