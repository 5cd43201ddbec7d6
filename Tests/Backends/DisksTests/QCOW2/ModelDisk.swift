import Disks
import Kit
import Memory

/// An image and what it must contain, lived through together.
final class ModelDisk {
  var image: QCOW2Image
  /// What the disk must read as. A discarded cluster may read as zeroes or as before: it is read and noted.
  var content: [UInt8]
  let file: MemoryFile
  let resolver: (any BackingResolver)?

  init(
    _ image: QCOW2Image, _ file: MemoryFile, content: [UInt8],
    resolver: (any BackingResolver)? = nil
  ) {
    self.image = image
    self.file = file
    self.content = content
    self.resolver = resolver
  }

  static func bytes(_ image: any DiskImage, _ range: Range<Int>) throws -> [UInt8] {
    if range.isEmpty { return [] }
    let buffer = HostBuffer(count: range.count)
    for index in 0..<range.count { buffer.bytes[index] = 0xaa }
    try image.read(into: buffer.buffers, at: UInt64(range.lowerBound))
    return Array(buffer.bytes)
  }

  static func all(_ image: any DiskImage) throws -> [UInt8] {
    try bytes(image, 0..<Int(image.size))
  }

  static func write(_ bytes: [UInt8], to image: any DiskImage, at offset: Int) throws {
    let buffer = HostBuffer(count: bytes.count)
    buffer.bytes.copyBytes(from: bytes)
    try image.write(buffer.buffers, at: UInt64(offset))
  }

  /// Does one thing by chance. Answers what was wrong.
  func step(_ chance: inout Chance, maximum: Int) throws -> String? {
    let size = content.count
    let start = Int(chance.number(below: UInt64(size / 512))) * 512
    let count = min(size - start, Int(chance.number(below: UInt64(maximum / 512)) + 1) * 512)
    let range = start..<start + count
    switch chance.number(below: 20) {
    case 0...7:
      let value = UInt8(truncatingIfNeeded: chance.next() | 1)
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 512) &+ value }
      try Self.write(bytes, to: image, at: start)
      content.replaceSubrange(range, with: bytes)
    case 8...12:
      if try Self.bytes(image, range) != Array(content[range]) { return "read \(range) differs" }
    case 13, 14:
      try image.discard(UInt64(start)..<UInt64(start + count))
      let now = try Self.bytes(image, range)
      for index in range where now[index - start] != content[index] {
        if now[index - start] != 0 { return "discarded byte \(index) is neither old nor zero" }
        content[index] = 0
      }
    case 15, 16:
      try image.writeZeroes(UInt64(start)..<UInt64(start + count), mayUnmap: chance.next() & 1 != 0)
      for index in range { content[index] = 0 }
    case 17: try image.flush()
    case 18:
      let cluster = image.clusterSize
      let first = start / cluster * cluster
      let end = min(size, first + cluster * Int(1 + chance.number(below: 3)))
      let value = UInt8(truncatingIfNeeded: chance.next())
      let bytes = (first..<end).map { UInt8(truncatingIfNeeded: $0 / 700) & value }
      let buffer = HostBuffer(count: bytes.count)
      buffer.bytes.copyBytes(from: bytes)
      try image.writeCompressed(buffer.buffers, at: UInt64(first))
      content.replaceSubrange(first..<end, with: bytes)
    default:
      if chance.number(below: 4) == 0 { return try reopen() }
    }
    return nil
  }

  /// Everything about the image is as it must be, and stays so when it is opened anew.
  func reopen() throws -> String? {
    try image.flush()
    let report = try QCOW2Image.check(file)
    if !report.isClean { return "check: \(report.findings.prefix(5))" }
    image = try QCOW2Image.open(file, readOnly: false, backing: resolver)
    if try Self.all(image) != content { return "the content differs after opening anew" }
    return nil
  }
}

/// Resolves names to images that a test holds.
struct Images: BackingResolver {
  let images: [String: any DiskImage]

  func open(_ reference: BackingReference) throws(ImageError) -> any DiskImage {
    guard let image = images[reference.name] else { throw .refused("no \(reference.name)") }
    return image
  }
}
