/// Which code segment type an instruction is decoded for: the value of `x86_cpu.code_mode`.
package enum CodeMode: UInt32, Sendable {
  case bits16 = 0
  case bits32 = 1
  case bits64 = 2
}

/// The opcode maps: SDM Vol. 2D Appendix A "Opcode Map".
package enum OpcodeMap: UInt8, Sendable {
  case oneByte, twoByte, threeByte38, threeByte3A
}

/// What a VEX prefix says beyond what other prefixes could: SDM Vol. 2A §2.3.5 "The VEX Prefix".
package struct VEXPrefix {
  /// VEX.L: vectors are 256 bits long.
  package var isWide = false
  /// VEX.W, in every mode.
  package var isW = false
  /// The register that VEX.vvvv names.
  package var register: UInt8 = 0
  /// Whether VEX.vvvv is 1111b, as it must be where it names no operand.
  package var namesNone = false
  /// Whether there are prefixes before it that may not be, or it names no opcode map: #UD.
  package var isInvalid = false
}

/// One instruction, taken apart but not yet given a meaning: SDM Vol. 2A chapter 2 "Instruction Format".
package struct Instruction {
  package var mode: CodeMode
  package var map = OpcodeMap.oneByte
  package var opcode: UInt8 = 0

  // Prefixes.
  package var hasOperandSizePrefix = false
  package var hasAddressSizePrefix = false
  package var hasLock = false
  /// 0xF2, 0xF3 or 0: the last of the two that was there.
  package var repeatPrefix: UInt8 = 0
  /// An encoding of `X86.SegmentRegister`.
  package var segmentOverride: UInt8?
  /// The REX prefix, or 0.
  package var rex: UInt8 = 0

  /// The VEX prefix. Its R, X, B and W are in `rex`, and the prefix that it implies counts as one.
  package var vex: VEXPrefix?

  // ModRM and SIB; `reg`, `rm`, `base` and `index` with their REX bits.
  package var modRM: UInt8 = 0
  package var isMemory = false
  package var reg: UInt8 = 0
  package var rm: UInt8 = 0
  /// A register number, or nil; `isRIPRelative` stands for neither.
  package var base: UInt8?
  package var index: UInt8?
  package var scale: UInt8 = 0
  package var displacement: Int32 = 0
  package var isRIPRelative = false

  package var immediate: UInt64 = 0
  /// ENTER's second operand; a far pointer's selector.
  package var secondImmediate: UInt16 = 0
  package var length: UInt8 = 0

  /// Bits 3 to 5 of ModRM without REX: an opcode extension.
  package var extension3: UInt8 { modRM >> 3 & 7 }

  /// Bytes of an operand whose size the prefixes choose, as a power of two: 1, 2 or 3.
  package var operandLog2: Int {
    switch mode {
    case .bits64: rex & 8 != 0 ? 3 : hasOperandSizePrefix ? 1 : 2
    case .bits32: hasOperandSizePrefix ? 1 : 2
    case .bits16: hasOperandSizePrefix ? 2 : 1
    }
  }

  /// As `operandLog2`, for instructions whose operand is 64 bits wide in 64-bit mode: stack and near branches.
  package var stackOperandLog2: Int {
    mode == .bits64 ? (hasOperandSizePrefix ? 1 : 3) : operandLog2
  }

  /// 0, 1, 2: addresses of 16, 32, 64 bits.
  package var addressSize: UInt8 {
    switch mode {
    case .bits64: hasAddressSizePrefix ? 1 : 2
    case .bits32: hasAddressSizePrefix ? 0 : 1
    case .bits16: hasAddressSizePrefix ? 1 : 0
    }
  }

  /// 0 without a prefix, else 0x66, 0xF3, 0xF2 as SSE opcodes choose among: F3 and F2 win over 66.
  package var mandatoryPrefix: UInt8 {
    repeatPrefix != 0 ? repeatPrefix : hasOperandSizePrefix ? 0x66 : 0
  }
}
