/// FILD, FIST and FISTTP: SDM Vol. 1 §8.2 "x87 FPU Data Types", §8.3.3 "Data Transfer Instructions".
extension ExtendedFloat {
  /// Every integer of 64 bits is exact.
  init(_ integer: Int64) {
    guard integer != 0 else {
      self = .zero()
      return
    }
    let shift = integer.magnitude.leadingZeroBitCount
    self.init(
      negative: integer < 0, exponent: 0x3fff + 63 - UInt16(truncatingIfNeeded: shift),
      significand: integer.magnitude << UInt64(truncatingIfNeeded: shift))
  }

  /// Converts to a signed integer of `width` bits; what has none is the integer indefinite.
  func integer(width: UInt64, _ environment: inout X87Environment) -> Int64 {
    let smallest = Int64.min >> (64 &- width)
    // A magnitude of 2^64 or more, an infinity, a NaN, or nothing of the kind.
    guard exponent < 0x3fff + 64, !isUnsupported else {
      environment.raise(.invalid)
      return smallest
    }
    var attempt = environment
    let magnitude = attempt.roundToInteger(self)
    let wrapped = magnitude == 0 && exponent > 0x3fff
    guard !wrapped, magnitude < smallest.magnitude || magnitude == smallest.magnitude && isNegative
    else {
      environment.raise(.invalid)
      return smallest
    }
    environment = attempt
    let bits = Int64(truncatingIfNeeded: magnitude)
    return isNegative ? 0 &- bits : bits
  }
}

extension X87Environment {
  /// The magnitude of a finite number below 2^64, rounded to an integer; 2^64 itself comes out as
  /// zero.
  mutating func roundToInteger(_ value: ExtendedFloat) -> UInt64 {
    let fraction = ExtendedFloat.bias &+ 63 &- Int32(value.exponent)
    let fixed = (UInt128(value.significand) << 64).shiftedRightJamming(fraction)
    let whole = UInt64(truncatingIfNeeded: fixed >> 64)
    let lost = UInt64(truncatingIfNeeded: fixed)
    roundedUp = roundsUp(negative: value.isNegative, odd: whole & 1 != 0, lost: lost)
    if lost != 0 { raise(.precision) }
    return roundedUp ? whole &+ 1 : whole
  }
}
