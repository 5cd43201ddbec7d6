import Foundation
import HostOS
import Memory
import Synchronization
import Testing

/// Guest memory that shows a file, whatever becomes of the file.
@Suite struct FileMemoryTests {
  /// A file in a place of its own, which goes with the test.
  private final class Scratch {
    let path = "\(FileManager.default.temporaryDirectory.path())/roost-mapped-\(UUID())"

    init(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(filePath: path)) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    var bytes: [UInt8] { get throws { [UInt8](try Data(contentsOf: URL(filePath: path))) } }
    func cut(to size: UInt64) throws { try StorageFile.open(path, .writable).resize(to: size) }
  }

  private static let start = GPA(0x4000)
  private static let count: UInt64 = 0x8000

  private func scratch() throws -> Scratch {
    try Scratch([UInt8](repeating: 7, count: Int(Self.count)))
  }

  /// A page of RAM, a hole, and the file.
  private func memory(
    _ scratch: Scratch, _ kind: FileMapping.Kind
  ) throws -> (GuestMemory, FileMapping) {
    let mapping = try FileMapping(
      StorageFile.open(scratch.path, kind == .shared ? .writable : []), kind, count: Self.count)
    let memory = try GuestMemory(
      [
        .init(start: GPA(0), count: 0x1000),
        .init(start: Self.start, count: Self.count, kind: kind == .readOnly ? .rom : .ram),
      ], files: [Self.start: mapping])
    return (memory, mapping)
  }

  @Test func `what the guest writes is in the file`() throws {
    let scratch = try scratch()
    let (memory, mapping) = try memory(scratch, .shared)
    #expect(memory.range(of: mapping) == GPARange(start: Self.start, count: Self.count))
    #expect(try memory.load(UInt8.self, at: GPA(0x4001)) == 7)
    try memory.store(0x0403_0201 as UInt32, at: GPA(0x5000))
    try memory.write([9, 9], at: GPA(0xbffe))
    let bytes = try scratch.bytes
    #expect(bytes[0x1000..<0x1005] == [1, 2, 3, 4, 7] && bytes.suffix(3) == [7, 9, 9])
    #expect(mapping.isIntact)
  }

  @Test func `an overlay keeps writes in memory, and the file as it was`() throws {
    let scratch = try scratch()
    let (memory, _) = try memory(scratch, .overlaid)
    try memory.write([1, 2, 3], at: GPA(0x5000))
    #expect(try memory.bytes(at: GPA(0x5000), count: 4) == [1, 2, 3, 7])
    #expect(try scratch.bytes.allSatisfy { $0 == 7 })
  }

  @Test func `a file that is read alone is ROM`() throws {
    let scratch = try scratch()
    let (memory, _) = try memory(scratch, .readOnly)
    #expect(throws: MemoryFault.readOnly(GPA(0x5000))) { try memory.write([1], at: GPA(0x5000)) }
    #expect(try memory.load(UInt8.self, at: GPA(0x5000)) == 7)
  }

  @Test func `a restored or started machine leaves what is a file's alone`() throws {
    let scratch = try scratch()
    let (memory, _) = try memory(scratch, .shared)
    #expect(throws: MemoryFault.readOnly(GPA(0x4000))) {
      try memory.install([1, 2], at: GPA(0x4000))
    }
    try memory.install([1, 2], at: GPA(0x10))
    let all = try #require(GPARange(start: GPA(0), count: 0xc000))
    #expect(memory.discard(all) == 0x1000)
    #expect(try scratch.bytes.allSatisfy { $0 == 7 })
  }

  @Test(arguments: [FileMapping.Kind.shared, .readOnly, .overlaid])
  func `where the file was cut off there are zeroes, and the mapping is torn`(
    kind: FileMapping.Kind
  ) throws {
    let scratch = try scratch()
    let (memory, mapping) = try memory(scratch, kind)
    #expect(try memory.load(UInt64.self, at: GPA(0x9000)) == 0x0707_0707_0707_0707)
    try scratch.cut(to: 0x2000)
    #expect(try memory.load(UInt64.self, at: GPA(0x5ff8)) == 0x0707_0707_0707_0707)
    #expect(mapping.isIntact)
    #expect(try memory.load(UInt64.self, at: GPA(0x9000)) == 0)
    #expect(!mapping.isIntact)
    #expect(try memory.bytes(at: GPA(0x5ffe), count: 4) == [7, 7, 0, 0])
    if kind != .readOnly {
      try memory.store(5 as UInt64, at: GPA(0xa000))
      try memory.write([6, 6], at: GPA(0x5fff))
      #expect(try memory.load(UInt64.self, at: GPA(0xa000)) == 5)
      #expect(try memory.bytes(at: GPA(0x5ffe), count: 4) == [7, 6, 6, 0])
    }
    #expect(try scratch.bytes.count == 0x2000)
    // Nothing comes back when the file grows again.
    try scratch.cut(to: Self.count)
    #expect(!mapping.isIntact)
    #expect(mapping.mend() == false)
  }

  @Test func `a file that is cut off again loses more`() throws {
    let scratch = try scratch()
    let (memory, _) = try memory(scratch, .shared)
    try scratch.cut(to: 0x6000)
    try memory.store(1 as UInt64, at: GPA(0xb000))
    try scratch.cut(to: 0x1000)
    #expect(try memory.load(UInt64.self, at: GPA(0x6000)) == 0)
    #expect(try memory.load(UInt64.self, at: GPA(0xb000)) == 1)
    #expect(try memory.load(UInt8.self, at: GPA(0x4fff)) == 7)
  }

  @Test func `who gets an error instead of a signal mends the mapping itself`() throws {
    let scratch = try scratch()
    let (memory, mapping) = try memory(scratch, .shared)
    #expect(!memory.mendFiles())
    try scratch.cut(to: 0x3000)
    #expect(memory.mendFiles() && !mapping.isIntact)
    #expect(!memory.mendFiles())
    #expect(try memory.load(UInt64.self, at: GPA(0x7000)) == 0)
  }

  @Test func `threads that meet the cut at once all go on`() async throws {
    let scratch = try scratch()
    let (memory, mapping) = try memory(scratch, .shared)
    try scratch.cut(to: 0)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for thread in 0..<8 as Range<UInt64> {
        group.addTask {
          for page in 0..<8 as Range<UInt64> {
            try memory.store(thread + 1, at: GPA(0x4000 + page << 12 + thread * 8))
          }
        }
      }
      try await group.waitForAll()
    }
    for page in 0..<8 as Range<UInt64> {
      for thread in 0..<8 as Range<UInt64> {
        #expect(
          try memory.load(UInt64.self, at: GPA(0x4000 + page << 12 + thread * 8)) == thread + 1)
      }
    }
    #expect(!mapping.isIntact)
  }

  @Test func `mappings end with their memory, and there are more than can be at once`() throws {
    let scratch = try scratch()
    for _ in 0..<200 { _ = try memory(scratch, .shared) }
    let file = try StorageFile.open(scratch.path, .writable)
    var mappings: [FileMapping] = []
    let error = #expect(throws: HostError.self) {
      for _ in 0..<100 { mappings.append(try FileMapping(file, .shared, count: 0x1000)) }
    }
    #expect(error?.description.contains("map") == true)
    #expect(mappings.count > 20)
  }
}
