import Disks
import HostOS
import Kit
import Memory
import Testing

struct OverlayImageTests {
  @Test func `a disk in memory keeps the contract`() throws {
    var contract = DiskImageContract(OverlayImage(over: ZeroImage(size: 300_544)))
    try contract.keep(seed: 11, steps: 400)
  }

  @Test func `an image of zeroes is read-only`() throws {
    let image = ZeroImage(size: 70_000)
    try DiskImageContract(image).refuseRanges()
    try DiskImageContract(image).takeNothing()
    try DiskImageContract(image).refuseChanges()
    try DiskImageContract(image).tellExtents()
  }

  @Test func `an overlay changes, and what lies beneath does not`() throws {
    let folder = try TemporaryFolder()
    var chance = Chance(seed: 5)
    let content = (0..<300_032).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
    let path = try folder.file("base.img", holding: content)
    let overlay = OverlayImage(over: try RawImage.open(path, writable: false))
    var contract = DiskImageContract(overlay, content: content)
    try contract.keep(seed: 13, steps: 400)
    #expect(contract.content != content)
    #expect(try TemporaryFolder.bytes(of: path) == content)
  }

  @Test func `memory is taken for what was written, and given back for what was zeroed`() throws {
    let image = OverlayImage(over: ZeroImage(size: 1 << 40))
    let buffer = HostBuffer(count: 4096)
    try image.write(buffer.buffers, at: 1 << 39)
    try image.write(buffer.buffers, at: (1 << 39) + 8192)
    #expect(image.storage == 64 << 10)
    try image.writeZeroes(1 << 39..<(1 << 39) + (64 << 10), mayUnmap: false)
    #expect(image.storage == 0)
    #expect(try image.extent(at: 1 << 39).kind == .zero)
  }

  @Test func `an overlay that may take no more memory has no space`() throws {
    let image = OverlayImage(over: ZeroImage(size: 1 << 20), limit: 128 << 10)
    let buffer = HostBuffer(count: 512)
    try image.write(buffer.buffers, at: 0)
    try image.write(buffer.buffers, at: 64 << 10)
    #expect(throws: DiskError.noSpace) { try image.write(buffer.buffers, at: 128 << 10) }
    try image.write(buffer.buffers, at: 512)
    try image.writeZeroes(0..<64 << 10, mayUnmap: true)
    try image.write(buffer.buffers, at: 128 << 10)
  }

  @Test func `what cannot be read beneath is not overwritten with anything else`() throws {
    let base = OverlayImage(over: ZeroImage(size: 128 << 10))
    let old = HostBuffer(count: 128 << 10)
    old.bytes.initializeMemory(as: UInt8.self, repeating: 7)
    try base.write(old.buffers, at: 0)
    let faulty = FaultyImage(over: base)
    let image = OverlayImage(over: faulty)
    let sector = HostBuffer(count: 512)
    let broken = DiskError.host(operation: "read", code: 5)
    faulty.fail(.read, with: broken)
    #expect(throws: broken) { try image.write(sector.buffers, at: 512) }
    #expect(throws: broken) { try image.read(into: sector.buffers, at: 0) }
    // A whole chunk needs nothing from beneath.
    let chunk = HostBuffer(count: 64 << 10)
    try image.write(chunk.buffers, at: 64 << 10)
    faulty.mend()
    var expected = [UInt8](repeating: 7, count: 64 << 10) + [UInt8](repeating: 0, count: 64 << 10)
    try DiskImageContract(image, content: expected).readAll()
    try image.write(sector.buffers, at: 512)
    for index in 512..<1024 { expected[index] = 0 }
    try DiskImageContract(image, content: expected).readAll()
  }

  @Test func `a write at once that would wait for what lies beneath is left undone`() throws {
    // `FaultyImage` reads nothing at once.
    let image = OverlayImage(over: FaultyImage(over: ZeroImage(size: 128 << 10)))
    let sector = HostBuffer(count: 512)
    #expect(try !image.writeAtOnce(sector.buffers, at: 0))
    try image.write(sector.buffers, at: 0)
    #expect(try image.writeAtOnce(sector.buffers, at: 512))
    #expect(try image.readAtOnce(into: sector.buffers, at: 0))
    #expect(try !image.readAtOnce(into: sector.buffers, at: 64 << 10))
  }
}
