/// FPREM and FPREM1: SDM Vol. 2 "FPREM—Partial Remainder", "FPREM1—Partial Remainder".
extension ExtendedFloat {
  /// A remainder, or a step on the way to it.
  struct Remainder {
    var value: ExtendedFloat
    /// The low bits of the quotient.
    var quotient: UInt64 = 0
    /// Whether the exponents were too far apart for one step: what C2 reports.
    var isPartial = false
  }

  /// The remainder of a division whose quotient is truncated (FPREM) or `nearest` (FPREM1).
  func remainder(
    dividingBy divisor: ExtendedFloat, nearest: Bool, _ environment: inout X87Environment
  ) -> Remainder {
    if let answer = environment.answer(to: self, divisor) { return Remainder(value: answer) }
    if isInfinity || divisor.isZero { return Remainder(value: environment.invalid()) }
    if environment.stopsAtDenormal(isDenormal || divisor.isDenormal) || isZero {
      return Remainder(value: self)
    }
    let a = NormalizedFloat(self)
    if divisor.isInfinity { return Remainder(value: environment.exact(a)) }
    let b = NormalizedFloat(divisor)
    let distance = a.exponent &- b.exponent
    if distance < (nearest ? -1 : 0) { return Remainder(value: environment.exact(a)) }
    if distance >= 64 { return environment.reduce(a, by: b, distance) }

    var quotient: UInt64 = 0
    var rest = a.significand
    var exponent = a.exponent
    if distance >= 0 {
      (quotient, rest) = Self.divide(a.significand, by: b.significand, scaledBy: distance)
      exponent = b.exponent
    }
    var negative = isNegative
    if nearest, Self.isMoreThanHalf(rest, at: exponent, of: b, odd: quotient & 1 != 0) {
      // One exponent below the divisor, its significand counts double.
      let whole = UInt128(b.significand) << UInt128(truncatingIfNeeded: b.exponent &- exponent)
      rest = UInt64(truncatingIfNeeded: whole &- UInt128(rest))
      quotient &+= 1
      negative.toggle()
    }
    guard rest != 0 else {
      return Remainder(value: .zero(negative: isNegative), quotient: quotient)
    }
    return Remainder(
      value: environment.exact(negative: negative, exponent: exponent, rest), quotient: quotient)
  }
}

extension ExtendedFloat {
  /// `a` × 2^`scale` divided by `b`, both normalized. `scale` is below 64.
  fileprivate static func divide(
    _ a: UInt64, by b: UInt64, scaledBy scale: Int32
  ) -> (quotient: UInt64, remainder: UInt64) {
    let wide = UInt128(a) << UInt128(truncatingIfNeeded: scale)
    return b.dividingFullWidth(
      (UInt64(truncatingIfNeeded: wide >> 64), UInt64(truncatingIfNeeded: wide)))
  }

  /// Whether the nearest quotient is the next one; a tie goes to the even one.
  private static func isMoreThanHalf(
    _ rest: UInt64, at exponent: Int32, of divisor: NormalizedFloat, odd: Bool
  ) -> Bool {
    let doubled = UInt128(rest) << 1
    let whole =
      UInt128(divisor.significand) << UInt128(truncatingIfNeeded: divisor.exponent &- exponent)
    return doubled > whole || doubled == whole && odd
  }
}

extension X87Environment {
  /// One step of a reduction that takes several: it brings the exponents nearer by 32 to 63.
  fileprivate mutating func reduce(
    _ a: NormalizedFloat, by b: NormalizedFloat, _ distance: Int32
  ) -> ExtendedFloat.Remainder {
    let step = distance & 31 | 32
    let rest = ExtendedFloat.divide(a.significand, by: b.significand, scaledBy: step).remainder
    guard rest != 0 else {
      return ExtendedFloat.Remainder(value: .zero(negative: a.isNegative), isPartial: true)
    }
    return ExtendedFloat.Remainder(
      value: exact(negative: a.isNegative, exponent: a.exponent &- step, rest), isPartial: true)
  }

  fileprivate mutating func exact(_ value: NormalizedFloat) -> ExtendedFloat {
    exact(negative: value.isNegative, exponent: value.exponent, value.significand)
  }

  /// A value that fits, of a significand not yet normalized and not zero.
  fileprivate mutating func exact(
    negative: Bool, exponent: Int32, _ significand: UInt64
  ) -> ExtendedFloat {
    let shift = significand.leadingZeroBitCount
    return round(
      negative: negative, exponent: exponent &- Int32(truncatingIfNeeded: shift),
      UInt128(significand) << UInt128(truncatingIfNeeded: 64 &+ shift))
  }
}
