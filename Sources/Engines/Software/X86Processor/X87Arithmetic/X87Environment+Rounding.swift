/// Rounding to the formats of the x87 FPU: SDM Vol. 1 §4.8.4 "Rounding", §8.5.4 to §8.5.6.
extension X87Environment {
  /// What overflow and underflow add to or take from an exponent when they are not masked.
  static var biasAdjustment: Int32 { 24576 }

  /// Whether a magnitude moves up to the next one, when `lost` falls away behind its last bit: the
  /// top bit of `lost` is worth one half, and the lowest stands for all that lay below.
  @inline(__always)
  func roundsUp(negative: Bool, odd: Bool, lost: UInt64) -> Bool {
    switch control.rounding {
    case .nearest: lost > 1 << 63 || lost == 1 << 63 && odd
    case .down: lost != 0 && negative
    case .up: lost != 0 && !negative
    case .towardZero: false
    }
  }

  /// The bits of an extended significand that precision control leaves unused.
  var unusedBits: UInt64 {
    switch control.precision {
    case .single: 40
    case .double: 11
    case .reserved, .extended: 0
    }
  }

  /// Rounds the value `significand` × 2^(`exponent` − bias − 127), which has its leading bit in
  /// place, to an extended significand with its last `dropping` bits zero.
  mutating func round(
    negative: Bool, exponent: Int32, _ significand: UInt128, dropping: UInt64 = 0
  ) -> ExtendedFloat {
    let ideal = cut(significand, dropping, negative: negative)
    let carried = exponent &+ (ideal.carry ? 1 : 0)
    if carried < 1 {
      return roundTiny(
        negative: negative, exponent: exponent, significand, ideal, dropping: dropping)
    }
    note(ideal)
    if carried > 0x7ffe {
      return overflowed(negative: negative, exponent: carried, ideal, dropping: dropping)
    }
    return ExtendedFloat(
      negative: negative, exponent: UInt16(truncatingIfNeeded: carried), significand: ideal.kept)
  }

  /// Rounds as `round` does, to all the precision there is, a value that is not quite the exact one.
  mutating func roundInexact(
    negative: Bool, exponent: Int32, _ significand: UInt128
  ) -> ExtendedFloat {
    round(negative: negative, exponent: exponent, significand | 1)
  }
}

// MARK: - Steps

extension X87Environment {
  /// A significand cut to its final length.
  private struct Cut {
    var kept: UInt64
    var isInexact: Bool
    var isUp: Bool
    /// Whether rounding up carried out of the top: the exponent is then one more.
    var carry: Bool
  }

  private func cut(_ significand: UInt128, _ dropping: UInt64, negative: Bool) -> Cut {
    let high = UInt64(truncatingIfNeeded: significand >> 64)
    let low = UInt64(truncatingIfNeeded: significand)
    let unit: UInt64 = 1 << dropping
    let kept = high & ~(unit &- 1)
    let lost = dropping == 0 ? low : high << (64 &- dropping) | (low == 0 ? 0 : 1)
    let isUp = roundsUp(negative: negative, odd: high & unit != 0, lost: lost)
    var cut = Cut(kept: kept, isInexact: lost != 0, isUp: isUp, carry: false)
    if isUp {
      cut.kept = kept &+ unit
      cut.carry = cut.kept == 0
      if cut.carry { cut.kept = ExtendedFloat.integerBit }
    }
    return cut
  }

  private mutating func note(_ cut: Cut) {
    roundedUp = cut.isUp
    if cut.isInexact { raise(.precision) }
  }

  /// §8.5.4 "Numeric Overflow Exception". `exponent` is that of the rounded value.
  private mutating func overflowed(
    negative: Bool, exponent: Int32, _ cut: Cut, dropping: UInt64
  ) -> ExtendedFloat {
    raise(.overflow)
    guard masks(.overflow) else {
      let adjusted = exponent &- Self.biasAdjustment
      guard adjusted < 0x7fff else { return massively(.infinity(negative: negative)) }
      return ExtendedFloat(
        negative: negative, exponent: UInt16(truncatingIfNeeded: adjusted), significand: cut.kept)
    }
    raise(.precision)
    roundedUp = roundsUp(negative: negative, odd: true, lost: .max)
    return roundedUp
      ? .infinity(negative: negative)
      : ExtendedFloat(
        negative: negative, exponent: 0x7ffe, significand: ~((1 << dropping) &- 1))
  }

  /// What FSCALE gives when even the adjusted exponent does not fit.
  private mutating func massively(_ result: ExtendedFloat) -> ExtendedFloat {
    raise(.precision)
    roundedUp = result.isInfinity
    return result
  }

  /// §8.5.5 "Numeric Underflow Exception". The value stays tiny after `ideal` rounding, which took
  /// no notice of the smallest exponent.
  private mutating func roundTiny(
    negative: Bool, exponent: Int32, _ significand: UInt128, _ ideal: Cut, dropping: UInt64
  ) -> ExtendedFloat {
    guard masks(.underflow) else {
      raise(.underflow)
      note(ideal)
      let adjusted = exponent &+ (ideal.carry ? 1 : 0) &+ Self.biasAdjustment
      guard adjusted > 0 else { return massively(.zero(negative: negative)) }
      return ExtendedFloat(
        negative: negative, exponent: UInt16(truncatingIfNeeded: adjusted), significand: ideal.kept)
    }
    let denormal = cut(
      significand.shiftedRightJamming(1 &- exponent), dropping, negative: negative)
    note(denormal)
    if denormal.isInexact { raise(.underflow) }
    // Rounding may yet have reached the smallest normal number, whose exponent field is 1.
    let field: UInt16 = denormal.kept & ExtendedFloat.integerBit == 0 ? 0 : 1
    return ExtendedFloat(negative: negative, exponent: field, significand: denormal.kept)
  }
}

extension UInt128 {
  /// Shifted right, with the lowest bit set if any bit that fell off was.
  @inline(__always)
  func shiftedRightJamming(_ count: Int32) -> UInt128 {
    let shifted = self >> count
    return shifted << count == self ? shifted : shifted | 1
  }
}
