import ArchitectureX86
import CProcessor

// The status flags, lazily. After an operation of width w, three words are kept:
//   flag_result  the result, sign-extended: ZF is "it is zero", SF its top bit, PF the parity of its low byte
//   flag_carry   the carries out of each bit: bit 63 and 62 those out of the top two bits of the width,
//                bit 3 that out of bit 3. CF is bit 63, OF is bit 63 xor bit 62, AF is bit 3
//   flag_delta   xored into the result before SF and PF are taken; zero but after flags were loaded whole
// So every flag costs a shift or two to read, and an operation writes no more than it has at hand.

extension UnsafeMutablePointer<x86_cpu> {
  @inline(__always) var carryFlag: Bool { pointee.flag_carry &>> 63 != 0 }
  @inline(__always) var zeroFlag: Bool { pointee.flag_result == 0 }
  @inline(__always) var signFlag: Bool {
    (pointee.flag_result ^ pointee.flag_delta) &>> 63 != 0
  }
  @inline(__always) var overflowFlag: Bool {
    (pointee.flag_carry ^ (pointee.flag_carry &<< 1)) &>> 63 != 0
  }
  @inline(__always) var parityFlag: Bool {
    UInt8(truncatingIfNeeded: pointee.flag_result ^ pointee.flag_delta).nonzeroBitCount & 1 == 0
  }
  @inline(__always) var auxiliaryFlag: Bool { pointee.flag_carry & 8 != 0 }

  /// Carry as a number.
  @inline(__always) var carry: UInt64 { pointee.flag_carry &>> 63 }

  /// After addition or subtraction: `carries` has one bit for each position's carry (or borrow).
  @inline(__always)
  func setFlags<T: Width>(result: T, carries: T) {
    pointee.flag_result = result.extended
    let wide = UInt64(truncatingIfNeeded: carries)
    pointee.flag_carry =
      T.bitWidth == 64 ? wide : wide | wide &<< UInt64(64 &- T.bitWidth)
    pointee.flag_delta = 0
  }

  /// After a logical operation: CF, OF and AF are clear.
  @inline(__always)
  func setLogicFlags<T: Width>(_ result: T) {
    pointee.flag_result = result.extended
    pointee.flag_carry = 0
    pointee.flag_delta = 0
  }

  /// Result flags with CF and OF given; AF is clear.
  @inline(__always)
  func setFlags<T: Width>(result: T, carry: Bool, overflow: Bool) {
    pointee.flag_result = result.extended
    setCarry(carry, overflow: overflow)
    pointee.flag_delta = 0
  }

  /// CF and OF; AF is clear, the others stay.
  @inline(__always)
  func setCarry(_ carry: Bool, overflow: Bool) {
    pointee.flag_carry = (carry ? 1 &<< 63 : 0) | (carry != overflow ? 1 &<< 62 : 0)
  }

  /// CF alone; OF and AF stay.
  @inline(__always)
  func setCarryAlone(_ carry: Bool) {
    let overflow = overflowFlag
    pointee.flag_carry =
      (carry ? 1 &<< 63 : 0) | (carry != overflow ? 1 &<< 62 : 0) | pointee.flag_carry & 8
  }

  /// ZF, PF and CF given; OF, SF and AF are clear.
  @inline(__always)
  func setComparison(zero: Bool, parity: Bool, carry: Bool) {
    setCarry(carry, overflow: false)
    // A result of 0 or 0x100 has even parity and a clear sign.
    pointee.flag_result = zero ? 0 : 0x100
    pointee.flag_delta = parity ? 0 : 1
  }

  /// The six status flags at their places in RFLAGS.
  var statusFlags: UInt64 {
    get {
      (carryFlag ? X86.Flags.carry : 0) | (parityFlag ? X86.Flags.parity : 0)
        | (auxiliaryFlag ? X86.Flags.auxiliary : 0) | (zeroFlag ? X86.Flags.zero : 0)
        | (signFlag ? X86.Flags.sign : 0) | (overflowFlag ? X86.Flags.overflow : 0)
    }
    nonmutating set {
      let carry = newValue & X86.Flags.carry != 0
      let overflow = newValue & X86.Flags.overflow != 0
      setCarry(carry, overflow: overflow)
      if newValue & X86.Flags.auxiliary != 0 { pointee.flag_carry |= 8 }
      let zero = newValue & X86.Flags.zero != 0
      pointee.flag_result = zero ? 0 : 0x100
      // A result of 0 or 0x100 has even parity and a clear sign; the delta makes up the difference.
      pointee.flag_delta =
        (newValue & X86.Flags.sign != 0 ? 1 &<< 63 : 0)
        | (newValue & X86.Flags.parity != 0 ? 0 : 1)
    }
  }

  /// RFLAGS whole.
  var rflags: UInt64 {
    get { pointee.system_flags | statusFlags | X86.Flags.reserved1 }
    nonmutating set {
      statusFlags = newValue
      let changed = pointee.system_flags ^ newValue
      pointee.system_flags = newValue & ~(X86.Flags.status | X86.Flags.reserved1)
      if _slowPath(changed & X86.Flags.alignmentCheck != 0) { core { $0.selectTranslations() } }
    }
  }

  /// The condition in an opcode's low four bits: SDM Vol. 1 Appendix B.
  @inline(__always)
  func condition(_ code: UInt8) -> Bool {
    let holds: Bool
    switch code >> 1 {
    case 0: holds = overflowFlag
    case 1: holds = carryFlag
    case 2: holds = zeroFlag
    case 3: holds = carryFlag || zeroFlag
    case 4: holds = signFlag
    case 5: holds = parityFlag
    case 6: holds = signFlag != overflowFlag
    default: holds = zeroFlag || signFlag != overflowFlag
    }
    return holds != (code & 1 != 0)
  }
}
