extension Range<UInt64> {
  /// `size` addresses from `start`; `nil` if they run past the last address.
  init?(at start: UInt64, size: UInt64) {
    let (end, overflow) = start.addingReportingOverflow(size)
    guard !overflow else { return nil }
    self = start..<end
  }

  /// Whether all of `other` lies inside.
  func covers(_ other: Range<UInt64>) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}

extension UInt64 {
  /// The next multiple of a power of two; `nil` past the last address.
  func aligned(up alignment: UInt64) -> UInt64? {
    let (sum, overflow) = addingReportingOverflow(alignment - 1)
    return overflow ? nil : sum & ~(alignment - 1)
  }

  /// The multiple of a power of two at or below.
  func aligned(down alignment: UInt64) -> UInt64 { self & ~(alignment - 1) }
}
