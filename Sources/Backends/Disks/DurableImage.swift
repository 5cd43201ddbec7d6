package import Memory

/// An image whose every change is durable when it is answered: `CacheMode.writethrough` for formats with tables,
/// which have to be durable with the data.
package final class DurableImage: DiskImage {
  package let image: any DiskImage

  package init(_ image: any DiskImage) { self.image = image }

  package var size: UInt64 { image.size }
  package var isReadOnly: Bool { image.isReadOnly }
  package var alignment: Int { image.alignment }
  package var clusterSize: Int { image.clusterSize }

  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try image.read(into: buffers, at: offset)
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool {
    try image.readAtOnce(into: buffers, at: offset)
  }

  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try image.writeDurably(buffers, at: offset)
  }

  package func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try image.writeDurably(buffers, at: offset)
  }

  package func flush() throws(DiskError) { try image.flush() }

  package func discard(_ range: Range<UInt64>) throws(DiskError) {
    try image.discard(range)
    try image.flush()
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try image.writeZeroes(range, mayUnmap: mayUnmap)
    try image.flush()
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try image.extent(at: offset)
  }
}
