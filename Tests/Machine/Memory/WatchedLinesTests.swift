import HostOS
import Memory
import Synchronization
import Testing

@Suite struct WatchedLinesTests {
  /// Notes the pages it is told of.
  private final class Watcher: MemoryWatcher {
    private let told = Mutex<[Int]>([])
    func watchedLinesChanged(page: Int) { told.withLock { $0.append(page) } }
    var pages: [Int] { told.withLock { $0 } }
  }

  private let memory: GuestMemory
  private let lines: WatchedLines
  private let watcher = Watcher()

  init() throws {
    memory = try GuestMemory([
      .init(start: GPA(0), count: 0x2000), .init(start: GPA(0x10_0000), count: 0x2000),
    ])
    lines = memory.watchedLines
    lines.watcher = watcher
  }

  @Test func `a mask has one bit for each line that a run of bytes touches`() {
    #expect(WatchedLines.lines(from: 0, through: 0) == 1)
    #expect(WatchedLines.lines(from: 63, through: 64) == 0b11)
    #expect(WatchedLines.lines(from: 64, through: 127) == 0b10)
    #expect(WatchedLines.lines(from: 0, through: 4095) == .max)
    #expect(WatchedLines.lines(from: 4095, through: 4095) == 1 << 63)
    for first in stride(from: 0, to: 4096, by: 61) {
      for last in stride(from: first, to: 4096, by: 97) {
        let plain = (first / 64...last / 64).reduce(0 as UInt64) { $0 | 1 << UInt64($1) }
        #expect(WatchedLines.lines(from: first, through: last) == plain)
      }
    }
  }

  @Test func `watching says whether the page had no watched line before`() {
    #expect(lines.watch(0b1, page: 1))
    #expect(!lines.watch(0b110, page: 1))
    #expect(lines.watched(page: 1) == 0b111)
    #expect(lines.watched(page: 0) == 0)
    #expect(lines.unwatch(page: 1))
    #expect(!lines.unwatch(page: 1))
    #expect(lines.watched(page: 1) == 0)
    #expect(watcher.pages.isEmpty)
  }

  @Test func `a write beside the watched lines is nobody's business`() throws {
    _ = lines.watch(WatchedLines.lines(from: 128, through: 255), page: 3)
    try memory.fill(1, at: GPA(0x10_1000), count: 128)
    try memory.fill(1, at: GPA(0x10_1000 + 256), count: 0x1000 - 256)
    try memory.fill(1, at: GPA(0x10_0000), count: 0x1000)
    try memory.fill(1, at: GPA(0), count: 0x2000)
    #expect(watcher.pages.isEmpty)
    #expect(lines.watched(page: 3) == 0b1100)
  }

  @Test func `a write that meets a watched line tells the watcher once and unwatches the page`()
    throws
  {
    let writes: [(GuestMemory) throws -> Void] = [
      { try $0.store(1 as UInt8, at: GPA(0x10_1080)) },
      { try $0.store(1 as UInt64, at: GPA(0x10_107c)) },
      { try $0.storeReleasing(1, at: GPA(0x10_10fe)) },
      { try $0.write([1], at: GPA(0x10_10ff)) },
      { try $0.install([1], at: GPA(0x10_10ff)) },
      { try $0.fill(1, at: GPA(0x10_0000), count: 0x2000) },
      {
        let ranges = [GPARange(start: GPA(0x10_1000), count: 129)].compactMap(\.self)
        try $0.buffers(ranges, writable: true).noteWritten()
      },
    ]
    for (index, write) in writes.enumerated() {
      _ = lines.watch(WatchedLines.lines(from: 128, through: 255) | 1 << 63, page: 3)
      try write(memory)
      #expect(watcher.pages == Array(repeating: 3, count: index + 1))
      #expect(lines.watched(page: 3) == 0)
      try write(memory)
      #expect(watcher.pages.count == index + 1)
    }
  }

  @Test func `the bytes are there when the watcher is told`() throws {
    final class Reader: MemoryWatcher {
      let memory: GuestMemory
      let seen = Mutex<UInt8?>(nil)
      init(_ memory: GuestMemory) { self.memory = memory }
      func watchedLinesChanged(page: Int) {
        let byte = try? memory.load(UInt8.self, at: memory.address(ofPage: page))
        seen.withLock { $0 = byte }
      }
    }
    let other = try GuestMemory([.init(start: GPA(0x1000), count: 0x1000)])
    let reader = Reader(other)
    other.watchedLines.watcher = reader
    _ = other.watchedLines.watch(1, page: 0)
    try other.write([0x90], at: GPA(0x1000))
    #expect(reader.seen.withLock { $0 } == 0x90)
    other.watchedLines.watcher = watcher
  }

  /// An engine's promise: of code read after its line was watched, either the watcher hears of a change
  /// that came later, or the change was in what was read.
  @Test func `no change is missed between watching a line and reading it`() throws {
    let rounds: UInt64 = 10_000
    let start = Atomic<UInt64>(0)
    let done = Atomic<UInt64>(0)
    let memory = memory
    let writer = try Thread(name: "writer") {
      for round in 1...rounds {
        spin { start.load(ordering: .acquiring) == round }
        try? memory.store(round, at: GPA(0))
        done.store(round, ordering: .releasing)
      }
    }
    var missed = 0
    for round in 1...rounds {
      let before = watcher.pages.count
      start.store(round, ordering: .releasing)
      // Until the writer has heard, so that both go at once; now a little sooner, now a little later.
      for _ in 0..<round % 64 { _ = lines.watched(page: 1) }
      _ = lines.watch(1, page: 0)
      let read = try memory.load(UInt64.self, at: GPA(0))
      spin { done.load(ordering: .acquiring) == round }
      if read != round, watcher.pages.count == before { missed += 1 }
      _ = lines.unwatch(page: 0)
    }
    writer.join()
    #expect(missed == 0)
  }

  @Test func `of several threads that write at once one tells the watcher`() throws {
    let rounds = 500
    let threads = 3
    let round = Atomic<Int>(0)
    let finished = Atomic<Int>(0)
    let memory = memory
    let writers = try (0..<threads).map { index in
      try Thread(name: "writer \(index)") {
        for turn in 1...rounds {
          spin { round.load(ordering: .acquiring) >= turn }
          try? memory.store(UInt8(1), at: GPA(UInt64(index)))
          finished.add(1, ordering: .releasing)
        }
      }
    }
    for turn in 1...rounds {
      _ = lines.watch(1, page: 0)
      round.store(turn, ordering: .releasing)
      spin { finished.load(ordering: .acquiring) == turn * threads }
    }
    for writer in writers { writer.join() }
    #expect(watcher.pages.count == rounds)
  }
}
