/// FMUL: SDM Vol. 1 §8.3.5 "Basic Arithmetic Instructions".
extension ExtendedFloat {
  @inline(__always)
  func multiplied(
    by other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    if let product = plainProduct(other, &environment) { return product }
    return product(other, &environment)
  }

  /// The product of two normal numbers, rounded to nearest at full precision, if it too is normal.
  @inline(__always)
  private func plainProduct(
    _ other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat? {
    guard environment.control.isPlain, !environment.widenedDenormal, isNormal, other.isNormal
    else { return nil }
    let sum = Int32(exponent) &+ Int32(other.exponent) &- Self.bias
    guard sum > 0, sum < 0x7ffd else { return nil }
    let (wide, carry) = Self.product(significand, other.significand)
    return environment.roundPlain(
      sign: (signExponent ^ other.signExponent) & 0x8000,
      exponent: UInt16(truncatingIfNeeded: sum) &+ (carry ? 1 : 0), wide)
  }

  private func product(
    _ other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    let negative = isNegative != other.isNegative
    if let answer = environment.answer(to: self, other) { return answer }
    if isInfinity && other.isZero || isZero && other.isInfinity { return environment.invalid() }
    if environment.stopsAtDenormal(isDenormal || other.isDenormal) { return self }
    if isInfinity || other.isInfinity { return .infinity(negative: negative) }
    if isZero || other.isZero { return .zero(negative: negative) }
    let a = NormalizedFloat(self)
    let b = NormalizedFloat(other)
    let (wide, carry) = Self.product(a.significand, b.significand)
    return environment.round(
      negative: negative, exponent: a.exponent &+ b.exponent &- Self.bias &+ (carry ? 1 : 0), wide,
      dropping: environment.unusedBits)
  }

  /// The product of two normalized significands, normalized; with `carry` it is twice as large.
  @inline(__always)
  private static func product(_ a: UInt64, _ b: UInt64) -> (wide: UInt128, carry: Bool) {
    let (high, low) = a.multipliedFullWidth(by: b)
    let wide = UInt128(high) << 64 | UInt128(low)
    return high & integerBit == 0 ? (wide << 1, false) : (wide, true)
  }
}
