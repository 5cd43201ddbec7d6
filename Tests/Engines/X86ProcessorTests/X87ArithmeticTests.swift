import Testing

@testable import X86Processor

/// The arithmetic itself, against values known from elsewhere, on any host.
@Suite struct X87ArithmeticTests {
  private static func float(_ signExponent: UInt16, _ significand: UInt64) -> ExtendedFloat {
    ExtendedFloat(significand: significand, signExponent: signExponent)
  }

  private static func ratio(_ a: Int64, _ b: Int64) -> ExtendedFloat {
    var environment = X87Environment(.initial)
    return ExtendedFloat(a).divided(by: ExtendedFloat(b), &environment)
  }

  // MARK: - Transcendental functions, correctly rounded

  @Test func `circular functions of one radian`() {
    var environment = X87Environment(.initial)
    let one = ExtendedFloat.one
    #expect(one.sine(&environment) == Self.float(0x3ffe, 0xd76a_a478_4867_7021))
    #expect(one.cosine(&environment) == Self.float(0x3ffe, 0x8a51_407d_a834_5c92))
    #expect(one.tangent(&environment) == Self.float(0x3fff, 0xc759_22e5_f71d_2dc5))
    #expect(environment.raised == .precision)
  }

  // SDM Vol. 1 §8.3.8: π has 66 bits, so that the sine of π rounded is off by what rounding added.
  @Test func `the sine of FLDPI is the rounding error of FLDPI`() {
    var environment = X87Environment(.initial)
    let pi = ExtendedFloat(.pi, rounding: .nearest)
    #expect(pi.sine(&environment) == Self.float(0xbfbf, 1 << 63))
  }

  // SDM Vol. 1 §8.3.7
  @Test func `angles of 2^63 are refused`() {
    var environment = X87Environment(.initial)
    #expect(Self.float(0x403e, 1 << 63).sine(&environment) == nil)
    #expect(Self.float(0xc03d, .max).cosine(&environment) != nil)
  }

  @Test func `arctangents reach all four quadrants`() {
    var environment = X87Environment(.initial)
    let (one, three) = (ExtendedFloat(1), ExtendedFloat(3))
    func angle(_ y: ExtendedFloat, _ x: ExtendedFloat) -> ExtendedFloat {
      y.arctangent(over: x, &environment)
    }
    #expect(angle(one, three) == Self.float(0x3ffd, 0xa4bc_7d19_34f7_0924))
    #expect(angle(one.negated, three.negated) == Self.float(0xc000, 0xb478_4afe_fac9_e110))
    #expect(angle(.zero(negative: true), .infinity()) == .zero(negative: true))
    #expect(angle(.zero(), one.negated) == ExtendedFloat(.pi, rounding: .nearest))
  }

  @Test func `powers and logarithms to base two`() {
    var environment = X87Environment(.initial)
    let half = Self.ratio(1, 2)
    #expect(half.exponential(&environment) == Self.float(0x3ffd, 0xd413_cccf_e779_9211))
    #expect(half.negated.exponential(&environment) == Self.float(0xbffd, 0x95f6_1998_0c43_36f7))
    #expect(
      ExtendedFloat(3).logarithm(times: .one, &environment)
        == Self.float(0x3fff, 0xcae0_0d1c_fdeb_43d0))
    #expect(
      Self.ratio(1, 4).logarithmOfSuccessor(times: .one, &environment)
        == Self.float(0x3ffd, 0xa4d3_c25e_68dc_57f2))
    environment.raised = []
    #expect(ExtendedFloat(1024).logarithm(times: .one, &environment) == ExtendedFloat(10))
    #expect(environment.raised.isEmpty, "the logarithm of a power of two is exact")
  }

  // MARK: - Constants

  // SDM Vol. 1 §8.3.4
  @Test(arguments: [X87Control.Rounding.nearest, .down, .up, .towardZero])
  func `constants enclose their value`(rounding: X87Control.Rounding) {
    let isUp: (_ nearest: Bool) -> UInt64 = { nearest in
      rounding == .up || rounding == .nearest && nearest ? 1 : 0
    }
    #expect(
      ExtendedFloat(.pi, rounding: rounding).significand == 0xc90f_daa2_2168_c234 + isUp(true))
    #expect(
      ExtendedFloat(.log2Of10, rounding: rounding).significand
        == 0xd49a_784b_cd1b_8afe + isUp(false))
    #expect(ExtendedFloat(.one, rounding: rounding) == ExtendedFloat(1))
  }

  // MARK: - Precision control

  // SDM Vol. 1 §8.1.5.2
  @Test func `precision control rounds to 24 or 53 bits in one step`() {
    for (precision, bits) in [(X87Control.Precision.single, 24), (.double, 53), (.extended, 64)] {
      var control = X87Control.initial
      control.precision = precision
      var environment = X87Environment(control)
      let third = ExtendedFloat.one.divided(by: ExtendedFloat(3), &environment)
      #expect(third.significand.trailingZeroBitCount == 64 - bits)
      #expect(third.significand.leadingZeroBitCount == 0)
      #expect(environment.raised == .precision)
    }
  }

  // MARK: - Tininess

  // SDM Vol. 1 §4.9.1.5: tininess is detected after rounding.
  @Test func `a product that rounds up to the smallest normal number is not tiny`() {
    var environment = X87Environment(.initial)
    // (1 − 2^-33) (1 + 2^-33) = 1 − 2^-66
    let factor = Self.float(0x3ffe, 0xffff_ffff_8000_0000)
    let number = Self.float(0x0001, 0x8000_0000_4000_0000)
    #expect(number.multiplied(by: factor, &environment) == Self.float(0x0001, 1 << 63))
    #expect(environment.raised == .precision)
  }

  @Test func `an unmasked underflow keeps its significand and moves its exponent`() {
    var control = X87Control.initial
    control.masks = X87Exceptions.all.subtracting(.underflow)
    var environment = X87Environment(control)
    let smallest = Self.float(0x0001, 0xc000_0000_0000_0001)
    let product = smallest.multiplied(by: Self.ratio(1, 2), &environment)
    #expect(product == Self.float(24576, 0xc000_0000_0000_0001))
    #expect(environment.raised == .underflow)
  }

  // MARK: - NaNs

  // SDM Vol. 1 Table 4-7
  @Test func `of two NaNs the larger significand wins, and quiet ones before signaling ones`() {
    let (small, large) = (Self.float(0x7fff, 0xc << 60 | 1), Self.float(0xffff, 0xc << 60 | 2))
    let signaling = Self.float(0x7fff, 0x8 << 60 | 9)
    var environment = X87Environment(.initial)
    #expect(small.adding(large, &environment) == large)
    #expect(environment.raised.isEmpty)
    #expect(signaling.adding(small, &environment) == small)
    #expect(signaling.subtracting(.one, &environment) == signaling.quieted)
    #expect(environment.raised == .invalid)
  }

  // MARK: - Packed decimal

  // SDM Vol. 1 §4.7
  @Test func `packed decimals come back as they went`() {
    var environment = X87Environment(.initial)
    var bits = RandomBits(seed: 7)
    for _ in 0..<1000 {
      let integer = Int64(bits.below(1 << 30)) * 931_322_574 - 499_999_999_999_999_999
      let value = ExtendedFloat(integer)
      let decimal = value.packedDecimal(&environment)
      #expect(ExtendedFloat(packedDecimal: decimal.low, decimal.high) == value)
    }
    #expect(environment.raised.isEmpty)
    let tooLarge = ExtendedFloat(1_000_000_000_000_000_000).packedDecimal(&environment)
    #expect(tooLarge.low == 0xc000_0000_0000_0000 && tooLarge.high == 0xffff)
    #expect(environment.raised == .invalid)
  }
}
