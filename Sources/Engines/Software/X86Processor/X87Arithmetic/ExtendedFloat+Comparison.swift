/// FCOM, FUCOM and their kin: SDM Vol. 1 §8.3.6 "Comparison and Classification Instructions".
extension ExtendedFloat {
  /// How one operand stands to another.
  enum Ordering: UInt8 {
    case greater, less, equal, unordered
  }

  /// Compares with `other`. A QNaN is an invalid operand unless the comparison is `quiet`.
  func compared(
    to other: ExtendedFloat, quiet: Bool, _ environment: inout X87Environment
  ) -> Ordering {
    if isUnsupported || other.isUnsupported {
      environment.raise(.invalid)
      return .unordered
    }
    if isNaN || other.isNaN {
      if !quiet || isSignalingNaN || other.isSignalingNaN { environment.raise(.invalid) }
      return .unordered
    }
    _ = environment.stopsAtDenormal(isDenormal || other.isDenormal)
    if isZero && other.isZero { return .equal }
    if isNegative != other.isNegative { return isNegative ? .less : .greater }
    // A denormal has the scale of the smallest normal exponent.
    let a = (max(exponent, 1), significand)
    let b = (max(other.exponent, 1), other.significand)
    if a == b { return .equal }
    return (a < b) != isNegative ? .less : .greater
  }
}
