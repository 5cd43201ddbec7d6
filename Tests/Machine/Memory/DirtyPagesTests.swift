import HostOS
import Memory
import Testing

@Suite struct DirtyPagesTests {
  @Test func `pages are recorded only while tracking is on, and are clean once collected`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 130 * 0x1000)])
    let pages = memory.dirtyPages
    try memory.write([1], at: GPA(0x5000))
    #expect(pages.collect().isEmpty)
    pages.isEnabled = true
    for page in [0, 63, 64, 127, 129] { try memory.write([1], at: GPA(UInt64(page) * 0x1000)) }
    try memory.write([1], at: GPA(0))
    #expect(pages.isDirty(64))
    #expect(!pages.isDirty(65))
    #expect(pages.collect() == [0, 63, 64, 127, 129])
    #expect(pages.collect().isEmpty)
    #expect(!pages.isDirty(64))
  }

  @Test func `every page of a long write is recorded`() throws {
    let memory = try GuestMemory([
      .init(start: GPA(0), count: 0x4000), .init(start: GPA(0x4000), count: 0x4000),
    ])
    memory.dirtyPages.isEnabled = true
    try memory.fill(1, at: GPA(0xfff), count: 0x4002)
    #expect(memory.dirtyPages.collect() == [0, 1, 2, 3, 4, 5])
    try memory.fill(1, at: GPA(0x6000), count: 0x1000)
    #expect(memory.dirtyPages.collect() == [6])
  }

  @Test func `numbers of pages that do not exist are ignored`() throws {
    let pages = try GuestMemory([.init(start: GPA(0), count: 0x1000)]).dirtyPages
    pages.isEnabled = true
    for page in [-1, 1, 63, 64, .max, .min] {
      pages.mark(page)
      #expect(!pages.isDirty(page))
    }
    #expect(pages.collect().isEmpty)
  }

  /// The last write of each thread to a page is in a collection that comes after it: a copy of the page
  /// made then holds what was written last, whichever thread collects when.
  @Test func `a copy kept up by collections ends up equal to the memory`() throws {
    let size = 0x2_0000
    let memory = try GuestMemory([.init(start: GPA(0), count: UInt64(size))])
    memory.dirtyPages.isEnabled = true
    let writers = try (0..<3).map { writer in
      try Thread(name: "writer \(writer)") {
        for round in 0..<20_000 {
          let offset = (round &* 7919 &+ writer &* 104_729) % (size / 8) * 8
          try? memory.store(UInt64(round) << 8 | UInt64(writer), at: GPA(UInt64(offset)))
        }
      }
    }
    var copy = [UInt8](repeating: 0, count: size)
    func update() throws {
      for page in memory.dirtyPages.collect() {
        let bytes = try memory.bytes(at: memory.address(ofPage: page), count: 0x1000)
        copy.replaceSubrange(page * 0x1000..<(page + 1) * 0x1000, with: bytes)
      }
    }
    for _ in 0..<200 { try update() }
    for writer in writers { writer.join() }
    try update()
    #expect(try copy == memory.bytes(at: GPA(0), count: size))
  }
}
