package import HostOS
package import Memory

extension DiskImage {
  /// The bytes that a transfer is about, if the image has them.
  package func range(at offset: UInt64, count: Int) throws(DiskError) -> Range<UInt64> {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
    guard !overflow, end <= size else { throw .outOfRange }
    return offset..<end
  }

  package func check(_ range: Range<UInt64>) throws(DiskError) {
    guard range.upperBound <= size else { throw .outOfRange }
  }

  package func checkWritable() throws(DiskError) {
    if isReadOnly { throw .readOnly }
  }
}

extension Range where Bound == UInt64 {
  /// The bytes of a range; `count` would trap beyond `Int.max`.
  package var length: UInt64 { upperBound - lowerBound }

  /// The largest part of it that begins and ends at multiples of `alignment`, a power of two; perhaps empty.
  package func rounded(inwardTo alignment: UInt64) -> Range<UInt64> {
    let (sum, overflow) = lowerBound.addingReportingOverflow(alignment - 1)
    guard !overflow else { return lowerBound..<lowerBound }
    let start = sum & ~(alignment - 1)
    let end = upperBound & ~(alignment - 1)
    return start < end ? start..<end : lowerBound..<lowerBound
  }

  /// The smallest range around it that begins and ends at multiples of `alignment`, a power of two. The end of what
  /// a file can hold is far from the end of numbers.
  package func rounded(outwardTo alignment: UInt64) -> Range<UInt64> {
    lowerBound & ~(alignment - 1)..<upperBound.rounded(upTo: alignment)
  }
}

extension UInt64 {
  /// The next multiple of a power of two, or the last there is.
  package func rounded(upTo alignment: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(alignment - 1)
    return (overflow ? .max : sum) & ~(alignment - 1)
  }
}

extension DiskError {
  /// What a guest may hear of the host's failure.
  package init(_ error: HostError) {
    self =
      error.isLackOfSpace ? .noSpace : .host(operation: error.operation, code: error.code)
  }
}

// MARK: - Bytes of a scatter list

extension GuestBuffers {
  /// Fills the bytes from `start` on with zeroes.
  package func zero(from start: Int = 0) throws(DiskError) {
    var position = 0
    for part in parts {
      let skipped = Swift.min(Swift.max(start - position, 0), part.count)
      guard GuardedMemory.fill(.init(rebasing: part[skipped...]), with: 0) else {
        throw .memoryGone
      }
      position += part.count
    }
  }

  /// Copies the bytes from `start` on out, as many as `destination` has; each is read once.
  package func copy(
    from start: Int, to destination: UnsafeMutableRawBufferPointer
  ) throws(DiskError) {
    var done = 0
    for piece in slice(start..<start + destination.count).parts {
      let target = UnsafeMutableRawBufferPointer(rebasing: destination[done...])
      guard GuardedMemory.copy(UnsafeRawBufferPointer(piece), to: target) else {
        throw .memoryGone
      }
      done += piece.count
    }
  }

  /// Copies bytes in, from `start` on.
  package func copy(_ source: UnsafeRawBufferPointer, to start: Int) throws(DiskError) {
    var done = 0
    for piece in slice(start..<start + source.count).parts {
      let bytes = UnsafeRawBufferPointer(rebasing: source[done..<done + piece.count])
      guard GuardedMemory.copy(bytes, to: piece) else { throw .memoryGone }
      done += piece.count
    }
  }
}

extension DiskError {
  /// A page of the request's own memory could not be had: what the host calls EFAULT.
  static let memoryGone = DiskError.host(operation: "reach the guest's memory", code: 14)
}
