import Memory
import Synchronization
import Testing

@Suite struct GuestMemoryDiscardTests {
  private func range(_ start: UInt64, _ count: UInt64) -> GPARange {
    GPARange(start: GPA(start), count: count)!
  }

  private func full() throws -> GuestMemory {
    let memory = try GuestMemory([
      .init(start: GPA(0), count: 0x4000),
      .init(start: GPA(0x4000), count: 0x1000, kind: .rom),
      .init(start: GPA(0x5000), count: 0x2000),
      .init(start: GPA(0x10000), count: 0x1000),
    ])
    for region in memory.regions {
      try memory.install(.init(repeating: 0xaa, count: Int(region.count)), at: region.start)
    }
    return memory
  }

  private func zeroes(_ memory: GuestMemory) throws -> [UInt64] {
    try memory.regions.flatMap { region in
      try stride(from: region.start.rawValue, to: region.start.rawValue + region.count, by: 0x1000)
        .filter { try memory.bytes(at: GPA($0), count: 0x1000).allSatisfy { $0 == 0 } }
    }
  }

  @Test func `pages that are given back read as zero, and the others as before`() throws {
    let memory = try full()
    #expect(memory.discard(range(0x1000, 0x2000)) == 0x2000)
    #expect(try zeroes(memory) == [0x1000, 0x2000])
    try memory.store(7 as UInt8, at: GPA(0x1000))
    #expect(try memory.bytes(at: GPA(0x1000), count: 2) == [7, 0])
  }

  @Test func `parts of pages, ROM and holes are left alone`() throws {
    let memory = try full()
    #expect(memory.discard(range(0x801, 0x1000)) == 0)
    #expect(memory.discard(range(0x4000, 0x1000)) == 0)
    #expect(memory.discard(range(0x8000, 0x1000)) == 0)
    #expect(memory.discard(range(0x1000, 0)) == 0)
    #expect(try zeroes(memory) == [])
    #expect(memory.discard(range(0x2fff, 0x3000)) == 0x1000, "no whole page behind the ROM")
    #expect(try zeroes(memory) == [0x3000])
    #expect(memory.discard(range(1, .max)) == 0x6000)
    #expect(try zeroes(memory) == [0x1000, 0x2000, 0x3000, 0x5000, 0x6000, 0x10000])
  }

  @Test func `pages that are given back were written, for whoever tracks or watches them`() throws {
    final class Watcher: MemoryWatcher {
      let pages = Mutex<[Int]>([])
      func watchedLinesChanged(page: Int) { pages.withLock { $0.append(page) } }
    }
    let memory = try full()
    let watcher = Watcher()
    memory.watchedLines.watcher = watcher
    _ = memory.watchedLines.watch(1, page: 2)
    _ = memory.watchedLines.watch(1, page: 3)
    memory.dirtyPages.isEnabled = true
    memory.discard(range(0x1000, 0x2000))
    #expect(memory.dirtyPages.collect() == [1, 2])
    #expect(watcher.pages.withLock { $0 } == [2])
  }

  @Test func `a device gives back only what it could write`() throws {
    let memory = try full()
    let gate = Gate()
    let dma = DMA(memory, gate: gate)
    #expect(throws: MemoryFault.self) { try dma.discard(range(0, 0x1000)) }
    gate.isOpen = true
    #expect(throws: MemoryFault.self) { try dma.discard(range(0x3000, 0x2000)) }
    #expect(try zeroes(memory) == [])
    #expect(try dma.discard(range(0x3000, 0x1000)) == 0x1000)
    #expect(try zeroes(memory) == [0x3000])
  }
}
