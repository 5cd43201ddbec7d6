/// FDIV and FSQRT: SDM Vol. 1 §8.3.5 "Basic Arithmetic Instructions".
extension ExtendedFloat {
  func divided(by divisor: ExtendedFloat, _ environment: inout X87Environment) -> ExtendedFloat {
    let negative = isNegative != divisor.isNegative
    if let answer = environment.answer(to: self, divisor) { return answer }
    if isInfinity && divisor.isInfinity || isZero && divisor.isZero {
      return environment.invalid()
    }
    if divisor.isZero && !isInfinity {
      environment.raise(.zeroDivide)
      return .infinity(negative: negative)
    }
    if environment.stopsAtDenormal(isDenormal || divisor.isDenormal) { return self }
    if isInfinity { return .infinity(negative: negative) }
    if isZero || divisor.isInfinity { return .zero(negative: negative) }
    let a = NormalizedFloat(self)
    let b = NormalizedFloat(divisor)
    // The quotient of the significands lies between 1/2 and 2. Its leading bit is to be bit 63.
    let isBelowOne = a.significand < b.significand
    let (quotient, remainder) = b.significand.dividingFullWidth(
      isBelowOne ? (a.significand, 0) : (a.significand >> 1, a.significand << 63))
    return environment.round(
      negative: negative, exponent: a.exponent &- b.exponent &+ Self.bias &- (isBelowOne ? 1 : 0),
      UInt128(quotient) << 64 | UInt128(Self.rest(remainder, of: b.significand)),
      dropping: environment.unusedBits)
  }

  func squareRoot(_ environment: inout X87Environment) -> ExtendedFloat {
    if let answer = environment.answer(to: self) { return answer }
    if isZero { return self }
    if isNegative { return environment.invalid() }
    if environment.stopsAtDenormal(isDenormal) { return self }
    if isInfinity { return self }
    let a = NormalizedFloat(self)
    // Halve an even exponent; the square then has its leading bit at 126 or 127.
    let unbiased = a.exponent &- Self.bias
    let square = UInt128(a.significand) << (unbiased & 1 == 0 ? 63 : 64)
    let root = Self.integerSquareRoot(square)
    let remainder = square &- UInt128(root) &* UInt128(root)
    // The root plus a half is exceeded just when the remainder exceeds the root.
    let rest: UInt64 = remainder == 0 ? 0 : remainder > UInt128(root) ? .max : 1
    return environment.round(
      negative: false, exponent: unbiased >> 1 &+ Self.bias,
      UInt128(root) << 64 | UInt128(rest), dropping: environment.unusedBits)
  }
}

extension ExtendedFloat {
  /// What a remainder contributes behind the last bit of a quotient: below, at or above one half.
  private static func rest(_ remainder: UInt64, of divisor: UInt64) -> UInt64 {
    if remainder == 0 { return 0 }
    let complement = divisor &- remainder
    if remainder == complement { return 1 << 63 }
    return remainder > complement ? .max : 1
  }

  /// The largest integer whose square does not exceed `square`, which is at least 2^126.
  private static func integerSquareRoot(_ square: UInt128) -> UInt64 {
    // In integers throughout: the host's own floating point would leave its flags in the guest's MXCSR. A straight
    // line is right to 4 bits, each step of Heron's method to twice as many.
    let high = UInt64(truncatingIfNeeded: square >> 64)
    var half = 1 << 31 &+ (high &- 1 << 62) / (3 << 31)
    for _ in 0..<3 { half = (half &+ high / half) >> 1 }
    let estimate = UInt128(half) << 32
    var root = (estimate &+ square / estimate) >> 1
    root = min(root, UInt128(UInt64.max))
    while root &* root > square { root &-= 1 }
    while root < UInt128(UInt64.max), (root &+ 1) &* (root &+ 1) <= square { root &+= 1 }
    return UInt64(truncatingIfNeeded: root)
  }
}
