import Disks
import Foundation
import HostOS
import Kit
import Memory
import Testing

/// Images go back and forth between Roost and qemu-img.
@Suite(.enabled(if: QEMUImages.isThere, QEMUImages.absence))
struct QCOW2ExchangeTests {
  /// A disk with runs of data, zeroes and noise.
  static func content(_ size: Int, seed: UInt64 = 1) -> [UInt8] {
    var chance = Chance(seed: seed)
    var bytes = [UInt8](repeating: 0, count: size)
    var position = 0
    while position < size {
      let count = min(size - position, Int(chance.number(below: 200_000)) + 512)
      switch chance.number(below: 4) {
      case 0: break
      case 1:
        for index in position..<position + count {
          bytes[index] = UInt8(truncatingIfNeeded: chance.next())
        }
      default:
        let value = UInt8(truncatingIfNeeded: chance.next())
        for index in position..<position + count {
          bytes[index] = value &+ UInt8(truncatingIfNeeded: index >> 10)
        }
      }
      position += count
    }
    return bytes
  }

  @Test(arguments: [
    "compat=0.10", "compat=1.1", "cluster_size=512", "cluster_size=2M", "cluster_size=4k",
    "refcount_bits=1", "refcount_bits=2", "refcount_bits=4", "refcount_bits=8", "refcount_bits=32",
    "refcount_bits=64", "lazy_refcounts=on", "extended_l2=on,cluster_size=128k",
    "extended_l2=on,cluster_size=16k", "compression_type=zstd", "preallocation=metadata",
    "preallocation=full", "preallocation=falloc", "preallocation=metadata,extended_l2=on",
  ])
  func `what qemu-img makes is read, changed, and found whole`(options: String) throws {
    let images = try QEMUImages()
    var content = Self.content(3 << 20)
    try images.put(content, "disk")
    #expect(
      try images.run("convert", "-f", "raw", "-O", "qcow2", "-o", options, "disk", "a").code == 0)
    #expect(try ModelDisk.all(images.open("a")) == content)
    #expect(try QCOW2Image.check(images.file("a")).isClean)

    do {
      let image = try images.open("a", readOnly: false)
      var chance = Chance(seed: 7)
      for _ in 0..<60 {
        let start = Int(chance.number(below: 6000)) * 512
        let count = min(content.count - start, 512 * Int(1 + chance.number(below: 300)))
        switch chance.number(below: 4) {
        case 0:
          try image.writeZeroes(
            UInt64(start)..<UInt64(start + count), mayUnmap: chance.next() & 1 == 0)
          content.replaceSubrange(start..<start + count, with: [UInt8](repeating: 0, count: count))
        default:
          let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: chance.next()), count: count)
          try ModelDisk.write(bytes, to: image, at: start)
          content.replaceSubrange(start..<start + count, with: bytes)
        }
      }
      try image.flush()
    }
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(check.output)")
    #expect(try images.content("a") == content)
    #expect(try QCOW2Image.check(images.file("a")).isClean)
  }

  @Test(arguments: [
    "compression_type=zlib", "compression_type=zstd", "compression_type=zlib,cluster_size=4k",
    "compression_type=zstd,cluster_size=2M",
  ])
  func `compressed images of qemu-img are read and overwritten`(options: String) throws {
    let images = try QEMUImages()
    var content = Self.content(3 << 20, seed: 3)
    try images.put(content, "disk")
    #expect(
      try images.run("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, "disk", "a").code
        == 0)
    #expect(try ModelDisk.all(images.open("a")) == content)
    let image = try images.open("a", readOnly: false)
    for start in [0, 70_000 / 512 * 512, 1 << 20] {
      let bytes = [UInt8](repeating: 9, count: 5120)
      try ModelDisk.write(bytes, to: image, at: start)
      content.replaceSubrange(start..<start + 5120, with: bytes)
    }
    try image.flush()
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(check.output)")
    #expect(try images.content("a") == content)
  }

  @Test(arguments: Effort.scripts(12))
  func `a random life of ours is whole to qemu-img`(seed: UInt64) throws {
    let images = try QEMUImages()
    var chance = Chance(seed: seed &* 1000)
    let options = QCOW2ModelTests.options(&chance)
    let file = MemoryFile()
    let image = try QCOW2Image.create(options, in: file)
    let disk = ModelDisk(image, file, content: [UInt8](repeating: 0, count: Int(options.size)))
    for _ in 0..<100 {
      let wrong = try disk.step(
        &chance, maximum: min(disk.content.count, 4 * options.clusterSize + 4096))
      #expect(wrong == nil)
    }
    try disk.image.flush()
    try images.put(file.bytes, "a")
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(options): \(check.output)")
    #expect(try images.content("a") == disk.content)
  }

  @Test func `snapshots are listed and read, and survive what is written`() throws {
    let images = try QEMUImages()
    let first = Self.content(2 << 20, seed: 4)
    try images.put(first, "disk")
    #expect(try images.run("convert", "-f", "raw", "-O", "qcow2", "disk", "a").code == 0)
    #expect(try images.run("snapshot", "-c", "one", "a").code == 0)
    var now = first
    func scribble(_ value: UInt8) throws {
      let image = try images.open("a", readOnly: false)
      for start in stride(from: 0, to: now.count - 8192, by: 300 * 512) {
        try ModelDisk.write([UInt8](repeating: value, count: 8192), to: image, at: start)
        now.replaceSubrange(start..<start + 8192, with: [UInt8](repeating: value, count: 8192))
      }
      try image.discard(1 << 20..<(1 << 20) + 131072)
      now.replaceSubrange(1 << 20..<(1 << 20) + 131072, with: [UInt8](repeating: 0, count: 131072))
      try image.flush()
    }
    try scribble(1)
    let second = now
    #expect(try images.run("snapshot", "-c", "two", "a").code == 0)
    try scribble(2)
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(check.output)")
    #expect(try QCOW2Image.check(images.file("a")).isClean)
    let image = try images.open("a")
    #expect(try image.snapshots().map(\.name) == ["one", "two"])
    #expect(try ModelDisk.all(image) == now)
    #expect(try ModelDisk.all(images.open("a", snapshot: "one")) == first)
    #expect(try ModelDisk.all(images.open("a", snapshot: "2")) == second)
    #expect(try images.content("a") == now)
    #expect(throws: ImageError.self) { try images.open("a", snapshot: "three") }
  }

  @Test func `a chain five deep reads as qemu-img reads it`() throws {
    let images = try QEMUImages()
    try images.run("create", "-f", "qcow2", "0", "2M")
    for (index, size) in ["2M", "1M", "3M", "3M"].enumerated() {
      try images.run(
        "create", "-f", "qcow2", "-o", index % 2 == 0 ? "cluster_size=4k" : "cluster_size=64k",
        "-b",
        "\(index)", "-F", "qcow2", "\(index + 1)", size)
    }
    for level in 0..<5 {
      let image = try images.open("\(level)", readOnly: false)
      var chance = Chance(seed: UInt64(level))
      for _ in 0..<10 {
        let start = Int(chance.number(below: image.size / 512 - 20)) * 512
        try ModelDisk.write([UInt8](repeating: UInt8(level + 1), count: 5120), to: image, at: start)
      }
      if level > 0 { try image.writeZeroes(300_032..<420_864, mayUnmap: true) }
      try image.flush()
    }
    let content = try images.content("4")
    #expect(try ModelDisk.all(images.open("4")) == content)

    // The top is committed into the one beneath, which grows to its size.
    do {
      let top = try images.open("4", readOnly: false)
      try top.commit(into: images.open("3", readOnly: false))
      #expect(try top.extent(at: 0) == DiskExtent(0..<(3 << 20), .absent))
    }
    #expect(try images.content("4") == content)
    #expect(try images.content("3") == content)
    for level in 0..<5 { #expect(try images.run("check", "\(level)").code == 0) }

    // And moved over the lowest, keeping what it shows.
    do {
      let top = try images.open("4", readOnly: false)
      try top.rebase(to: "0", format: "qcow2", showing: images.open("0"))
    }
    #expect(try images.content("4") == content)
    #expect(try images.run("check", "4").code == 0)
    #expect(try images.run("info", "4").output.contains("backing file: 0"))
    do {
      let top = try images.open("4", readOnly: false)
      try top.rebase(to: nil, format: nil, showing: nil)
    }
    #expect(try images.content("4") == content)
    #expect(try !images.run("info", "4").output.contains("backing file"))
  }

  @Test func `what we compress is read by qemu-img`() throws {
    for type in [QCOW2Compression.zlib, .zstd] {
      let images = try QEMUImages()
      let content = Self.content(3 << 20, seed: 5)
      var options = QCOW2Options(size: UInt64(content.count))
      options.compression = type
      let image = try QCOW2Image.create(options, in: images.file("a", [.writable, .new]))
      let buffer = HostBuffer(count: content.count)
      buffer.bytes.copyBytes(from: content)
      try image.writeCompressed(buffer.buffers, at: 0)
      try image.flush()
      #expect(try image.extent(at: 0).isCompressed || image.extent(at: 1 << 20).isCompressed)
      #expect(try images.content("a") == content)
      let check = try images.run("check", "a")
      #expect(check.code == 0, "\(check.output)")
    }
  }

  @Test func `a resized image is whole, and its new part reads as zeroes`() throws {
    for (clusterSize, version) in [(512, 3), (65536, 3), (4096, 2)] {
      let images = try QEMUImages()
      var options = QCOW2Options(size: 100_352)
      options.clusterSize = clusterSize
      options.version = UInt32(version)
      let image = try QCOW2Image.create(options, in: images.file("a", [.writable, .new]))
      var content = Self.content(100_352)
      try ModelDisk.write(content, to: image, at: 0)
      for size in [200_704, 3_000_320, 1024, 20_000_768, 300_032] {
        try image.resize(to: UInt64(size), mayShrink: true)
        if size < content.count {
          content.removeLast(content.count - size)
        } else {
          content += [UInt8](repeating: 0, count: size - content.count)
        }
        try ModelDisk.write([7, 8] + [UInt8](repeating: 1, count: 510), to: image, at: size - 512)
        content.replaceSubrange(
          size - 512..<size, with: [7, 8] + [UInt8](repeating: 1, count: 510))
        try image.flush()
        #expect(try ModelDisk.all(image) == content)
        let check = try images.run("check", "a")
        #expect(check.code == 0, "\(clusterSize) \(size): \(check.output)")
        #expect(try images.content("a") == content)
      }
      #expect(throws: ImageError.self) { try image.resize(to: 512, mayShrink: false) }
    }
  }

  @Test func `tables grow as far as they must`() throws {
    let images = try QEMUImages()
    var options = QCOW2Options(size: 6 << 20)
    options.clusterSize = 512
    options.refcountBits = 64
    let image = try QCOW2Image.create(options, in: images.file("a", [.writable, .new]))
    var content = Self.content(6 << 20, seed: 8)
    try ModelDisk.write(content, to: image, at: 0)
    try image.flush()
    // 64 reference counts a block: no L1 table of this size fits between two blocks.
    try image.resize(to: 256 << 20, mayShrink: false)
    try ModelDisk.write([UInt8](repeating: 3, count: 512), to: image, at: (256 << 20) - 512)
    try image.flush()
    content += [UInt8](repeating: 0, count: 250 << 20)
    content.replaceSubrange(
      content.count - 512..<content.count, with: [UInt8](repeating: 3, count: 512))
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(check.output)")
    #expect(try image.check().isClean)
    #expect(try images.content("a") == content)
  }

  @Test func `bitmaps are counted until the image is written, and vouch for nothing then`() throws {
    let images = try QEMUImages()
    try images.put(Self.content(1 << 20), "disk")
    #expect(try images.run("convert", "-f", "raw", "-O", "qcow2", "disk", "a").code == 0)
    #expect(try images.run("bitmap", "--add", "a", "changes").code == 0)
    #expect(try images.open("a").info.hasBitmaps)
    #expect(try QCOW2Image.check(images.file("a")).isClean)
    do {
      let image = try images.open("a", readOnly: false)
      try ModelDisk.write([UInt8](repeating: 3, count: 512), to: image, at: 0)
      try image.flush()
    }
    // What only the bitmaps used is leaked now: qemu-img says so with 3.
    let report = try QCOW2Image.check(images.file("a"))
    #expect(report.corruptions == 0 && report.leaks > 0)
    #expect(try images.run("check", "a").code == 3)
    #expect(try QCOW2Image.check(images.file("a"), repair: .leaks).isClean)
    #expect(try images.run("check", "a").code == 0)
  }

  @Test func `a check counts as qemu-img does`() throws {
    let images = try QEMUImages()
    try images.put(Self.content(4 << 20), "disk")
    #expect(try images.run("convert", "-f", "raw", "-O", "qcow2", "disk", "a").code == 0)
    let report = try QCOW2Image.check(images.file("a"))
    let theirs = try images.run("check", "--output=json", "a").output
    func number(_ key: String) -> UInt64? {
      theirs.split(separator: "\n").first { $0.contains("\"\(key)\"") }.flatMap {
        UInt64($0.filter(\.isNumber))
      }
    }
    #expect(report.totalClusters == number("total-clusters"))
    #expect(report.allocatedClusters == number("allocated-clusters"))
    #expect(report.imageEnd == number("image-end-offset"))
    #expect(report.fragmentedClusters == number("fragmented-clusters") ?? 0)

    // The same damage is the same to both.
    var bytes = try images.bytes("a")
    for cluster in [5, 6, 7] { bytes[(2 << 16) + 2 * cluster + 1] ^= 2 }
    for cluster in [8, 9] { bytes[(2 << 16) + 2 * cluster + 1] = 0 }
    try images.put(bytes, "b")
    let damaged = try QCOW2Image.check(images.file("b"))
    let output = try images.run("check", "--output=json", "b").output
    #expect(damaged.leaks == 3 && output.contains("\"leaks\": 3"))
    #expect(output.contains("\"corruptions\": \(damaged.corruptions)"), "\(output)")
    let repaired = try QCOW2Image.check(images.file("b"), repair: .all)
    #expect(repaired.isClean && repaired.leaksFixed == 3)
    #expect(try images.run("check", "b").code == 0)
    #expect(try images.content("b") == Self.content(4 << 20))
  }

  @Test(arguments: [true, false])
  func `images are read and written past the page cache`(isCompressed: Bool) throws {
    let images = try QEMUImages()
    var content = Self.content(3 << 20, seed: 11)
    try images.put(content, "disk")
    #expect(
      try images.run(
        "convert", isCompressed ? "-c" : "-q", "-f", "raw", "-O", "qcow2", "disk", "a"
      ).code == 0)
    let file: StorageFile
    do throws(HostError) {
      file = try StorageFile.open(images.path("a"), [.writable, .direct])
    } catch {
      guard error.code == EINVAL else { throw error }
      try Test.cancel("the file system of the temporary folder has no direct input and output")
    }
    let image = try QCOW2Image.open(HostImageFile(file), readOnly: false, backing: nil)
    #expect(image.alignment == 1)
    #expect(try ModelDisk.all(image) == content)
    for start in stride(from: 0, to: content.count, by: 400 << 10) {
      // The second write lies on no border of the storage.
      for (start, count) in [(start, 8192), (start + 9000, 700)] {
        let bytes = [UInt8](repeating: UInt8(count & 0xff), count: count)
        try ModelDisk.write(bytes, to: image, at: start)
        content.replaceSubrange(start..<start + count, with: bytes)
      }
    }
    try image.discard(1 << 20..<(1 << 20) + 65536)
    content.replaceSubrange(1 << 20..<(1 << 20) + 65536, with: [UInt8](repeating: 0, count: 65536))
    try image.flush()
    #expect(try ModelDisk.all(image) == content)
    let check = try images.run("check", "a")
    #expect(check.code == 0, "\(check.output)")
    #expect(try images.content("a") == content)
  }
}
