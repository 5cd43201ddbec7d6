/// A binary number of 128 significant bits, for what lies between the operands and the result of a
/// transcendental function: `significand` × 2^(`exponent` − 127), with the leading bit in place
/// unless the number is zero. Operations truncate.
struct WideFloat {
  var isNegative: Bool
  var exponent: Int32
  var significand: UInt128

  init(negative: Bool = false, exponent: Int32, significand: UInt128) {
    self.isNegative = negative
    self.exponent = exponent
    self.significand = significand
  }

  /// Moves the leading bit of a significand into place.
  init(negative: Bool = false, exponent: Int32, normalizing significand: UInt128) {
    let shift = significand.leadingZeroBitCount
    self.init(
      negative: negative, exponent: exponent &- Int32(truncatingIfNeeded: shift),
      significand: significand << shift)
  }

  /// Widens a finite number other than zero.
  init(_ value: ExtendedFloat) {
    let parts = NormalizedFloat(value)
    self.init(
      negative: parts.isNegative, exponent: parts.exponent &- ExtendedFloat.bias,
      significand: UInt128(parts.significand) << 64)
  }

  init(_ integer: Int32) {
    self.init(
      negative: integer < 0, exponent: 127, normalizing: UInt128(integer.magnitude))
  }
}

// MARK: - Numbers to know

extension WideFloat {
  static var one: WideFloat { WideFloat(exponent: 0, significand: 1 << 127) }
  static var pi: WideFloat {
    WideFloat(exponent: 1, significand: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1)
  }
  static var lnOf2: WideFloat {
    WideFloat(exponent: -1, significand: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af)
  }
  static var log2OfE: WideFloat {
    WideFloat(exponent: 0, significand: 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89)
  }
}

// MARK: - Arithmetic

extension WideFloat {
  var isZero: Bool { significand == 0 }

  var negated: WideFloat {
    WideFloat(negative: !isNegative, exponent: exponent, significand: significand)
  }

  /// Multiplied by two to the power of `count`.
  func doubled(_ count: Int32 = 1) -> WideFloat {
    WideFloat(negative: isNegative, exponent: exponent &+ count, significand: significand)
  }

  static func + (a: WideFloat, b: WideFloat) -> WideFloat {
    if a.isZero { return b }
    if b.isZero { return a }
    let swapped = (a.exponent, a.significand) < (b.exponent, b.significand)
    let (large, small) = swapped ? (b, a) : (a, b)
    let aligned = small.significand >> (large.exponent &- small.exponent)
    if large.isNegative != small.isNegative {
      return WideFloat(
        negative: large.isNegative, exponent: large.exponent,
        normalizing: large.significand &- aligned)
    }
    let (sum, carry) = large.significand.addingReportingOverflow(aligned)
    return carry
      ? WideFloat(
        negative: large.isNegative, exponent: large.exponent &+ 1, significand: sum >> 1 | 1 << 127)
      : WideFloat(negative: large.isNegative, exponent: large.exponent, significand: sum)
  }

  static func - (a: WideFloat, b: WideFloat) -> WideFloat { a + b.negated }

  static func * (a: WideFloat, b: WideFloat) -> WideFloat {
    let (high, low) = a.significand.multipliedFullWidth(by: b.significand)
    let isShort = high >> 127 == 0
    return WideFloat(
      negative: a.isNegative != b.isNegative,
      exponent: a.exponent &+ b.exponent &+ (isShort ? 0 : 1),
      significand: isShort ? high << 1 | low >> 127 : high)
  }

  static func / (a: WideFloat, b: WideFloat) -> WideFloat {
    let isBelowOne = a.significand < b.significand
    let quotient = b.significand.dividingFullWidth(
      isBelowOne ? (a.significand, 0) : (a.significand >> 1, a.significand << 127)
    ).quotient
    return WideFloat(
      negative: a.isNegative != b.isNegative,
      exponent: a.exponent &- b.exponent &- (isBelowOne ? 1 : 0), significand: quotient)
  }
}

// MARK: - Results

extension X87Environment {
  /// Rounds a number that only comes near the exact one, if `isInexact`, else the exact one.
  mutating func round(_ value: WideFloat, isInexact: Bool = true) -> ExtendedFloat {
    round(
      negative: value.isNegative, exponent: value.exponent &+ ExtendedFloat.bias,
      isInexact ? value.significand | 1 : value.significand)
  }
}
