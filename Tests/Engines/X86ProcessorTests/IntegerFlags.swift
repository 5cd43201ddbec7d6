import ArchitectureX86

/// Which status flags an instruction leaves undefined: SDM Vol. 2, "Flags Affected" of each.
enum Undefined {
  private typealias F = X86.Flags

  /// AND, OR, XOR, TEST: "The state of the AF flag is undefined."
  static let logic = F.auxiliary

  /// MUL, IMUL: "The SF, ZF, AF, and PF flags are undefined."
  static let multiply = F.sign | F.zero | F.auxiliary | F.parity

  /// DIV, IDIV: "The CF, OF, SF, ZF, AF, and PF flags are undefined."
  static let divide = F.status

  /// BT and its kin: "The OF, SF, AF, and PF flags are undefined."
  static let bitTest = F.overflow | F.sign | F.auxiliary | F.parity

  /// BSF, BSR: "The CF, OF, SF, AF, and PF flags are undefined."
  static let bitScan = F.carry | F.overflow | F.sign | F.auxiliary | F.parity

  /// DAA, DAS: "The OF flag is undefined."
  static let decimalAdjust = F.overflow

  /// AAA, AAS: "The OF, SF, ZF, and PF flags are undefined."
  static let asciiAdjust = F.overflow | F.sign | F.zero | F.parity

  /// AAM, AAD: "The OF, AF, and CF flags are undefined."
  static let asciiAdjustForMultiplication = F.overflow | F.auxiliary | F.carry

  /// SHL, SHR, SAR by a masked count: "the CF flag … is undefined for SHL and SHR instructions where the
  /// count is greater than or equal to the size (in bits) of the destination operand. The OF flag is
  /// affected only for 1-bit shifts; otherwise, it is undefined. … If the count is 0, the flags are not
  /// affected. For a non-zero count, the AF flag is undefined."
  static func shift(count: UInt64, bits: UInt64, isArithmetic: Bool) -> UInt64 {
    guard count != 0 else { return 0 }
    return F.auxiliary | (count == 1 ? 0 : F.overflow)
      | (count >= bits && !isArithmetic ? F.carry : 0)
  }

  /// RCL, RCR, ROL, ROR: "The OF flag is defined only for the 1-bit rotates; it is undefined in all other
  /// cases (except RCL and RCR instructions only: a zero-bit rotate does nothing, that is affects no flags)."
  static func rotate(count: UInt64) -> UInt64 { count <= 1 ? 0 : F.overflow }

  /// SHLD, SHRD: "For a 1-bit shift, the OF flag is set if a sign change occurred; otherwise, it is cleared.
  /// For shifts greater than 1 bit, the OF flag is undefined. If a shift occurs, the AF flag is undefined.
  /// If the count operand is 0, the flags are not affected."
  static func doubleShift(count: UInt64) -> UInt64 {
    count == 0 ? 0 : F.auxiliary | (count == 1 ? 0 : F.overflow)
  }
}

/// The status flags that a condition (the opcode's low four bits) looks at: SDM Vol. 1 Appendix B.
func flagsRead(byCondition condition: Int) -> UInt64 {
  switch condition >> 1 {
  case 0: X86.Flags.overflow
  case 1: X86.Flags.carry
  case 2: X86.Flags.zero
  case 3: X86.Flags.carry | X86.Flags.zero
  case 4: X86.Flags.sign
  case 5: X86.Flags.parity
  case 6: X86.Flags.sign | X86.Flags.overflow
  default: X86.Flags.sign | X86.Flags.overflow | X86.Flags.zero
  }
}
