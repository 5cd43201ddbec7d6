package import Memory

/// A disk of zeroes that nobody can change: what lies beneath a disk that lies on nothing.
package final class ZeroImage: DiskImage {
  package let size: UInt64

  package init(size: UInt64) { self.size = size }

  package var isReadOnly: Bool { true }
  package var alignment: Int { 1 }
  package var clusterSize: Int { 4096 }

  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    _ = try range(at: offset, count: buffers.count)
    try buffers.zero()
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool {
    try read(into: buffers, at: offset)
    return true
  }

  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    throw .readOnly
  }

  package func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    throw .readOnly
  }

  package func flush() {}
  package func discard(_ range: Range<UInt64>) throws(DiskError) { throw .readOnly }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    throw .readOnly
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    guard offset < size else { throw .outOfRange }
    return DiskExtent(offset..<size, .zero)
  }
}
