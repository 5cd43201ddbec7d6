import Disks
import Kit
import Memory
import Testing

/// Images that are damaged, or made to do harm: refused or read, and never more than that.
struct QCOW2DamageTests {
  static func original(_ chance: inout Chance) throws -> [UInt8] {
    var options = QCOW2ModelTests.options(&chance)
    options.size = min(options.size, 1 << 20)
    let file = MemoryFile()
    let image = try QCOW2Image.create(options, in: file)
    let disk = ModelDisk(image, file, content: [UInt8](repeating: 0, count: Int(options.size)))
    for _ in 0..<25 {
      _ = try disk.step(&chance, maximum: min(disk.content.count, 4 * options.clusterSize + 4096))
    }
    try disk.image.flush()
    return file.bytes
  }

  static func damage(_ bytes: inout [UInt8], _ chance: inout Chance) {
    func place() -> Int {
      // Tables lie near the beginning.
      let limit = chance.number(below: 3) == 0 ? bytes.count : min(bytes.count, 6000)
      return Int(chance.number(below: UInt64(max(limit, 1))))
    }
    for _ in 0..<1 + chance.number(below: 12) {
      guard !bytes.isEmpty else { return }
      switch chance.number(below: 6) {
      case 0: bytes[place()] ^= 1 << UInt8(chance.number(below: 8))
      case 1: bytes[place()] = UInt8(truncatingIfNeeded: chance.next())
      case 2:
        // A table entry that points anywhere, maybe back to the tables.
        let at = place() / 8 * 8
        let value =
          chance.number(below: UInt64(bytes.count / 512 + 2)) * 512 | (chance.next() & 3) << 62
        for index in 0..<8 where at + index < bytes.count {
          bytes[at + index] = UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * index))
        }
      case 3:
        // A header field.
        let at = Int(chance.number(below: 28)) * 4
        let value = UInt32(truncatingIfNeeded: chance.value())
        for index in 0..<4 where at + index < bytes.count {
          bytes[at + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index))
        }
      case 4:
        if chance.number(below: 4) == 0 {
          bytes.removeLast(Int(chance.number(below: UInt64(bytes.count))))
        }
      default:
        let from = place() / 512 * 512
        let to = place() / 512 * 512
        for index in 0..<512 where max(from, to) + index < bytes.count {
          bytes[to + index] = bytes[from + index]
        }
      }
    }
  }

  /// Everything that can be done to an image whose bytes are anything.
  static func handle(_ bytes: [UInt8], _ chance: inout Chance) {
    _ = try? QCOW2Image.check(MemoryFile(bytes))
    if let image = try? QCOW2Image.open(MemoryFile(bytes), readOnly: true, backing: nil) {
      _ = try? image.info
      use(image, &chance)
    }
    let file = MemoryFile(bytes)
    if let image = try? QCOW2Image.open(file, readOnly: false, backing: nil) {
      use(image, &chance)
      for _ in 0..<10 where image.size >= 512 {
        let start = chance.number(below: image.size / 512) * 512
        let count = min(image.size - start, 512 * (1 + chance.number(below: 64)))
        let buffer = HostBuffer(count: Int(count))
        switch chance.number(below: 4) {
        case 0: try? image.discard(start..<start + count)
        case 1: try? image.writeZeroes(start..<start + count, mayUnmap: true)
        default: try? image.write(buffer.buffers, at: start)
        }
      }
      try? image.flush()
      _ = try? image.check()
    }
    _ = try? QCOW2Image.check(MemoryFile(bytes), repair: .leaks)
    let repaired = MemoryFile(bytes)
    if let report = try? QCOW2Image.check(repaired, repair: .all), report.isClean {
      #expect((try? QCOW2Image.check(repaired))?.isClean == true)
    }
  }

  static func use(_ image: QCOW2Image, _ chance: inout Chance) {
    var position: UInt64 = 0
    for _ in 0..<40 where position < image.size {
      guard let extent = try? image.extent(at: position) else { break }
      position = extent.range.upperBound
    }
    for _ in 0..<10 where image.size >= 512 {
      let start = chance.number(below: image.size / 512) * 512
      let count = min(image.size - start, 512 * (1 + chance.number(below: 200)))
      let buffer = HostBuffer(count: Int(count))
      try? image.read(into: buffer.buffers, at: start)
      _ = try? image.readAtOnce(into: buffer.buffers, at: start)
    }
  }

  @Test(arguments: Effort.scripts(150))
  func `a damaged image is refused or read`(seed: UInt64) throws {
    var chance = Chance(seed: seed &* 77)
    var bytes = try Self.original(&chance)
    Self.damage(&bytes, &chance)
    Self.handle(bytes, &chance)
  }

  /// A header of ours with one 32- or 64-bit field changed.
  static func refusal(_ change: (inout [UInt8]) -> Void) throws -> String? {
    let file = MemoryFile()
    var options = QCOW2Options(size: 1 << 20)
    options.backingName = "base"
    _ = try QCOW2Image.create(options, in: file)
    var bytes = file.bytes
    change(&bytes)
    do throws(ImageError) {
      _ = try QCOW2Image.open(MemoryFile(bytes), readOnly: false, backing: nil)
      return nil
    } catch { return error.description }
  }

  @Test func `what is not supported, or would take too much, is refused with a sentence`() throws {
    func refused(_ word: String, at offset: Int, _ new: [UInt8]) throws {
      let sentence = try Self.refusal { $0.replaceSubrange(offset..<offset + new.count, with: new) }
      #expect(sentence?.contains(word) == true, "\(sentence ?? "opened")")
    }
    try refused("four letters", at: 0, [0])
    try refused("version 4", at: 4, [0, 0, 0, 4])
    try refused("first cluster", at: 8, [0, 0, 0, 0, 0, 2, 0, 0])
    try refused("too long", at: 16, [0, 0, 4, 0])
    try refused("2^40", at: 20, [0, 0, 0, 40])
    try refused("2^8 ", at: 20, [0, 0, 0, 8])
    try refused("L1 table is too small", at: 24, [0, 0, 0x40])
    try refused("AES", at: 32, [0, 0, 0, 1])
    try refused("LUKS", at: 32, [0, 0, 0, 2])
    try refused("L1 table is too large", at: 36, [0xff, 0xff, 0xff, 0xff])
    try refused("impossible place", at: 40, [0, 0, 0, 0, 0, 3, 0, 1])
    try refused("refcount table is too large", at: 56, [0xff, 0, 0, 0])
    try refused("no refcount table", at: 56, [0, 0, 0, 0])
    try refused("too many snapshots", at: 60, [0xff, 0xff, 0xff, 0xff])
    try refused("corrupt", at: 72, [0, 0, 0, 0, 0, 0, 0, 2])
    try refused("another file", at: 72, [0, 0, 0, 0, 0, 0, 0, 4])
    try refused("bit 40", at: 72, [0, 0, 1, 0, 0, 0, 0, 0])
    try refused("2^7", at: 96, [0, 0, 0, 7])
    try refused("impossible length", at: 100, [0xff, 0xff, 0xff, 0xff])
    try refused("does not know", at: 104, [9])
    #expect(try Self.refusal { _ in } == nil)
  }

  @Test func `data mapped over metadata are not written, and the image is marked`() throws {
    let file = MemoryFile()
    let image = try QCOW2Image.create(QCOW2Options(size: 1 << 20), in: file)
    try ModelDisk.write([UInt8](repeating: 1, count: 65536), to: image, at: 0)
    try image.flush()
    var bytes = file.bytes
    // The L1 table is the fourth cluster; its first entry's table follows.
    let table =
      bytes[3 << 16..<(3 << 16) + 8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } & ~(1 << 63)
    bytes.replaceSubrange(Int(table)..<Int(table) + 8, with: [0x80, 0, 0, 0, 0, 3, 0, 0])
    let damaged = MemoryFile(bytes)
    let reopened = try QCOW2Image.open(damaged, readOnly: false, backing: nil)
    #expect(throws: DiskError.self) {
      try ModelDisk.write([UInt8](repeating: 9, count: 512), to: reopened, at: 0)
    }
    #expect(Array(damaged.bytes[1 << 16..<bytes.count]) == Array(bytes[1 << 16..<bytes.count]))
    #expect(damaged.bytes[79] == 2)
    #expect(throws: ImageError.self) { try QCOW2Image.open(damaged, readOnly: false, backing: nil) }
    #expect(try QCOW2Image.open(damaged, readOnly: true, backing: nil).size == 1 << 20)
    #expect(try QCOW2Image.check(damaged, repair: .all).isClean)
    #expect(try !QCOW2Image.open(damaged, readOnly: false, backing: nil).info.isCorrupt)
  }

  @Test func `an image that was not closed is repaired when it is opened`() throws {
    let file = MemoryFile()
    let image = try QCOW2Image.create(QCOW2Options(size: 1 << 20), in: file)
    try ModelDisk.write([UInt8](repeating: 1, count: 200_000), to: image, at: 0)
    try image.flush()
    var bytes = file.bytes
    // Lazy refcounts: none was written, and the image says so (qcow2 "Dirty bit").
    bytes[79] |= 1
    for index in 2 << 16..<3 << 16 { bytes[index] = 0 }
    let dirty = MemoryFile(bytes)
    #expect(try !QCOW2Image.check(dirty).isClean)
    let reopened = try QCOW2Image.open(dirty, readOnly: false, backing: nil)
    #expect(try !reopened.info.isDirty)
    #expect(try reopened.check().isClean)
    #expect(try ModelDisk.bytes(reopened, 0..<200_000) == [UInt8](repeating: 1, count: 200_000))
  }

  @Test func `a chain that never ends is refused`() throws {
    final class Circle: BackingResolver {
      let file: MemoryFile
      init(_ file: MemoryFile) { self.file = file }
      func open(_ reference: BackingReference) throws(ImageError) -> any DiskImage {
        try QCOW2Image.open(file, readOnly: true, depth: reference.depth, backing: self)
      }
    }
    let file = MemoryFile()
    var options = QCOW2Options(size: 1 << 20)
    options.backingName = "itself"
    _ = try QCOW2Image.create(options, in: file)
    #expect(throws: ImageError.self) {
      try QCOW2Image.open(file, readOnly: true, backing: Circle(file))
    }
  }
}
