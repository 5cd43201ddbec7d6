/// FADD and FSUB: SDM Vol. 1 §8.3.5 "Basic Arithmetic Instructions".
extension ExtendedFloat {
  @inline(__always)
  func adding(_ other: ExtendedFloat, _ environment: inout X87Environment) -> ExtendedFloat {
    if let sum = plainSum(other, &environment) { return sum }
    return sum(self, other, &environment)
  }

  @inline(__always)
  func subtracting(_ other: ExtendedFloat, _ environment: inout X87Environment) -> ExtendedFloat {
    if let sum = plainSum(other.negated, &environment) { return sum }
    return difference(other, &environment)
  }
}

// MARK: - The common case

extension ExtendedFloat {
  /// The sum of two normal numbers, rounded to nearest at full precision, if it too is normal;
  /// `nil` leaves everything to the general case.
  @inline(__always)
  private func plainSum(
    _ other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat? {
    guard environment.control.isPlain, !environment.widenedDenormal, isNormal, other.isNormal
    else { return nil }
    let swapped = exponent < other.exponent
    let large = swapped ? other : self
    let small = swapped ? self : other
    let distance = large.exponent &- small.exponent
    guard distance < 64 else { return nil }
    var exponent = large.exponent
    var wide: UInt128
    let aligned = (UInt128(small.significand) << 64) &>> UInt128(truncatingIfNeeded: distance)
    if signExponent & 0x8000 == other.signExponent & 0x8000 {
      let (sum, carry) = (UInt128(large.significand) << 64).addingReportingOverflow(aligned)
      // At most 127 bits are in use below a carry, so that nothing is lost here.
      wide = carry ? sum >> 1 | 1 << 127 : sum
      exponent &+= carry ? 1 : 0
      if carry && sum & 1 != 0 { wide |= 1 }
    } else {
      let minuend = UInt128(large.significand) << 64
      guard minuend > aligned else { return nil }
      wide = minuend &- aligned
      let shift = UInt16(truncatingIfNeeded: wide.leadingZeroBitCount)
      guard exponent > shift else { return nil }
      wide <<= UInt128(truncatingIfNeeded: shift)
      exponent &-= shift
    }
    return environment.roundPlain(
      sign: large.signExponent & 0x8000, exponent: exponent, wide)
  }
}

extension X87Environment {
  /// Rounds a normalized value to nearest; `nil` if it may leave the normal range.
  @inline(__always)
  mutating func roundPlain(sign: UInt16, exponent: UInt16, _ wide: UInt128) -> ExtendedFloat? {
    guard exponent < 0x7ffe else { return nil }
    let lost = UInt64(truncatingIfNeeded: wide)
    var kept = UInt64(truncatingIfNeeded: wide >> 64)
    var exponent = exponent
    if lost != 0 {
      raise(.precision)
      if lost > 1 << 63 || lost == 1 << 63 && kept & 1 != 0 {
        roundedUp = true
        kept &+= 1
        if kept == 0 {
          kept = ExtendedFloat.integerBit
          exponent &+= 1
        }
      }
    }
    return ExtendedFloat(significand: kept, signExponent: sign | exponent)
  }
}

// MARK: - The general case

extension ExtendedFloat {
  /// A NaN to be subtracted keeps its sign; anything else is added with the opposite one.
  private func difference(
    _ other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    if let answer = environment.answer(to: self, other) { return answer }
    return sum(self, other.negated, &environment)
  }

  private func sum(
    _ a: ExtendedFloat, _ b: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    if let answer = environment.answer(to: a, b) { return answer }
    if a.isInfinity && b.isInfinity && a.isNegative != b.isNegative {
      return environment.invalid()
    }
    if environment.stopsAtDenormal(a.isDenormal || b.isDenormal) { return a }
    if a.isInfinity { return a }
    if b.isInfinity { return b }
    if a.isZero && b.isZero {
      return a.isNegative == b.isNegative ? a : environment.exactZero
    }
    if a.isZero { return environment.rounded(NormalizedFloat(b)) }
    if b.isZero { return environment.rounded(NormalizedFloat(a)) }
    return environment.sum(NormalizedFloat(a), NormalizedFloat(b))
  }
}

extension X87Environment {
  /// The zero that is the difference of two equal numbers.
  fileprivate var exactZero: ExtendedFloat { .zero(negative: control.rounding == .down) }

  fileprivate mutating func rounded(_ value: NormalizedFloat) -> ExtendedFloat {
    round(
      negative: value.isNegative, exponent: value.exponent, UInt128(value.significand) << 64,
      dropping: unusedBits)
  }

  fileprivate mutating func sum(_ a: NormalizedFloat, _ b: NormalizedFloat) -> ExtendedFloat {
    let swapped = (a.exponent, a.significand) < (b.exponent, b.significand)
    let (large, small) = swapped ? (b, a) : (a, b)
    let wide = UInt128(large.significand) << 64
    let aligned = (UInt128(small.significand) << 64)
      .shiftedRightJamming(large.exponent &- small.exponent)
    if large.isNegative == small.isNegative {
      let (sum, carry) = wide.addingReportingOverflow(aligned)
      return round(
        negative: large.isNegative, exponent: large.exponent &+ (carry ? 1 : 0),
        carry ? sum.shiftedRightJamming(1) | 1 << 127 : sum, dropping: unusedBits)
    }
    let difference = wide &- aligned
    if difference == 0 { return exactZero }
    let shift = difference.leadingZeroBitCount
    return round(
      negative: large.isNegative, exponent: large.exponent &- Int32(truncatingIfNeeded: shift),
      difference << UInt128(truncatingIfNeeded: shift), dropping: unusedBits)
  }
}
