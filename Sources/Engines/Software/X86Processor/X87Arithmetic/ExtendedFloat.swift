/// A double extended-precision value as it lies in an x87 register: an explicit integer bit and 63
/// bits of fraction, 15 bits of exponent, a sign.
///
/// The guest's numbers are computed with integers only, so that they come out alike on every host; but for the
/// transcendental functions, which are the host's where it has them.
///
/// - SeeAlso: Intel SDM Vol. 1 §4.2.2 "Floating-Point Data Types", §8.2 "x87 FPU Data Types".
struct ExtendedFloat: Equatable, BitwiseCopyable, Sendable {
  var significand: UInt64
  var signExponent: UInt16

  @inline(__always)
  init(significand: UInt64, signExponent: UInt16) {
    self.significand = significand
    self.signExponent = signExponent
  }

  /// `significand` × 2^(`exponent` − bias − 63), negated if `negative`.
  @inline(__always)
  init(negative: Bool, exponent: UInt16, significand: UInt64) {
    self.significand = significand
    self.signExponent = exponent | (negative ? 0x8000 : 0)
  }
}

// MARK: - Fields

extension ExtendedFloat {
  /// What is added to the exponent of a normal number: SDM Vol. 1 Table 4-2.
  static var bias: Int32 { 16383 }
  /// The exponent field of infinities and NaNs.
  static var topExponent: UInt16 { 0x7fff }
  static var integerBit: UInt64 { 1 << 63 }
  /// The bit that tells a quiet NaN from a signaling one.
  static var quietBit: UInt64 { 1 << 62 }

  var isNegative: Bool { signExponent & 0x8000 != 0 }
  var exponent: UInt16 { signExponent & 0x7fff }
  var hasIntegerBit: Bool { significand & Self.integerBit != 0 }

  var magnitude: ExtendedFloat {
    ExtendedFloat(significand: significand, signExponent: exponent)
  }
  var negated: ExtendedFloat {
    ExtendedFloat(significand: significand, signExponent: signExponent ^ 0x8000)
  }
}

// MARK: - Distinguished values

extension ExtendedFloat {
  static var one: ExtendedFloat { ExtendedFloat(significand: integerBit, signExponent: 0x3fff) }
  /// The QNaN floating-point indefinite, the answer to a masked invalid operation: SDM Vol. 1
  /// §4.8.3.7.
  static var indefinite: ExtendedFloat {
    ExtendedFloat(significand: integerBit | quietBit, signExponent: 0xffff)
  }

  static func zero(negative: Bool = false) -> ExtendedFloat {
    ExtendedFloat(negative: negative, exponent: 0, significand: 0)
  }

  static func infinity(negative: Bool = false) -> ExtendedFloat {
    ExtendedFloat(negative: negative, exponent: topExponent, significand: integerBit)
  }
}

// MARK: - Classes

extension ExtendedFloat {
  var isZero: Bool { exponent == 0 && significand == 0 }
  /// Denormal or pseudo-denormal: the processor computes with both, and reports both.
  var isDenormal: Bool { exponent == 0 && significand != 0 }
  var isNormal: Bool { exponent &- 1 < 0x7ffe && hasIntegerBit }
  var isInfinity: Bool { exponent == Self.topExponent && significand == Self.integerBit }
  var isNaN: Bool { exponent == Self.topExponent && significand > Self.integerBit }
  var isSignalingNaN: Bool { isNaN && significand & Self.quietBit == 0 }
  /// An unnormal, pseudo-infinity or pseudo-NaN, which the processor no longer supports: SDM Vol. 1
  /// §8.2.2 "Unsupported Double Extended-Precision Floating-Point Encodings and Pseudo-Denormals".
  var isUnsupported: Bool { exponent != 0 && !hasIntegerBit }

  /// A NaN made quiet.
  var quieted: ExtendedFloat {
    ExtendedFloat(significand: significand | Self.quietBit, signExponent: signExponent)
  }

  /// What FXAM finds in a register that is not empty.
  enum Class: UInt8 { case unsupported, nan, normal, infinity, zero, denormal }

  var classification: Class {
    if isUnsupported { return .unsupported }
    if exponent == 0 { return significand == 0 ? .zero : .denormal }
    if exponent != Self.topExponent { return .normal }
    return isInfinity ? .infinity : .nan
  }
}

// MARK: - Finite numbers, taken apart

/// A finite number other than zero, with its leading bit moved to bit 63: the value is
/// `significand` × 2^(`exponent` − bias − 63).
struct NormalizedFloat {
  var isNegative: Bool
  var exponent: Int32
  var significand: UInt64

  /// Takes apart `value`, which must be finite and not zero.
  @inline(__always)
  init(_ value: ExtendedFloat) {
    let shift = value.significand.leadingZeroBitCount
    isNegative = value.isNegative
    exponent = Int32(max(value.exponent, 1)) &- Int32(truncatingIfNeeded: shift)
    significand = value.significand << UInt64(truncatingIfNeeded: shift)
  }
}
