import Disks
import HostOS
import Kit
import Memory
import Testing

struct ImageToolsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// A disk in memory with data here and there.
  private func patchwork(size: UInt64, seed: UInt64) throws -> OverlayImage {
    var chance = Chance(seed: seed)
    let image = OverlayImage(over: ZeroImage(size: size))
    for _ in 0..<60 {
      let sectors = size / 512
      let start = chance.number(below: sectors)
      let count = min(1 + chance.number(below: 200), sectors - start)
      let buffer = HostBuffer(count: Int(count) * 512)
      let value = UInt8(truncatingIfNeeded: chance.next())
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: value)
      try image.write(buffer.buffers, at: start * 512)
    }
    return image
  }

  private func contents(_ image: any DiskImage) throws -> [UInt8] {
    let buffer = HostBuffer(count: Int(image.size))
    try image.read(into: buffer.buffers, at: 0)
    return Array(buffer.bytes)
  }

  @Test(arguments: [0, 512, 4096, 65536])
  func `a copy is what was copied`(_ hole: Int) throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let source = try patchwork(size: 3_000_320, seed: seed)
      let path = folder.file("\(hole).\(seed).img")
      try RawImage.create(path, size: 3_000_320)
      let target = try RawImage.open(path, writable: true)
      var copy = ImageCopy()
      copy.hole = hole
      var last: UInt64 = 0
      let isWhole = try copy.run(from: source, to: target) {
        #expect($0.done > last && $0.total == 3_000_320)
        last = $0.done
        return true
      }
      #expect(isWhole)
      #expect(last == 3_000_320)
      #expect(try contents(source) == TemporaryFolder.bytes(of: path))
      #expect(try ImageComparison().run(source, target) { _ in true } == .identical)
    }
  }

  @Test func `zeroes are not written to a new image, and are to an old one`() throws {
    let source = OverlayImage(over: ZeroImage(size: 1 << 20))
    let data = HostBuffer(count: 1 << 20)
    data.bytes[300_000] = 1
    try source.write(data.buffers, at: 0)
    let path = folder.file("new.img")
    try RawImage.create(path, size: 1 << 20)
    let target = try RecordingImage(over: RawImage.open(path, writable: true))
    #expect(try ImageCopy().run(from: source, to: target) { _ in true })
    #expect(target.events.count == 2)  // one block, and the flush
    #expect(try StorageFile.open(path).storage() <= 16384)

    let old = OverlayImage(over: ZeroImage(size: 1 << 21))
    let noise = HostBuffer(count: 1 << 21)
    noise.bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
    try old.write(noise.buffers, at: 0)
    var copy = ImageCopy()
    copy.isTargetZero = false
    #expect(try copy.run(from: source, to: old) { _ in true })
    let expected = try contents(source) + [UInt8](repeating: 0, count: 1 << 20)
    #expect(try contents(old) == expected)

    try old.write(noise.buffers, at: 0)
    copy.clearsRest = false
    #expect(try copy.run(from: source, to: old) { _ in true })
    let kept = try contents(source) + [UInt8](repeating: 0xee, count: 1 << 20)
    #expect(try contents(old) == kept)
  }

  @Test func `a copy that is told to end does, and one that fails says why`() throws {
    let source = try patchwork(size: 8 << 20, seed: 9)
    let target = OverlayImage(over: ZeroImage(size: 8 << 20))
    var pieces = 0
    #expect(
      try !ImageCopy().run(from: source, to: target) { _ in
        pieces += 1
        return pieces < 3
      })
    #expect(pieces == 3)
    let faulty = FaultyImage(over: target)
    faulty.fail(.write, after: 2, with: .noSpace)
    #expect(throws: ImageError.disk(.noSpace)) {
      try ImageCopy().run(from: source, to: faulty) { _ in true }
    }
    let short = OverlayImage(over: ZeroImage(size: 4096))
    #expect(throws: ImageError.self) {
      try ImageCopy().run(from: source, to: short) { _ in true }
    }
  }

  @Test func `a comparison finds the first byte that differs`() throws {
    for place in [0, 1, 511, 65535, 65536, (1 << 20) - 1, 1 << 20, 3_000_319] as [UInt64] {
      let first = try patchwork(size: 3_000_320, seed: 2)
      let second = try patchwork(size: 3_000_320, seed: 2)
      let byte = HostBuffer(count: 1)
      try second.read(into: byte.buffers, at: place)
      byte.bytes[0] ^= 0x80
      try second.write(byte.buffers, at: place)
      #expect(try ImageComparison().run(first, second) { _ in true } == .differs(at: place))
      #expect(try ImageComparison().run(second, first) { _ in true } == .differs(at: place))
    }
  }

  @Test func `what an image has beyond the other's end counts if it is not zero`() throws {
    let long = OverlayImage(over: ZeroImage(size: 10 << 20))
    let short = ZeroImage(size: 1 << 20)
    #expect(try ImageComparison().run(long, short) { _ in true } == .identical)
    var strict = ImageComparison()
    strict.isStrict = true
    #expect(try strict.run(long, short) { _ in true } == .sizesDiffer)
    let byte = HostBuffer(count: 1)
    byte.bytes[0] = 1
    try long.write(byte.buffers, at: 9_999_999)
    #expect(try ImageComparison().run(short, long) { _ in true } == .differs(at: 9_999_999))
    #expect(try ImageComparison().run(short, long) { _ in false } == .ended)
  }

  @Test(.enabled(if: Program.exists("qemu-img"), "qemu-img is not installed"))
  func `qemu-img agrees that a copy is one`() throws {
    let source = try patchwork(size: 3_000_320, seed: 5)
    let paths = [folder.file("a.img"), folder.file("b.img")]
    for path in paths {
      try RawImage.create(path, size: 3_000_320)
      #expect(
        try ImageCopy().run(from: source, to: RawImage.open(path, writable: true)) { _ in true })
    }
    let same = try Program.run("qemu-img", ["compare", "-f", "raw", "-F", "raw"] + paths)
    #expect(same.status == 0, "\(same.output)")
  }
}

struct ImageBenchTests {
  @Test(arguments: [1, 7, 32])
  func `as many requests are made as were asked for, and where`(_ depth: Int) throws {
    let image = try RecordingImage(over: OverlayImage(over: ZeroImage(size: 100 << 10)))
    var bench = ImageBench()
    bench.operation = .write
    bench.pattern = 0x5a
    bench.count = 40
    bench.depth = depth
    bench.order = .step(8192)
    bench.start = 4096
    bench.flushInterval = 10
    let figures = try bench.run(on: image)
    #expect(figures.requests == 40)
    #expect(figures.bytes == 40 * 4096)
    let writes = image.events.compactMap { event in
      if case .write(let offset, let bytes) = event, bytes.allSatisfy({ $0 == 0x5a }) {
        return offset
      }
      return nil
    }
    // Beyond the end it goes on from the start.
    var expected: [UInt64] = []
    var place: UInt64 = 4096
    for _ in 0..<40 {
      if place > 96 << 10 { place = 0 }
      expected.append(place)
      place += 8192
    }
    #expect(writes.sorted() == expected.sorted())
    #expect(image.flushes == 4)
  }

  @Test func `random places are inside, and the same again for the same seed`() throws {
    func places(_ seed: UInt64) throws -> [UInt64] {
      let image = try RecordingImage(over: OverlayImage(over: ZeroImage(size: 1 << 20)))
      var bench = ImageBench()
      bench.operation = .write
      bench.count = 300
      bench.depth = 1
      bench.size = 1024
      bench.order = .random(seed: seed)
      _ = try bench.run(on: image)
      return image.events.map { if case .write(let offset, _) = $0 { offset } else { .max } }
    }
    #expect(try places(4) == places(4))
    #expect(try places(4) != places(5))
    #expect(try places(4).allSatisfy { $0 < 1 << 20 && $0 % 1024 == 0 })
    #expect(Set(try places(4)).count > 200)
  }

  @Test func `an error ends a benchmark, and what makes no sense does not begin`() throws {
    let faulty = FaultyImage(over: ZeroImage(size: 1 << 20))
    var bench = ImageBench()
    bench.count = 1000
    faulty.fail(.read, after: 100, with: .host(operation: "read", code: 5))
    #expect(throws: ImageError.disk(.host(operation: "read", code: 5))) {
      try bench.run(on: faulty)
    }
    let changes: [(inout ImageBench) -> Void] = [
      { $0.count = 0 }, { $0.depth = 0 }, { $0.depth = 5000 }, { $0.size = 0 }, { $0.size = 100 },
      { $0.size = 2 << 20 }, { $0.start = 7 }, { $0.order = .step(9) }, { $0.threads = 0 },
      { $0.operation = .write }, { $0.size = .max }, { $0.flushInterval = -1 },
    ]
    for change in changes {
      bench = ImageBench()
      change(&bench)
      #expect(throws: ImageError.self) { try bench.run(on: ZeroImage(size: 1 << 20)) }
    }
  }
}
