/// FRNDINT, FSCALE and FXTRACT: SDM Vol. 1 §8.3.5 "Basic Arithmetic Instructions", §8.3.9
/// "Logarithmic, Exponential, and Scale".
extension ExtendedFloat {
  /// The nearest integral value by the rounding control.
  func roundedToIntegral(_ environment: inout X87Environment) -> ExtendedFloat {
    if let answer = environment.answer(to: self) { return answer }
    if environment.stopsAtDenormal(isDenormal) || isInfinity || isZero { return self }
    guard exponent < 0x3fff + 63 else { return self }
    let integer = environment.roundToInteger(self)
    guard integer != 0 else { return .zero(negative: isNegative) }
    let shift = integer.leadingZeroBitCount
    return ExtendedFloat(
      negative: isNegative, exponent: 0x3fff + 63 - UInt16(truncatingIfNeeded: shift),
      significand: integer << UInt64(truncatingIfNeeded: shift))
  }

  /// Multiplied by two to the power of `scale`, truncated to an integer.
  func scaled(by scale: ExtendedFloat, _ environment: inout X87Environment) -> ExtendedFloat {
    if let answer = environment.answer(to: self, scale) { return answer }
    if scale.isInfinity && (scale.isNegative ? isInfinity : isZero) {
      return environment.invalid()
    }
    if environment.stopsAtDenormal(isDenormal || scale.isDenormal) { return self }
    if isInfinity || isZero { return self }
    if scale.isInfinity {
      return scale.isNegative ? .zero(negative: isNegative) : .infinity(negative: isNegative)
    }
    let value = NormalizedFloat(self)
    return environment.round(
      negative: isNegative, exponent: value.exponent &+ scale.truncatedScale,
      UInt128(value.significand) << 64)
  }

  /// The integer part, held within ±65536: beyond that, every result is massively out of range.
  private var truncatedScale: Int32 {
    guard exponent >= 0x3fff else { return 0 }
    let distance = UInt64(exponent &- 0x3fff)
    let size = distance < 16 ? Int32(truncatingIfNeeded: significand >> (63 &- distance)) : 65536
    return isNegative ? -size : size
  }

  /// The exponent as a number, and the significand as one between 1 and 2 with the sign of the
  /// whole.
  func extracted(
    _ environment: inout X87Environment
  ) -> (exponent: ExtendedFloat, significand: ExtendedFloat) {
    if let answer = environment.answer(to: self) { return (answer, answer) }
    if isInfinity { return (.infinity(), self) }
    if isZero {
      environment.raise(.zeroDivide)
      return (.infinity(negative: true), self)
    }
    if environment.stopsAtDenormal(isDenormal) { return (self, self) }
    let value = NormalizedFloat(self)
    return (
      ExtendedFloat(Int64(value.exponent &- Self.bias)),
      ExtendedFloat(negative: isNegative, exponent: 0x3fff, significand: value.significand)
    )
  }
}
