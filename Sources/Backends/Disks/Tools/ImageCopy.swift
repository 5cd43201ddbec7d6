import Memory

/// Copies the content of one image to another of any format. What is zero is looked for and not written, so that the
/// copy takes as little storage as its format lets it.
package struct ImageCopy: Sendable {
  /// Whether the target reads as zeroes before the copy, as a new image does.
  package var isTargetZero = true
  /// Whether what a longer target has behind the source's end becomes zeroes.
  package var clearsRest = true
  /// Bytes of zeroes, within what is stored, that are worth a hole; 0: what is stored is written as it is.
  package var hole = 4096

  package init() {}

  /// How far a copy or comparison has come, in bytes of the disk.
  package struct Progress: Sendable, Equatable {
    package let done: UInt64
    package let total: UInt64
  }

  /// Copies all of `source`, and flushes.
  ///
  /// - Parameter goesOn: hears of progress after each piece; `false` ends the copy.
  /// - Returns: whether it came to its end.
  package func run(
    from source: any DiskImage, to target: any DiskImage, goesOn: (Progress) -> Bool
  ) throws(ImageError) -> Bool {
    guard target.size >= source.size else {
      throw .refused(
        "The target is shorter than the source, by \(source.size - target.size) bytes.")
    }
    do throws(DiskError) {
      let buffer = HostBuffer(count: pieceSize)
      var offset: UInt64 = 0
      while offset < source.size {
        offset = try copyPiece(at: offset, from: source, to: target, through: buffer)
        guard goesOn(Progress(done: offset, total: source.size)) else { return false }
      }
      if clearsRest { try clear(source.size..<target.size, in: target) }
      try target.flush()
      return true
    } catch {
      throw .disk(error)
    }
  }

  /// Copies what begins at an offset; answers where that ended.
  private func copyPiece(
    at offset: UInt64, from source: any DiskImage, to target: any DiskImage,
    through buffer: HostBuffer
  ) throws(DiskError) -> UInt64 {
    let extent = try source.extent(at: offset)
    if extent.kind == .zero {
      try clear(offset..<extent.range.upperBound, in: target)
      return extent.range.upperBound
    }
    // Small extents are read together: an image in many pieces is no slower than one in few.
    let count = min(source.size - offset, UInt64(pieceSize))
    let end = offset + count
    let bytes = buffer.buffers.slice(0..<Int(count))
    try source.read(into: bytes, at: offset)
    guard hole > 0 else {
      try target.write(bytes, at: offset)
      return end
    }
    let block = max(hole, target.alignment)
    let content = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<Int(count)])
    try ZeroBlocks.forEachRun(of: block, in: content) { (run, isZero) throws(DiskError) in
      let range = offset + UInt64(run.lowerBound)..<offset + UInt64(run.upperBound)
      if isZero {
        try clear(range, in: target)
      } else {
        try target.write(bytes.slice(run), at: range.lowerBound)
      }
    }
    return end
  }

  private func clear(_ range: Range<UInt64>, in target: any DiskImage) throws(DiskError) {
    if !isTargetZero, !range.isEmpty { try target.writeZeroes(range, mayUnmap: true) }
  }
}

/// Bytes that are read at once: few calls, and still in the processor's caches when they are looked at.
let pieceSize = 1 << 20
