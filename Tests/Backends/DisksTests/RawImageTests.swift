import Disks
import HostOS
import Memory
import Testing

struct RawImageTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test(arguments: CacheMode.allCases)
  func `an image keeps the contract`(_ cache: CacheMode) throws {
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 300 << 10)
    let image = try RawImage.open(path, writable: true, cache: cache)
    var contract = DiskImageContract(image)
    try contract.keep(seed: 7, steps: 400)
    #expect(try TemporaryFolder.bytes(of: path) == contract.content)
  }

  @Test(arguments: CacheMode.allCases)
  func `an image that is not to be written refuses to be`(_ cache: CacheMode) throws {
    let content = (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
    let path = try folder.file("disk.img", holding: content)
    let image = try RawImage.open(path, writable: false, cache: cache)
    try DiskImageContract(image, content: content).refuseChanges()
    #expect(try TemporaryFolder.bytes(of: path) == content)
  }

  @Test(arguments: CacheMode.allCases)
  func `a file that ends inside a sector is a disk that ends with it`(_ cache: CacheMode) throws {
    let path = try folder.file("disk.img", holding: [UInt8](repeating: 9, count: 1000))
    let image = try RawImage.open(path, writable: true, cache: cache)
    #expect(image.size == 1024)
    let expected = [UInt8](repeating: 9, count: 1000) + [UInt8](repeating: 0, count: 24)
    try DiskImageContract(image, content: expected).readAll()
    var contract = DiskImageContract(image, content: expected)
    try contract.keep(seed: 3, steps: 200)
    let file = try TemporaryFolder.bytes(of: path)
    #expect(contract.content.starts(with: file))
  }

  @Test func `what a shrinking file loses reads as zeroes`() throws {
    let path = try folder.file("disk.img", holding: [UInt8](repeating: 9, count: 8192))
    let image = try RawImage.open(path, writable: true)
    try image.file.resize(to: 4096)
    let buffer = HostBuffer(count: 8192)
    try image.read(into: buffer.buffers, at: 0)
    #expect(buffer.bytes[..<4096].allSatisfy { $0 == 9 })
    #expect(buffer.bytes[4096...].allSatisfy { $0 == 0 })
  }

  @Test func `an empty file is a disk without sectors`() throws {
    let path = try folder.file("disk.img", holding: [])
    let image = try RawImage.open(path, writable: true)
    #expect(image.size == 0)
    try DiskImageContract(image).refuseRanges()
    try DiskImageContract(image).takeNothing()
  }

  @Test func `a hole is zero, and data lie where they are`() throws {
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 1 << 20)
    let image = try RawImage.open(path, writable: true)
    try image.write(HostBuffer(count: 65536).buffers, at: 1 << 18)
    try image.flush()
    #expect(try image.extent(at: 0) == DiskExtent(0..<1 << 18, .zero))
    #expect(
      try image.extent(at: 1 << 18)
        == DiskExtent(1 << 18..<(1 << 18) + 65536, .data, hostOffset: 1 << 18))
    try image.writeZeroes(1 << 18..<(1 << 18) + 65536, mayUnmap: true)
    #expect(try image.extent(at: 0) == DiskExtent(0..<1 << 20, .zero))
  }

  @Test func `storage set aside is there before it is written`() throws {
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 1 << 20, reserved: true)
    #expect(try StorageFile.open(path).storage() >= 1 << 20)
    #expect(throws: ImageError.self) { try RawImage.create(path, size: 1) }
  }

  @Test func `an image shrinks only if the loss is wanted`() throws {
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 8192)
    try RawImage.resize(path, to: 16384)
    #expect(try StorageFile.open(path).size() == 16384)
    #expect(throws: ImageError.self) { try RawImage.resize(path, to: 512) }
    #expect(try StorageFile.open(path).size() == 16384)
    try RawImage.resize(path, to: 512, allowingLoss: true)
    #expect(try StorageFile.open(path).size() == 512)
  }

  @Test func `a folder, a terminal and a missing file are no images`() throws {
    for path in [folder.path, "/dev/null", folder.file("none")] {
      #expect(throws: ImageError.self) { try RawImage.open(path, writable: false) }
    }
  }

  @Test func `more parts than the host takes at once are read and written`() throws {
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 1 << 20)
    let image = try RawImage.open(path, writable: true)
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    // 2500 parts of 37 bytes, with a byte between any two.
    let ranges = try (0..<2500).map {
      try #require(GPARange(start: GPA(UInt64($0) * 38), count: 37))
    }
    let buffers = try memory.buffers(ranges, writable: true)
    for (index, part) in buffers.parts.enumerated() {
      part.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: index))
    }
    try image.write(buffers, at: 100)
    let copy = HostBuffer(count: 2500 * 37)
    try image.read(into: copy.buffers, at: 100)
    #expect(copy.bytes.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 / 37) })
    for part in buffers.parts { part.initializeMemory(as: UInt8.self, repeating: 0) }
    try image.read(into: buffers, at: 100)
    #expect(buffers.parts.flatMap { Array($0) }.elementsEqual(copy.bytes))
  }
}
