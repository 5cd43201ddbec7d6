import Glibc

// Memory that the guest does without: the host has its pages until they are touched again.

extension GuestMemory {
  /// Gives the host back what lies behind a range, whole pages of RAM only: they read as zero from now on. Answers how
  /// many bytes that were; what is no RAM, no whole page, or a file's, stays as it was.
  ///
  /// Whoever uses the range meanwhile finds old bytes or zeroes.
  @discardableResult
  package func discard(_ range: GPARange) -> UInt64 {
    guard range.count > 0 else { return 0 }
    let last = range.start.rawValue + (range.count - 1)
    var done: UInt64 = 0
    for mapping in mappings where mapping.isWritable && !mapping.isFile {
      let end = mapping.start + (mapping.count - 1)
      guard range.start.rawValue <= end, last >= mapping.start else { continue }
      // Offsets in the mapping, which is made of whole pages: from the first to begin in the range to the last to end.
      let from = max(range.start.rawValue, mapping.start) - mapping.start
      let first = (from + Self.pageSize - 1) & ~(Self.pageSize - 1)
      let behind = (min(last, end) - mapping.start + 1) & ~(Self.pageSize - 1)
      guard first < behind else { continue }
      // Memory that the host may not take is kept.
      guard madvise(mapping.base + Int(first), Int(behind - first), MADV_DONTNEED) == 0 else {
        continue
      }
      noteWrite(at: GPA(mapping.start + first), count: behind - first)
      done += behind - first
    }
    return done
  }
}

extension DMA {
  /// Gives the host back what lies behind a range of the device's addresses, as `GuestMemory.discard`. Nothing, if the
  /// device could not write all of it now.
  @discardableResult
  package func discard(_ range: GPARange) throws(MemoryFault) -> UInt64 {
    try check(range, writable: true)
    var done: UInt64 = 0
    for run in try translation?.translate(range, writable: true) ?? [range] {
      done += memory.discard(run)
    }
    return done
  }
}
