import Disks
import Memory
import Synchronization
import Testing

/// An image with one thing wrong.
final class BrokenImage: DiskImage {
  enum Flaw: CaseIterable {
    case losesLastByte, writesBeside, keepsZeroed, zeroesTooMuch, discardsToNoise
    case takesTooMuch, tellsZeroes, tellsNothing, staleAtOnce, writesHalfAtOnce
  }

  private let flaw: Flaw
  private let beneath = OverlayImage(over: ZeroImage(size: 70_144))

  init(_ flaw: Flaw) { self.flaw = flaw }

  var size: UInt64 { beneath.size }
  var isReadOnly: Bool { false }
  var alignment: Int { 1 }
  var clusterSize: Int { 4096 }

  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    if flaw == .takesTooMuch, offset > size { return }
    try beneath.read(into: buffers, at: offset)
  }

  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    let isLong = buffers.count > 1
    switch flaw {
    case .losesLastByte where isLong:
      try beneath.write(buffers.slice(0..<buffers.count - 1), at: offset)
    case .writesBeside where isLong && offset > 0 && offset <= size:
      try beneath.write(buffers, at: offset)
      try beneath.write(buffers.slice(0..<1), at: offset - 1)
    default: try beneath.write(buffers, at: offset)
    }
  }

  func flush() {}

  func discard(_ range: Range<UInt64>) throws(DiskError) {
    try beneath.discard(range)
    guard flaw == .discardsToNoise, !range.isEmpty else { return }
    let noise = HostBuffer(count: Int(range.upperBound - range.lowerBound))
    noise.bytes.initializeMemory(as: UInt8.self, repeating: 0x77)
    try beneath.write(noise.buffers, at: range.lowerBound)
  }

  func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    switch flaw {
    case .keepsZeroed where range.upperBound <= size: break
    case .zeroesTooMuch where range.upperBound <= size:
      try beneath.writeZeroes(range.lowerBound / 4096 * 4096..<range.upperBound, mayUnmap: mayUnmap)
    default: try beneath.writeZeroes(range, mayUnmap: mayUnmap)
    }
  }

  func readAtOnce(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    if flaw == .staleAtOnce { return true }
    return try beneath.readAtOnce(into: buffers, at: offset)
  }

  func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    if flaw == .writesHalfAtOnce {
      return try beneath.writeAtOnce(buffers.slice(0..<buffers.count / 2), at: offset)
    }
    return try beneath.writeAtOnce(buffers, at: offset)
  }

  func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    let extent = try beneath.extent(at: offset)
    switch flaw {
    case .tellsZeroes: return DiskExtent(extent.range, .zero)
    case .tellsNothing: return DiskExtent(offset..<offset, .data)
    default: return extent
    }
  }
}

/// The suite that all images are held to finds what is wrong with one.
struct DiskImageContractTests {
  @Test(arguments: BrokenImage.Flaw.allCases)
  func `a flaw is found`(_ flaw: BrokenImage.Flaw) {
    withKnownIssue {
      var contract = DiskImageContract(BrokenImage(flaw))
      try contract.keep(seed: 1, steps: 200)
    }
  }

  @Test func `an image that forgets that a flush failed is found, and one that does not is not`()
    throws
  {
    let image = FaultyImage(over: OverlayImage(over: ZeroImage(size: 4096)))
    let broken = DiskError.host(operation: "flush", code: 5)
    try DiskImageContract(image).failFlushesForEver(
      breaking: { image.fail(.flush, with: broken) }, mending: {})
    withKnownIssue {
      image.mend()
      try DiskImageContract(image).failFlushesForEver(
        breaking: { image.fail(.flush, with: broken) }, mending: { image.mend() })
    }
  }
}
