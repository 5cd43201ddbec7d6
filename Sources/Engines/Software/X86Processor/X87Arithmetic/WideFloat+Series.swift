/// Power series around one, by Horner's rule, in fixed point with 127 bits behind the point.
///
/// Each function here is its first term times a series that stays near one; so its relative error
/// is that of the series, some 2^-120, however small the argument.
extension WideFloat {
  private typealias Fixed = UInt128
  private static var unit: Fixed { 1 << 127 }

  /// The magnitude, which is below one, with all 128 bits behind the point.
  private var fraction: UInt128 { significand >> (-1 &- exponent) }

  private static func product(_ a: Fixed, _ fraction: UInt128) -> Fixed {
    a.multipliedFullWidth(by: fraction).high
  }

  private init(_ series: Fixed) { self.init(exponent: 0, normalizing: series) }

  /// e^x − 1 for |x| < 0.7: x (1 + x/2 (1 + x/3 (1 + …))).
  var exponentialLessOne: WideFloat {
    let x = fraction
    var sum = Self.unit
    for divisor in stride(from: UInt128(28), to: 1, by: -1) {
      let term = Self.product(sum, x) / divisor
      sum = isNegative ? Self.unit &- term : Self.unit &+ term
    }
    return self * WideFloat(sum)
  }

  /// The inverse hyperbolic tangent, for |x| < 0.2: x (1 + x²/3 + x⁴/5 + …).
  var hyperbolicArctangent: WideFloat {
    guard !isZero else { return self }
    let square = (self * self).fraction
    var sum: Fixed = 0
    for divisor in stride(from: UInt128(51), to: 0, by: -2) {
      sum = Self.unit / divisor &+ Self.product(sum, square)
    }
    return self * WideFloat(sum)
  }

  /// The arctangent, for |x| ≤ 1/16: x (1 − x²/3 + x⁴/5 − …), a trifle too small.
  private var shortArctangent: WideFloat {
    guard !isZero else { return self }
    let square = (self * self).fraction
    var sum: Fixed = 0
    for divisor in stride(from: UInt128(31), to: 0, by: -2) {
      sum = Self.unit / divisor &- Self.product(sum, square)
    }
    return self * WideFloat(sum &- 1)
  }

  /// The sine, for |x| < 0.8: x (1 − x²/(2·3) (1 − x²/(4·5) (1 − …))). `isShort` makes it a trifle
  /// too small, for the sake of rounding.
  func sine(isShort: Bool) -> WideFloat {
    let square = (self * self).fraction
    var sum = Self.unit
    for k in stride(from: UInt128(28), to: 0, by: -2) {
      sum = Self.unit &- Self.product(sum, square) / (k &* (k &+ 1))
    }
    return self * WideFloat(isShort ? sum &- 1 : sum)
  }

  /// The cosine, for |x| < 0.8: 1 − x²/(1·2) (1 − x²/(3·4) (1 − …)), a trifle too small.
  var cosine: WideFloat {
    let square = (self * self).fraction
    var sum = Self.unit
    for k in stride(from: UInt128(29), to: 0, by: -2) {
      sum = Self.unit &- Self.product(sum, square) / (k &* (k &+ 1))
    }
    return WideFloat(sum &- 1)
  }
}

// MARK: - Functions of any argument

extension WideFloat {
  /// The logarithm to base two of a positive number; exact for powers of two.
  var binaryLogarithm: WideFloat {
    // Bring the argument between √½ and √2.
    let isUpper = significand > 0xb504_f333_f9de_6484_597d_89b3_754a_be9f
    let scale = exponent &+ (isUpper ? 1 : 0)
    let m = WideFloat(exponent: isUpper ? -1 : 0, significand: significand)
    let ratio = (m - .one) / (m + .one)
    return WideFloat(scale) + ratio.binaryLogarithmOfRatio
  }

  /// The logarithm to base two of (1 + x) / (1 − x).
  var binaryLogarithmOfRatio: WideFloat { hyperbolicArctangent * .log2OfE.doubled() }

  /// The arctangent of a number from zero to one.
  var arctangent: WideFloat {
    // Find the nearest eighth c: atan x = atan c + atan((x − c) / (1 + x c)).
    let sixteenths = UInt8(truncatingIfNeeded: significand >> (123 &- exponent))
    let eighths = (sixteenths &+ 1) >> 1
    guard eighths != 0 else { return shortArctangent }
    let c = WideFloat(Int32(eighths)).doubled(-3)
    let rest = (self - c) / (.one + self * c)
    return Self.arctangent(ofEighths: eighths) + rest.shortArctangent
  }

  private static func arctangent(ofEighths eighths: UInt8) -> WideFloat {
    switch eighths {
    case 1: WideFloat(exponent: -4, significand: 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8)
    case 2: WideFloat(exponent: -3, significand: 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6)
    case 3: WideFloat(exponent: -2, significand: 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483)
    case 4: WideFloat(exponent: -2, significand: 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03)
    case 5: WideFloat(exponent: -1, significand: 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748)
    case 6: WideFloat(exponent: -1, significand: 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f)
    case 7: WideFloat(exponent: -1, significand: 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d)
    default: pi.doubled(-2)
    }
  }
}
