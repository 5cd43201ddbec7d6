import Glibc
package import Memory

/// Writes to an image only what it does not show already, so that a copy over a backing file stores what differs.
package final class DifferingWrites: DiskImage {
  private let image: any DiskImage

  package init(to image: any DiskImage) { self.image = image }

  package var size: UInt64 { image.size }
  package var isReadOnly: Bool { image.isReadOnly }
  package var alignment: Int { image.alignment }
  package var clusterSize: Int { image.clusterSize }

  /// Bytes that are compared at once.
  private static let block = 4096

  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    let range = try range(at: offset, count: buffers.count)
    let (old, new) = (HostBuffer(count: pieceSize), HostBuffer(count: pieceSize))
    try forEachPiece(of: range) { (piece) throws(DiskError) in
      let count = Int(piece.length)
      try image.read(into: old.buffers.slice(0..<count), at: piece.lowerBound)
      try buffers.copy(
        from: Int(piece.lowerBound - offset),
        to: UnsafeMutableRawBufferPointer(rebasing: new.bytes[..<count]))
      var start = 0
      while start < count {
        let isSame = isSame(old, new, start, count)
        var end = min(start + Self.block, count)
        while end < count, self.isSame(old, new, end, count) == isSame {
          end = min(end + Self.block, count)
        }
        if !isSame {
          try image.write(new.buffers.slice(start..<end), at: piece.lowerBound + UInt64(start))
        }
        start = end
      }
    }
  }

  private func isSame(_ old: HostBuffer, _ new: HostBuffer, _ start: Int, _ count: Int) -> Bool {
    memcmp(
      old.address + start, new.address + start,
      min(Self.block, count - start)) == 0
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try check(range)
    let old = HostBuffer(count: pieceSize)
    var rest = range
    while !rest.isEmpty {
      let extent = try image.extent(at: rest.lowerBound)
      let part = rest.clamped(to: extent.range)
      if extent.kind != .zero {
        try forEachPiece(of: part) { (piece) throws(DiskError) in
          let bytes = UnsafeRawBufferPointer(rebasing: old.bytes[..<Int(piece.length)])
          try image.read(into: old.buffers.slice(0..<bytes.count), at: piece.lowerBound)
          if !ZeroBlocks.isZero(bytes) { try image.writeZeroes(piece, mayUnmap: mayUnmap) }
        }
      }
      rest = part.upperBound..<rest.upperBound
    }
  }

  private func forEachPiece(
    of range: Range<UInt64>, _ body: (Range<UInt64>) throws(DiskError) -> Void
  ) throws(DiskError) {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(start + UInt64(pieceSize), range.upperBound)
      try body(start..<end)
      start = end
    }
  }

  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try image.read(into: buffers, at: offset)
  }

  package func flush() throws(DiskError) { try image.flush() }
  package func discard(_ range: Range<UInt64>) throws(DiskError) { try image.discard(range) }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try image.extent(at: offset)
  }
}
