/// The exceptions of the x87 FPU, placed as in the status word: SDM Vol. 1 §8.5.
struct X87Exceptions: OptionSet, BitwiseCopyable, Sendable {
  let rawValue: UInt8

  static var invalid: Self { Self(rawValue: 1 << 0) }
  static var denormal: Self { Self(rawValue: 1 << 1) }
  static var zeroDivide: Self { Self(rawValue: 1 << 2) }
  static var overflow: Self { Self(rawValue: 1 << 3) }
  static var underflow: Self { Self(rawValue: 1 << 4) }
  static var precision: Self { Self(rawValue: 1 << 5) }

  /// What is found out before a result is computed. Unmasked, it leaves the destination alone.
  static var beforeResult: Self { [.invalid, .denormal, .zeroDivide] }
  static var all: Self { Self(rawValue: 0x3f) }
}

/// The x87 FPU control word: SDM Vol. 1 §8.1.5.
struct X87Control: Equatable, BitwiseCopyable, Sendable {
  var rawValue: UInt16

  /// §8.1.5.3 "Rounding Control Field".
  enum Rounding: UInt16 { case nearest, down, up, towardZero }
  /// §8.1.5.2 "Precision Control Field".
  enum Precision: UInt16 { case single, reserved, double, extended }

  @inline(__always)
  init(rawValue: UInt16) { self.rawValue = rawValue }

  var masks: X87Exceptions {
    get { X87Exceptions(rawValue: UInt8(truncatingIfNeeded: rawValue) & 0x3f) }
    set { rawValue = rawValue & ~0x3f | UInt16(newValue.rawValue) }
  }

  var rounding: Rounding {
    get {
      switch rawValue >> 10 & 3 {
      case 0: .nearest
      case 1: .down
      case 2: .up
      default: .towardZero
      }
    }
    set { rawValue = rawValue & ~0x0c00 | newValue.rawValue << 10 }
  }

  var precision: Precision {
    get {
      switch rawValue >> 8 & 3 {
      case 0: .single
      case 1: .reserved
      case 2: .double
      default: .extended
      }
    }
    set { rawValue = rawValue & ~0x0300 | newValue.rawValue << 8 }
  }

  /// Round to nearest at full precision, as nearly every program leaves it.
  @inline(__always)
  var isPlain: Bool { rawValue & 0x0f00 == 0x0300 }

  /// After FINIT: SDM Vol. 1 §8.1.5.
  static var initial: Self { Self(rawValue: 0x037f) }
}

/// What one operation is told by the control word, and what it has to tell the status word.
struct X87Environment: BitwiseCopyable, Sendable {
  let control: X87Control
  /// The exceptions met so far.
  var raised: X87Exceptions = []
  /// Whether the result was rounded away from zero: what C1 reports.
  var roundedUp = false
  /// Whether an operand was a denormal of the shorter format that it was widened from.
  var widenedDenormal = false

  @inline(__always)
  init(_ control: X87Control) { self.control = control }

  /// What was raised and not masked.
  @inline(__always)
  var unmasked: X87Exceptions { raised.subtracting(control.masks) }

  @inline(__always)
  func masks(_ exception: X87Exceptions) -> Bool { control.masks.contains(exception) }

  @inline(__always)
  mutating func raise(_ exception: X87Exceptions) { raised.formUnion(exception) }
}

// MARK: - Operands that are no ordinary numbers

extension X87Environment {
  /// The answer to an invalid arithmetic operand.
  mutating func invalid() -> ExtendedFloat {
    raise(.invalid)
    return .indefinite
  }

  /// What comes of an operand that is a NaN or of an unsupported format; `nil` for a number.
  mutating func answer(to a: ExtendedFloat) -> ExtendedFloat? {
    if a.isUnsupported { return invalid() }
    guard a.isNaN else { return nil }
    if a.isSignalingNaN { raise(.invalid) }
    return a.quieted
  }

  /// The same for two operands; of two NaNs it is the quiet one, then the one with the larger
  /// significand, then the positive one.
  ///
  /// - SeeAlso: Intel SDM Vol. 1 Table 4-7 "Rules for Handling NaNs".
  mutating func answer(to a: ExtendedFloat, _ b: ExtendedFloat) -> ExtendedFloat? {
    if a.isUnsupported || b.isUnsupported { return invalid() }
    guard a.isNaN else { return answer(to: b) }
    guard b.isNaN else { return answer(to: a) }
    if a.isSignalingNaN || b.isSignalingNaN { raise(.invalid) }
    if a.isSignalingNaN != b.isSignalingNaN { return a.isSignalingNaN ? b : a }
    if a.significand != b.significand {
      return a.significand > b.significand ? a.quieted : b.quieted
    }
    return a.isNegative ? b.quieted : a.quieted
  }

  /// Reports a denormal operand; true if the operation must stop at that.
  mutating func stopsAtDenormal(_ isDenormal: Bool) -> Bool {
    guard isDenormal || widenedDenormal else { return false }
    raise(.denormal)
    return !masks(.denormal)
  }
}
