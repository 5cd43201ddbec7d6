/// FBLD and FBSTP: SDM Vol. 1 §4.7 "BCD and Packed BCD Integers".
///
/// A packed decimal is eighteen digits, two to a byte, and a byte with the sign on top. It travels
/// in the shape of a register: the low 64 bits, then the upper 16.
extension ExtendedFloat {
  /// Converts from packed decimal. Digits above nine count for what they are.
  init(packedDecimal low: UInt64, _ high: UInt16) {
    var magnitude: UInt64 = 0
    var digits = UInt128(high & 0xff) << 64 | UInt128(low)
    digits <<= 56
    for _ in 0..<18 {
      magnitude = magnitude &* 10 &+ UInt64(truncatingIfNeeded: digits >> 124)
      digits <<= 4
    }
    self.init(Int64(truncatingIfNeeded: magnitude))
    if high & 0x8000 != 0 { self = negated }
  }

  /// Converts to packed decimal; what does not fit is the packed decimal indefinite.
  func packedDecimal(_ environment: inout X87Environment) -> (low: UInt64, high: UInt16) {
    let indefinite: (UInt64, UInt16) = (0xc000_0000_0000_0000, 0xffff)
    let sign: UInt16 = isNegative ? 0x8000 : 0
    var attempt = environment
    var magnitude = wholeMagnitude(&attempt)
    guard magnitude < 1_000_000_000_000_000_000 else {
      environment.raise(.invalid)
      return indefinite
    }
    environment = attempt
    var digits: UInt128 = 0
    for place in 0..<18 {
      let (quotient, digit) = magnitude.quotientAndRemainder(dividingBy: 10)
      digits |= UInt128(digit) << UInt128(truncatingIfNeeded: 4 &* place)
      magnitude = quotient
    }
    return (
      UInt64(truncatingIfNeeded: digits), UInt16(truncatingIfNeeded: digits >> 64) | sign
    )
  }

  /// The magnitude rounded to an integer; all ones if it is out of all proportion.
  private func wholeMagnitude(_ environment: inout X87Environment) -> UInt64 {
    guard exponent < 0x3fff + 63, !isUnsupported else { return .max }
    return environment.roundToInteger(self)
  }
}
