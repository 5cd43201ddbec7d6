extension FixedWidthInteger where Self: UnsignedInteger {
  /// The largest multiple of `alignment`, a power of two, that is not above the value.
  @inlinable @inline(__always)
  public func roundedDown(to alignment: Self) -> Self { self & ~(alignment &- 1) }

  /// The smallest multiple of `alignment`, a power of two, that is not below the value;
  /// `nil` if there is none in this type.
  @inlinable
  public func roundedUp(to alignment: Self) -> Self? {
    let (sum, overflow) = addingReportingOverflow(alignment &- 1)
    return overflow ? nil : sum & ~(alignment &- 1)
  }

  /// Whether the value is a multiple of `alignment`, a power of two.
  @inlinable @inline(__always)
  public func isAligned(to alignment: Self) -> Bool { self & (alignment &- 1) == 0 }
}
