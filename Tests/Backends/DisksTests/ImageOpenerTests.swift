import Disks
import HostOS
import Memory
import Testing

/// The one way in which images are opened.
struct ImageOpenerTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func path(_ name: String) -> String { folder.file(name) }

  /// Makes a qcow2 image of 1 MiB.
  private func make(_ name: String, over backing: String? = nil, format: String? = nil) throws {
    var options = QCOW2Options(size: 1 << 20)
    options.backingName = backing
    options.backingFormat = format
    let file = try StorageFile.open(path(name), [.writable, .new])
    _ = try QCOW2Image.create(options, in: HostImageFile(file))
  }

  private func fill(_ image: any DiskImage, _ value: UInt8, at offset: UInt64) throws {
    let buffer = HostBuffer(count: 512)
    buffer.bytes.initializeMemory(as: UInt8.self, repeating: value)
    try image.write(buffer.buffers, at: offset)
  }

  private func byte(_ image: any DiskImage, at offset: UInt64) throws -> UInt8 {
    let buffer = HostBuffer(count: 512)
    try image.read(into: buffer.buffers, at: offset)
    return buffer.bytes[0]
  }

  private func refusal(_ opener: ImageOpener, _ name: String) -> String {
    do throws(ImageError) {
      _ = try opener.open(path(name))
      return ""
    } catch { return error.description }
  }

  @Test func `a chain is opened from one end to the other, and only its top is written`() throws {
    try RawImage.create(path("a.img"), size: 1 << 20)
    try fill(RawImage.open(path("a.img"), writable: true), 1, at: 0)
    try make("b", over: "a.img", format: "raw")
    try make("c", over: "b", format: "qcow2")
    do {
      let image = try ImageOpener(format: .qcow2, writable: true).open(path("c"))
      #expect(try byte(image, at: 0) == 1)
      try fill(image, 3, at: 65536)
      try image.flush()
    }
    let below = try ImageOpener(format: .qcow2).open(path("b"))
    #expect(try byte(below, at: 65536) == 0)
    let image = try ImageOpener(format: .qcow2).open(path("c"))
    #expect(try byte(image, at: 65536) == 3)
    #expect(throws: DiskError.readOnly) { try fill(image, 1, at: 0) }
  }

  @Test func `what only content says is a qcow2 image is read, and leads nowhere`() throws {
    try make("alone")
    #expect(try ImageOpener().open(path("alone")).size == 1 << 20)
    #expect(refusal(ImageOpener(writable: true), "alone").contains("is not guessed"))
    try make("above", over: "alone", format: "qcow2")
    #expect(refusal(ImageOpener(), "above").contains("say --image-format qcow2"))
    // The same for an image that another names without a word of its format.
    try make("top", over: "above")
    #expect(refusal(ImageOpener(format: .qcow2), "top").contains("--backing-format qcow2"))
    try make("fine", over: "alone")
    #expect(refusal(ImageOpener(format: .qcow2), "fine") == "")
    try make("odd", over: "alone", format: "vmdk")
    #expect(refusal(ImageOpener(format: .qcow2), "odd").contains("\"vmdk\", which Roost does not"))
  }

  @Test func `a chain that goes in a circle or lacks a part is refused`() throws {
    try make("a", over: "b", format: "qcow2")
    try make("b", over: "a", format: "qcow2")
    #expect(refusal(ImageOpener(format: .qcow2), "a").contains("which lies on it"))
    try make("c", over: "nowhere", format: "raw")
    #expect(refusal(ImageOpener(format: .qcow2), "c").contains("is missing"))
    var opener = ImageOpener(format: .qcow2)
    opener.opensBacking = false
    #expect(refusal(opener, "c") == "")
  }

  @Test func `a chain of qcow2 images is as long as any`() throws {
    try make("0")
    for number in 1...BackingChain.limit {
      try make("\(number)", over: "\(number - 1)", format: "qcow2")
    }
    try fill(ImageOpener(format: .qcow2, writable: true).open(path("0")), 7, at: 0)
    let last = BackingChain.limit - 1
    #expect(try byte(ImageOpener(format: .qcow2).open(path("\(last)")), at: 0) == 7)
    #expect(refusal(ImageOpener(format: .qcow2), "\(last + 1)").contains("more than 64 images"))
  }

  @Test func `an image that is written has one user`() throws {
    try make("a")
    try make("b", over: "a", format: "qcow2")
    let image = try ImageOpener(format: .qcow2, writable: true).open(path("b"))
    #expect(refusal(ImageOpener(format: .qcow2), "b").contains("cannot be read while"))
    #expect(refusal(ImageOpener(format: .qcow2, writable: true), "a").contains("has it open"))
    #expect(refusal(ImageOpener(format: .qcow2, sharing: .unguarded), "b") == "")
    _ = image
  }

  @Test(arguments: [ImageFormat.raw, .qcow2])
  func `writethrough makes every write durable, tables and all`(format: ImageFormat) throws {
    if format == .raw { try RawImage.create(path("a"), size: 1 << 20) } else { try make("a") }
    let image = try ImageOpener(format: format, writable: true, cache: .writethrough).open(
      path("a"))
    try fill(image, 9, at: 4096)
    // Nobody has flushed: what another opening finds is what the write has left behind.
    let other = try ImageOpener(format: format, sharing: .unguarded).open(path("a"))
    #expect(try byte(other, at: 4096) == 9)
  }

  @Test func `a raw image has no snapshot, and none is written`() throws {
    try RawImage.create(path("a"), size: 1 << 20)
    #expect(refusal(ImageOpener(format: .raw, snapshot: "1"), "a").contains("no snapshots"))
    try make("b")
    #expect(refusal(ImageOpener(format: .qcow2, snapshot: "1"), "b").contains("no snapshot \"1\""))
    #expect(
      refusal(ImageOpener(format: .qcow2, writable: true, snapshot: "1"), "b")
        .contains("is there to be read"))
  }

  @Test func `a write at once changes a stored cluster, and leaves all else to whoever may wait`()
    throws
  {
    try make("a")
    let image = try ImageOpener(format: .qcow2, writable: true).open(path("a"))
    let buffer = HostBuffer(count: 8192)
    func writeAtOnce(_ value: UInt8, at offset: UInt64) throws -> Bool {
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: value)
      return try image.writeAtOnce(buffer.buffers, at: offset)
    }
    #expect(try !writeAtOnce(1, at: 0))
    #expect(try byte(image, at: 0) == 0)
    try fill(image, 2, at: 0)
    for value in UInt8(3)...20 where try writeAtOnce(value, at: 4096) {
      #expect(try byte(image, at: 4096) == value)
      #expect(try byte(image, at: 8192) == value)
      #expect(try byte(image, at: 12288) == 0)
    }
    #expect(try byte(image, at: 0) == 2)
    // The second half lies in the next cluster.
    #expect(try !writeAtOnce(1, at: 61440))
    #expect(throws: DiskError.outOfRange) { try writeAtOnce(1, at: (1 << 20) - 4096) }
    try image.discard(0..<65536)
    #expect(try !writeAtOnce(1, at: 4096))
    #expect(try byte(image, at: 4096) == 0)
  }
}
