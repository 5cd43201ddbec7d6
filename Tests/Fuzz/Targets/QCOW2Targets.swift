import Disks
import Memory

extension FuzzTarget {
  /// The input is an image: it is opened, read, checked, repaired and written to.
  static let image = FuzzTarget("qcow2-image") { input in
    examine(input)
    change(input)
    for repair in [QCOW2Repair.leaks, .all] {
      _ = try? QCOW2Image.check(ImageBytes(input), repair: repair)
    }
  }

  private static func examine(_ input: [UInt8]) {
    let file = ImageBytes(input, isReadOnly: true)
    _ = try? QCOW2Image.check(file)
    guard let image = try? QCOW2Image.open(file, readOnly: true, backing: nil) else { return }
    read(image)
    for snapshot in (try? image.snapshots())?.prefix(4) ?? [] {
      if let old = try? QCOW2Image.open(
        file, readOnly: true, snapshot: snapshot.id, backing: nil)
      {
        read(old)
      }
    }
    require(file.bytes == input, "an image that is only read does not change")
  }

  private static let mostRead: UInt64 = 1 << 14
  private static let mostExtents = 64

  /// Reads at the beginning, in the middle and at the end, and goes over where things are.
  private static func read(_ image: QCOW2Image) {
    let count = min(image.size, mostRead)
    let buffer = HostBuffer(count: max(1, Int(count)))
    let buffers = buffer.buffers.slice(0..<Int(count))
    for offset in [0, image.size / 2, image.size - count] {
      _ = try? image.readAtOnce(into: buffers, at: offset)
      try? image.read(into: buffers, at: offset)
    }
    var offset: UInt64 = 0
    for _ in 0..<mostExtents {
      guard offset < image.size, let extent = try? image.extent(at: offset) else { break }
      require(extent.range.contains(offset), "an extent contains what was asked for")
      offset = extent.range.upperBound
    }
  }

  private static func change(_ input: [UInt8]) {
    guard let image = try? QCOW2Image.open(ImageBytes(input), readOnly: false, backing: nil) else {
      return
    }
    let cluster = UInt64(image.clusterSize)
    let buffer = HostBuffer(count: 600)
    for offset in [0, cluster - 300, image.size / 2, image.size &- 600] {
      try? image.write(buffer.buffers, at: offset)
      try? image.discard(
        offset..<offset.addingReportingOverflow(cluster).partialValue.clamped(offset))
    }
    try? image.writeZeroes(0..<min(image.size, 3 * cluster), mayUnmap: true)
    try? image.flush()
    try? image.resize(to: 4 * cluster, mayShrink: true)
    read(image)
    _ = try? image.check()
  }

  /// The input is a script for a sound image, which is compared with what it must contain.
  static let disk = FuzzTarget("qcow2-disk") { input in
    var script = Script(input)
    guard var life = DiskLife(&script) else { return }
    while !script.isAtEnd { life.step(&script) }
    life.end()
  }
}

extension UInt64 {
  fileprivate func clamped(_ lower: UInt64) -> UInt64 { Swift.max(self, lower) }
}

private struct DiskLife {
  private let file = ImageBytes()
  private var image: QCOW2Image
  private var content: [UInt8]
  /// The host has failed, once: what the disk contains is anybody's guess from then on.
  private var hasFailed = false

  private static let largest = 256 << 10

  init?(_ script: inout Script) {
    var options = QCOW2Options(size: UInt64(script.byte()) * 512)
    let shape = script.byte()
    options.clusterSize = shape & 16 == 0 ? 512 << Int(shape & 3) : 16384
    options.version = shape & 4 == 0 ? 3 : 2
    options.refcountBits = 1 << Int(script.byte() % 7)
    options.hasLazyRefcounts = shape & 8 != 0
    options.hasExtendedEntries = shape & 16 != 0
    options.compression = shape & 32 == 0 ? .zlib : .zstd
    options.preallocation = shape & 64 == 0 ? .off : .metadata
    guard let image = try? QCOW2Image.create(options, in: file) else { return nil }
    self.image = image
    content = [UInt8](repeating: 0, count: Int(options.size))
  }

  mutating func step(_ script: inout Script) {
    let operation = script.byte() & 15
    let start = min(Int(script.number(UInt16.self)) << 2, content.count)
    let count = min((Int(script.byte()) + 1) << Int(script.byte() & 7), content.count - start)
    let range = UInt64(start)..<UInt64(start + count)
    do {
      switch operation {
      case 0...3: try write(start..<start + count, script.byte())
      case 4: try compare(start..<start + count)
      case 5, 6: try discard(range)
      case 7, 8:
        try image.writeZeroes(range, mayUnmap: operation == 7)
        for index in range { content[Int(index)] = 0 }
      case 9: try image.flush()
      case 10: try reopen()
      case 11: try resize(Int(script.byte()) * 512)
      case 12: try writeCompressed(start, script.byte())
      case 13: _ = try image.extent(at: range.lowerBound)
      case 14: try check()
      default:
        if script.byte() > 0xc0 {
          hasFailed = true
          file.fail(after: Int(script.byte()))
        }
      }
    } catch {
      require(hasFailed || isTooMuch(error), "a sound disk does what it is asked: \(error)")
      hasFailed = true
    }
  }

  /// A count of one or two bits is soon full, a file of 4 MiB too, and a number may be out of range.
  private func isTooMuch(_ error: any Error) -> Bool {
    switch error {
    case DiskError.damaged, ImageError.disk(.damaged): false
    default: true
    }
  }

  private mutating func write(_ range: Range<Int>, _ seed: UInt8) throws {
    guard !range.isEmpty else { return }
    let buffer = HostBuffer(count: range.count)
    for index in 0..<range.count {
      buffer.bytes[index] = UInt8(truncatingIfNeeded: index / 256) &+ seed
    }
    try image.write(buffer.buffers, at: UInt64(range.lowerBound))
    content.replaceSubrange(range, with: buffer.bytes)
  }

  private mutating func writeCompressed(_ start: Int, _ seed: UInt8) throws {
    let size = image.clusterSize
    let start = start / size * size
    guard start + size <= content.count else { return }
    let buffer = HostBuffer(count: size)
    for index in 0..<size { buffer.bytes[index] = UInt8(truncatingIfNeeded: index / 64) &+ seed }
    try image.writeCompressed(buffer.buffers, at: UInt64(start))
    content.replaceSubrange(start..<start + size, with: buffer.bytes)
  }

  private func bytes(_ range: Range<Int>) throws -> [UInt8] {
    guard !range.isEmpty else { return [] }
    let buffer = HostBuffer(count: range.count)
    try image.read(into: buffer.buffers, at: UInt64(range.lowerBound))
    return Array(buffer.bytes)
  }

  private func compare(_ range: Range<Int>) throws {
    guard !hasFailed else { return }
    require(try bytes(range) == Array(content[range]), "a disk reads as it was written")
  }

  /// Discarded bytes read as zeroes or as before.
  private mutating func discard(_ range: Range<UInt64>) throws {
    try image.discard(range)
    guard !hasFailed else { return }
    let range = Int(range.lowerBound)..<Int(range.upperBound)
    let now = try bytes(range)
    for index in range where now[index - range.lowerBound] != content[index] {
      require(now[index - range.lowerBound] == 0, "a discarded byte is the old one or zero")
      content[index] = 0
    }
  }

  private mutating func resize(_ size: Int) throws {
    try image.resize(to: UInt64(size), mayShrink: true)
    if size < content.count {
      content.removeLast(content.count - size)
    } else {
      content += [UInt8](repeating: 0, count: size - content.count)
    }
  }

  private mutating func reopen() throws {
    try image.flush()
    image = try QCOW2Image.open(file, readOnly: false, backing: nil)
  }

  private func check() throws {
    let report = try image.check()
    require(report.corruptions == 0, "a disk in use is sound: \(report.findings)")
  }

  /// The host works again: what is in the file is sound, and complete if nothing had failed.
  mutating func end() {
    file.fail(after: nil)
    if (try? image.flush()) == nil { hasFailed = true }
    do {
      let report = try QCOW2Image.check(file)
      require(report.corruptions == 0, "what is in the file is sound: \(report.findings)")
      image = try QCOW2Image.open(file, readOnly: false, backing: nil)
      try compare(0..<min(content.count, Int(image.size)))
    } catch {
      fatalError("Broken: a disk can be opened again: \(error)")
    }
  }
}
