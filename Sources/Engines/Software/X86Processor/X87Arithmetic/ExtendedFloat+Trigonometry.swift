/// FSIN, FCOS, FSINCOS, FPTAN and FPATAN: SDM Vol. 1 §8.3.7 "Trigonometric Instructions".
///
/// `nil` is an operand of 2^63 or more, which the processor refuses.
extension ExtendedFloat {
  func sine(_ environment: inout X87Environment) -> ExtendedFloat? {
    special(&environment, atZero: self) ?? angle.map { environment.round($0.sine) }
  }

  func cosine(_ environment: inout X87Environment) -> ExtendedFloat? {
    special(&environment, atZero: .one) ?? angle.map { environment.round($0.cosine) }
  }

  func tangent(_ environment: inout X87Environment) -> ExtendedFloat? {
    special(&environment, atZero: self) ?? angle.map { environment.round($0.tangent) }
  }

  func sineAndCosine(
    _ environment: inout X87Environment
  ) -> (sine: ExtendedFloat, cosine: ExtendedFloat)? {
    if let sine = special(&environment, atZero: self) { return (sine, isZero ? .one : sine) }
    guard let angle else { return nil }
    return (environment.round(angle.sine), environment.round(angle.cosine))
  }

  /// What needs no computing.
  private func special(
    _ environment: inout X87Environment, atZero: ExtendedFloat
  ) -> ExtendedFloat? {
    if let answer = environment.answer(to: self) { return answer }
    if isInfinity { return environment.invalid() }
    if isZero { return atZero }
    return environment.stopsAtDenormal(isDenormal) ? self : nil
  }
}

// MARK: - Angles

extension ExtendedFloat {
  /// An angle as a number of quadrants and what is left, at most an eighth of a turn.
  fileprivate struct Angle {
    var quadrant: UInt8
    var rest: WideFloat

    var sine: WideFloat {
      let value = quadrant & 1 == 0 ? rest.sine(isShort: true) : rest.cosine
      return quadrant & 2 == 0 ? value : value.negated
    }

    var cosine: WideFloat {
      let value = quadrant & 1 == 0 ? rest.cosine : rest.sine(isShort: true)
      return quadrant == 1 || quadrant == 2 ? value.negated : value
    }

    var tangent: WideFloat {
      let (sine, cosine) = (rest.sine(isShort: false), rest.cosine)
      return quadrant & 1 == 0 ? sine / cosine : (cosine / sine).negated
    }
  }

  /// The processor's π has 66 significant bits, and it reduces angles by that exactly: SDM Vol. 1
  /// §8.3.8 "Approximation of Pi". This is half of it, in units of 2^-65.
  private static var quadrant: UInt128 { 0x3_243f_6a88_85a3_08d3 }

  /// This finite number as an angle in radians; `nil` if it is out of range.
  fileprivate var angle: Angle? {
    guard exponent < 0x3fff + 63 else { return nil }
    // Below 1/2 there is nothing to reduce, and the units below would be too coarse.
    guard exponent >= 0x3ffe else { return Angle(quadrant: 0, rest: WideFloat(self)) }
    let scaled = UInt128(significand) << UInt128(exponent &- (0x3fff - 2))
    var (turns, rest) = scaled.quotientAndRemainder(dividingBy: Self.quadrant)
    var negative = isNegative
    if rest > Self.quadrant >> 1 {
      rest = Self.quadrant &- rest
      turns &+= 1
      negative.toggle()
    }
    let quadrant = UInt8(truncatingIfNeeded: turns) & 3
    return Angle(
      quadrant: isNegative ? (0 &- quadrant) & 3 : quadrant,
      rest: WideFloat(negative: negative, exponent: 127 - 65, normalizing: rest))
  }
}

// MARK: - The inverse

extension ExtendedFloat {
  /// The angle of the point whose ordinate is this number and whose abscissa is `x`.
  func arctangent(over x: ExtendedFloat, _ environment: inout X87Environment) -> ExtendedFloat {
    if let answer = environment.answer(to: self, x) { return answer }
    if environment.stopsAtDenormal(isDenormal || x.isDenormal) { return self }
    if (isZero || x.isInfinity && !isInfinity) && !x.isNegative {
      return .zero(negative: isNegative)
    }
    var angle: WideFloat
    if isInfinity && x.isInfinity {
      angle = .pi.doubled(-2)
    } else if isInfinity || x.isZero && !isZero {
      angle = .pi.doubled(-1)
    } else if isZero || x.isInfinity {
      angle = WideFloat(0)
    } else {
      angle = Self.angle(WideFloat(magnitude), over: WideFloat(x.magnitude))
    }
    if x.isNegative { angle = .pi - angle }
    angle.isNegative = isNegative
    return environment.round(angle)
  }

  private static func angle(_ y: WideFloat, over x: WideFloat) -> WideFloat {
    (y.exponent, y.significand) > (x.exponent, x.significand)
      ? .pi.doubled(-1) - (x / y).arctangent : (y / x).arctangent
  }
}
