/// Conversion from and to single and double precision: SDM Vol. 1 §4.2.2, §8.3.3.
extension ExtendedFloat {
  /// An interchange format of IEEE 754 as the x87 FPU reads and writes it: SDM Vol. 1 Table 4-2.
  enum Format {
    case single, double

    var fractionBits: UInt64 { self == .single ? 23 : 52 }
    var topExponent: UInt64 { self == .single ? 0xff : 0x7ff }
    var bias: Int32 { self == .single ? 127 : 1023 }
    var signShift: UInt64 { self == .single ? 31 : 63 }
  }

  /// Widens without loss. NaNs keep their kind, and `wasDenormal` tells what the value no longer
  /// shows; reporting either is left to the operation that uses the value.
  @inline(__always)
  init(widening bits: UInt64, from format: Format, wasDenormal: inout Bool) {
    let negative = bits >> format.signShift & 1 != 0
    let field = bits >> format.fractionBits & format.topExponent
    let fraction = (bits << (64 &- format.fractionBits)) >> 1
    if _fastPath(field &- 1 < format.topExponent &- 1) {
      let exponent = Int32(truncatingIfNeeded: field) &+ (Self.bias &- format.bias)
      self.init(
        negative: negative, exponent: UInt16(truncatingIfNeeded: exponent),
        significand: fraction | Self.integerBit)
    } else if field != 0 {
      self.init(
        negative: negative, exponent: Self.topExponent, significand: fraction | Self.integerBit)
    } else if fraction == 0 {
      self = .zero(negative: negative)
    } else {
      wasDenormal = true
      let shift = fraction.leadingZeroBitCount
      let exponent = Self.bias &- format.bias &+ 1 &- Int32(truncatingIfNeeded: shift)
      self.init(
        negative: negative, exponent: UInt16(truncatingIfNeeded: exponent),
        significand: fraction << UInt64(truncatingIfNeeded: shift))
    }
  }

  /// What FLD makes of a widened value: signaling NaNs become quiet, and denormals are reported.
  @inline(__always)
  func loaded(_ environment: inout X87Environment) -> ExtendedFloat {
    if _slowPath(isNaN) { return environment.answer(to: self) ?? self }
    if _slowPath(environment.widenedDenormal) { environment.raise(.denormal) }
    return self
  }

  /// Rounds to a shorter format. An unmasked exception means that there is nothing to store.
  @inline(__always)
  func narrowed(to format: Format, _ environment: inout X87Environment) -> UInt64 {
    let exponent = Int32(exponent) &- (Self.bias &- format.bias)
    let lostBits = 63 &- format.fractionBits
    // Exact, and normal in both formats.
    if exponent > 0, exponent < Int32(truncatingIfNeeded: format.topExponent), hasIntegerBit,
      significand << (64 &- lostBits) == 0
    {
      return (isNegative ? 1 : 0) << format.signShift
        | UInt64(truncatingIfNeeded: exponent) << format.fractionBits
        | (significand << 1) >> (64 &- format.fractionBits)
    }
    return environment.narrow(self, to: format)
  }
}

extension X87Environment {
  fileprivate mutating func narrow(
    _ value: ExtendedFloat, to format: ExtendedFloat.Format
  ) -> UInt64 {
    let sign: UInt64 = (value.isNegative ? 1 : 0) << format.signShift
    let infinity = format.topExponent << format.fractionBits
    if let nan = answer(to: value) {
      let sign: UInt64 = (nan.isNegative ? 1 : 0) << format.signShift
      return sign | infinity | (nan.significand << 1) >> (64 &- format.fractionBits)
    }
    if value.isInfinity { return sign | infinity }
    if value.isZero { return sign }
    let number = NormalizedFloat(value)
    let exponent = number.exponent &- (ExtendedFloat.bias &- format.bias)
    let isTooLarge = exponent >= Int32(truncatingIfNeeded: format.topExponent)
    let bits = isTooLarge ? infinity : roundToFraction(number, exponent, format)
    if bits >= infinity {
      guard masks(.overflow) else { return refuse(.overflow) }
      raise([.overflow, .precision])
      roundedUp = roundsUp(negative: value.isNegative, odd: true, lost: .max)
      return sign | (roundedUp ? infinity : infinity &- 1)
    }
    return sign | bits
  }

  /// An unmasked exception of which nothing comes: the value stays on the stack, not yet rounded.
  private mutating func refuse(_ exception: X87Exceptions) -> UInt64 {
    raised = exception
    roundedUp = false
    return 0
  }

  /// Exponent and fraction fields of the rounded value; too large ones tell overflow.
  private mutating func roundToFraction(
    _ number: NormalizedFloat, _ exponent: Int32, _ format: ExtendedFloat.Format
  ) -> UInt64 {
    let unrounded = UInt128(number.significand) << (format.fractionBits &+ 1)
    let ideal = roundWhole(unrounded, negative: number.isNegative)
    let carries = ideal >> (format.fractionBits &+ 1) != 0
    guard exponent &+ (carries ? 1 : 0) < 1 else {
      // The leading bit adds one to the exponent field, and so does a carry out of the fraction.
      return UInt64(truncatingIfNeeded: exponent &- 1) << format.fractionBits &+ ideal
    }
    guard masks(.underflow) else { return refuse(.underflow) }
    raised.remove(.precision)
    let denormal = roundWhole(
      unrounded.shiftedRightJamming(1 &- exponent), negative: number.isNegative)
    if raised.contains(.precision) { raise(.underflow) }
    return denormal
  }

  /// Rounds a fixed-point number with 64 bits of fraction to an integer.
  private mutating func roundWhole(_ fixed: UInt128, negative: Bool) -> UInt64 {
    let whole = UInt64(truncatingIfNeeded: fixed >> 64)
    let lost = UInt64(truncatingIfNeeded: fixed)
    roundedUp = roundsUp(negative: negative, odd: whole & 1 != 0, lost: lost)
    if lost != 0 { raise(.precision) }
    return roundedUp ? whole &+ 1 : whole
  }
}
