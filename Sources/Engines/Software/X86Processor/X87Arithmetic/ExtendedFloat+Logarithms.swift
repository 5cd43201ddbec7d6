/// F2XM1, FYL2X and FYL2XP1: SDM Vol. 1 §8.3.9 "Logarithmic, Exponential, and Scale".
extension ExtendedFloat {
  private static var half: ExtendedFloat {
    ExtendedFloat(significand: integerBit, signExponent: 0x3ffe)
  }

  /// Two to the power of this number, less one. Beyond ±1, where the manual leaves the result
  /// undefined, the operand stays.
  func exponential(_ environment: inout X87Environment) -> ExtendedFloat {
    if let answer = environment.answer(to: self) { return answer }
    if isInfinity { return isNegative ? .one.negated : self }
    if environment.stopsAtDenormal(isDenormal) || isZero { return self }
    guard exponent < 0x3fff else {
      return self == .one.negated ? Self.half.negated : self
    }
    return environment.round((WideFloat(self) * .lnOf2).exponentialLessOne)
  }

  /// `factor` times the logarithm to base two of this number.
  func logarithm(
    times factor: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    if let answer = environment.answer(to: self, factor) { return answer }
    if isZero {
      if factor.isZero { return environment.invalid() }
      if !factor.isInfinity { environment.raise(.zeroDivide) }
      return .infinity(negative: !factor.isNegative)
    }
    let isOne = self == .one
    if isNegative || isOne && factor.isInfinity || isInfinity && factor.isZero {
      return environment.invalid()
    }
    if environment.stopsAtDenormal(isDenormal || factor.isDenormal) { return self }
    // Below one, the logarithm is negative.
    let negative = factor.isNegative != (exponent < 0x3fff)
    if isInfinity || factor.isInfinity { return .infinity(negative: negative) }
    if isOne || factor.isZero { return .zero(negative: negative) }
    let isPowerOfTwo = NormalizedFloat(self).significand == Self.integerBit
    return environment.round(
      WideFloat(factor) * WideFloat(self).binaryLogarithm, isInexact: !isPowerOfTwo)
  }

  /// `factor` times the logarithm to base two of one more than this number. The manual gives it
  /// from −(1 − √½) to √2 − 1; it is computed wherever there is one, and invalid elsewhere.
  func logarithmOfSuccessor(
    times factor: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    if let answer = environment.answer(to: self, factor) { return answer }
    let isOutside = isNegative && exponent >= 0x3fff
    if isOutside || isZero && factor.isInfinity || isInfinity && factor.isZero {
      return environment.invalid()
    }
    if environment.stopsAtDenormal(isDenormal || factor.isDenormal) { return self }
    let negative = isNegative != factor.isNegative
    if isInfinity || factor.isInfinity { return .infinity(negative: negative) }
    if isZero || factor.isZero { return .zero(negative: negative) }
    let x = WideFloat(self)
    let logarithm =
      exponent < 0x3ffd
      ? (x / (x + WideFloat(2))).binaryLogarithmOfRatio : (x + .one).binaryLogarithm
    return environment.round(WideFloat(factor) * logarithm)
  }
}
