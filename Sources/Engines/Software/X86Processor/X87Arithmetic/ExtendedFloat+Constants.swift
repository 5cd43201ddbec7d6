/// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ: SDM Vol. 1 §8.3.4 "Load Constant
/// Instructions".
///
/// The processor holds each constant with more bits than a register has and rounds it by the
/// rounding control, without reporting that it is inexact.
extension ExtendedFloat {
  enum Constant: UInt8 {
    case one, log2Of10, log2OfE, pi, log10Of2, lnOf2, zero
  }

  init(_ constant: Constant, rounding: X87Control.Rounding) {
    switch constant {
    case .one: self = .one
    case .zero: self = .zero()
    case .log2Of10: self.init(0x4000, 0xd49a_784b_cd1b_8afe, nearestIsUp: false, rounding)
    case .log2OfE: self.init(0x3fff, 0xb8aa_3b29_5c17_f0bb, nearestIsUp: true, rounding)
    case .pi: self.init(0x4000, 0xc90f_daa2_2168_c234, nearestIsUp: true, rounding)
    case .log10Of2: self.init(0x3ffd, 0x9a20_9a84_fbcf_f798, nearestIsUp: true, rounding)
    case .lnOf2: self.init(0x3ffe, 0xb172_17f7_d1cf_79ab, nearestIsUp: true, rounding)
    }
  }

  /// A positive constant from its truncated significand.
  private init(
    _ exponent: UInt16, _ truncated: UInt64, nearestIsUp: Bool, _ rounding: X87Control.Rounding
  ) {
    let isUp = rounding == .up || rounding == .nearest && nearestIsUp
    self.init(significand: truncated &+ (isUp ? 1 : 0), signExponent: exponent)
  }
}
