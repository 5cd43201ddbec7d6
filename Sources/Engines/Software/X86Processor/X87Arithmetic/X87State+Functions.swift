import CFloat

/// The instructions D9 E0 to D9 FF that work on the top of the stack: SDM Vol. 2D Table A-10.
extension X87State {
  /// FCHS, FABS, FTST and FXAM.
  mutating func executeSigns(_ index: UInt8) -> X87Outcome {
    switch index {
    case 0: unary { value, _ in value.negated }
    case 1: unary { value, _ in value.magnitude }
    case 4: compare(with: .zero(), missing: isEmpty(0), pops: 0)
    case 5: examine()
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  /// D9 F0 to D9 FF.
  ///
  /// - Parameter onHost: whether a transcendental function is left to the host's FPU.
  mutating func executeFunction(_ number: UInt8, onHost: Bool = x86_has_functions) {
    if Self.reportsRange(number) { status.set(X87Status.c2, to: false) }
    if onHost, computeOnHost(number) { return }
    switch number {
    case 0x0: unary { $0.exponential(&$1) }  // F2XM1
    case 0x1: intoSecond { $0.logarithm(times: $1, &$2) }  // FYL2X
    case 0x2: twofold { $0.tangent(&$1).map { ($0, $0.isNaN ? $0 : .one) } }  // FPTAN
    case 0x3: intoSecond { $1.arctangent(over: $0, &$2) }  // FPATAN
    case 0x4: twofold { $0.extracted(&$1) }  // FXTRACT
    case 0x5: remainder(nearest: true)  // FPREM1
    case 0x6: rotate(by: 7)  // FDECSTP
    case 0x7: rotate(by: 1)  // FINCSTP
    case 0x8: remainder(nearest: false)  // FPREM
    case 0x9: intoSecond { $0.logarithmOfSuccessor(times: $1, &$2) }  // FYL2XP1
    case 0xa: unary { $0.squareRoot(&$1) }  // FSQRT
    case 0xb: twofold { $0.sineAndCosine(&$1) }  // FSINCOS
    case 0xc: unary { $0.roundedToIntegral(&$1) }  // FRNDINT
    case 0xd: binary(1, to: 0, popping: false) { $0.scaled(by: $1, &$2) }  // FSCALE
    case 0xe: circular { $0.sine(&$1) }  // FSIN
    default: circular { $0.cosine(&$1) }  // FCOS
    }
  }
}

// MARK: - On the host

extension X87State {
  /// Carries out a transcendental function; false if `number` is none. Their last bit, whether it was
  /// rounded up, and what they make of operands outside their domain is the processor's own affair
  /// (SDM Vol. 1 §8.3.10): a guest finds what it would find on the host's, natively or on KVM.
  private mutating func computeOnHost(_ number: UInt8) -> Bool {
    switch number {
    case 0x0: unary { $1.host(number, $0).result }
    case 0x1, 0x3, 0x9: intoSecond { $2.host(number, $0, $1).result }
    case 0x2, 0xb:
      twofold {
        let (result, pushed, isOutside) = $1.host(number, $0)
        return isOutside ? nil : (result, pushed)
      }
    case 0xe, 0xf:
      circular {
        let (result, _, isOutside) = $1.host(number, $0)
        return isOutside ? nil : result
      }
    default: return false
    }
    return true
  }
}

extension X87Environment {
  /// The function's results, and whether C2 says that its operand is out of range.
  fileprivate mutating func host(
    _ number: UInt8, _ x: ExtendedFloat, _ y: ExtendedFloat = .zero()
  ) -> (result: ExtendedFloat, pushed: ExtendedFloat, isOutside: Bool) {
    let after = x86_transcendental(
      number, x86_extended(x), x86_extended(y), control.rawValue)
    raise(X87Exceptions(rawValue: UInt8(truncatingIfNeeded: after.status) & 0x3f))
    roundedUp = after.status & X87Status.c1 != 0
    return (
      ExtendedFloat(after.result), ExtendedFloat(after.pushed), after.status & X87Status.c2 != 0
    )
  }
}

extension x86_extended {
  fileprivate init(_ value: ExtendedFloat) {
    self.init(significand: value.significand, sign_exponent: value.signExponent)
  }
}

extension ExtendedFloat {
  fileprivate init(_ value: x86_extended) {
    self.init(significand: value.significand, signExponent: value.sign_exponent)
  }
}

// MARK: - Forms

extension X87State {
  /// ST(1) becomes `operation` of ST(0) and ST(1), and ST(0) is popped.
  @inline(__always)
  private mutating func intoSecond(_ operation: Binary) {
    binary(1, to: 1, popping: true, operation)
  }

  /// Whether C2 tells if the operand was out of range, or the result is not the last one: FPTAN,
  /// FPREM1, FPREM, FSINCOS, FSIN and FCOS.
  private static func reportsRange(_ number: UInt8) -> Bool {
    0b1100_1001_0010_0100 >> number & 1 != 0
  }

  /// FXAM: SDM Vol. 2 "FXAM—Examine Floating-Point".
  private mutating func examine() {
    status.set(X87Status.c1, to: self[0].isNegative)
    guard !isEmpty(0) else {
      status.setConditions(0b101)
      return
    }
    switch self[0].classification {
    case .unsupported: status.setConditions(0b000)
    case .nan: status.setConditions(0b001)
    case .normal: status.setConditions(0b010)
    case .infinity: status.setConditions(0b011)
    case .zero: status.setConditions(0b100)
    case .denormal: status.setConditions(0b110)
    }
  }

  /// FPREM and FPREM1: C0, C3 and C1 tell the low bits of the quotient, C2 that there is more to do.
  private mutating func remainder(nearest: Bool) {
    var remainder: ExtendedFloat.Remainder?
    binary(1, to: 0, popping: false) { dividend, divisor, environment in
      let result = dividend.remainder(dividingBy: divisor, nearest: nearest, &environment)
      if environment.raised.isDisjoint(with: .invalid) { remainder = result }
      return result.value
    }
    guard let result = remainder else { return }
    status.set(X87Status.c2, to: result.isPartial)
    status.set(X87Status.c0, to: result.quotient & 4 != 0)
    status.set(X87Status.c3, to: result.quotient & 2 != 0)
    status.set(X87Status.c1, to: result.quotient & 1 != 0)
  }

  /// FSIN and FCOS: C2 tells that the operand is out of range and stays.
  @inline(__always)
  private mutating func circular(
    _ function: (ExtendedFloat, inout X87Environment) -> ExtendedFloat?
  ) {
    var isOutOfRange = false
    unary { value, environment in
      if let result = function(value, &environment) { return result }
      isOutOfRange = true
      return value
    }
    if isOutOfRange { status.set(X87Status.c2, to: true) }
  }

  private mutating func rotate(by count: UInt8) {
    status.top &+= count
    status.set(X87Status.c1, to: false)
  }
}
