package import Memory

extension GuestMemory {
  /// The indices of the pages that `Partition.permit` is asked for; refused unless they are whole pages of memory.
  package func pages(toPermit range: GPARange) throws(EngineError) -> Range<Int> {
    let start = range.start.rawValue
    guard start.isMultiple(of: Self.pageSize), range.count.isMultiple(of: Self.pageSize) else {
      throw EngineError(
        "access cannot be set for \(range.count) bytes at \(range.start): they are not whole pages")
    }
    guard range.count > 0 else { return 0..<0 }
    // Pages are numbered in the order of their addresses, without gaps: only where there is memory all the
    // way are there as many numbers as pages.
    guard let first = hostPage(holding: range.start),
      let last = hostPage(holding: GPA(start + (range.count - 1))),
      UInt64(last.index - first.index) == range.count / Self.pageSize - 1
    else {
      throw EngineError(
        "access cannot be set for \(range.count) bytes at \(range.start): not all of it is memory")
    }
    return first.index..<last.index + 1
  }
}
