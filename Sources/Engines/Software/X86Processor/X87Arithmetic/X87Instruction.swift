/// An x87 instruction as decoded, with what it needs to know of the processor around it.
package struct X87Instruction: BitwiseCopyable, Sendable {
  /// D8 to DF.
  var opcode: UInt8
  var modrm: UInt8
  /// RFLAGS, for FCMOVcc.
  var flags: UInt64 = 0
  /// Where the instruction lies.
  var address = X87Pointer()
  /// Where its memory operand lies.
  var data = X87Pointer()

  @inline(__always)
  package init(opcode: UInt8, modrm: UInt8) {
    self.opcode = opcode
    self.modrm = modrm
  }
}

/// Up to ten bytes of memory, as an x87 instruction reads or writes them: eight, then two.
struct X87Bytes: Equatable, BitwiseCopyable, Sendable {
  var low: UInt64
  var high: UInt16

  @inline(__always)
  init(_ low: UInt64 = 0, _ high: UInt16 = 0) {
    self.low = low
    self.high = high
  }
}

/// What an executed instruction asks of the processor.
struct X87Outcome: BitwiseCopyable, Sendable {
  enum Effect: UInt8, Sendable {
    case none
    /// Store `bytes` to the memory operand.
    case store
    /// Set AX to `bytes.low`.
    case accumulator
    /// Set ZF, PF and CF to those in `bytes.low`, and clear OF, SF and AF.
    case flags
    /// Report #MF, or assert FERR#. Nothing was executed.
    case mathFault
    /// Report #UD.
    case undefinedOpcode
  }
  var effect: Effect
  var bytes: X87Bytes

  @inline(__always)
  init(_ effect: Effect, _ bytes: X87Bytes = X87Bytes()) {
    self.effect = effect
    self.bytes = bytes
  }

  static var none: X87Outcome { X87Outcome(.none) }
}

// MARK: - Memory operands

/// What an x87 instruction reads or writes in memory.
package enum X87MemoryOperand: UInt8, Sendable {
  case undefined
  case loadSingle, loadDouble, loadExtended
  case loadInt16, loadInt32, loadInt64, loadDecimal
  case storeSingle, storeDouble, storeExtended
  case storeInt16, storeInt32, storeInt64, storeDecimal
  case loadControl, storeControl, storeStatus
  /// 14 or 28 bytes, by operand size: not for `execute`, but for `loadEnvironment` and its kin.
  case loadEnvironment, storeEnvironment
  /// 94 or 108 bytes, by operand size.
  case loadState, storeState

  /// Bytes of the operand, for those that `execute` deals with.
  package var size: UInt8 {
    switch self {
    case .loadInt16, .storeInt16, .loadControl, .storeControl, .storeStatus: 2
    case .loadSingle, .storeSingle, .loadInt32, .storeInt32: 4
    case .loadDouble, .storeDouble, .loadInt64, .storeInt64: 8
    case .loadExtended, .storeExtended, .loadDecimal, .storeDecimal: 10
    case .undefined, .loadEnvironment, .storeEnvironment, .loadState, .storeState: 0
    }
  }

  package var isStore: Bool {
    switch self {
    case .storeSingle, .storeDouble, .storeExtended, .storeInt16, .storeInt32, .storeInt64,
      .storeDecimal, .storeControl, .storeStatus, .storeEnvironment, .storeState:
      true
    default: false
    }
  }
}

extension X87Instruction {
  /// Whether the instruction has a memory operand.
  @inline(__always)
  var readsOrWritesMemory: Bool { modrm < 0xc0 }

  /// The middle field of ModR/M, the digit after the slash in the manual.
  @inline(__always)
  var digit: UInt8 { modrm >> 3 & 7 }

  /// What the instruction, whose ModR/M names memory, does there: SDM Vol. 2D Tables.
  package var memoryOperand: X87MemoryOperand {
    switch opcode {
    case 0xd8: return .loadSingle
    case 0xda: return .loadInt32
    case 0xdc: return .loadDouble
    case 0xde: return .loadInt16
    default: break
    }
    switch (opcode, digit) {
    case (0xd9, 0): return .loadSingle
    case (0xd9, 2), (0xd9, 3): return .storeSingle
    case (0xd9, 4): return .loadEnvironment
    case (0xd9, 5): return .loadControl
    case (0xd9, 6): return .storeEnvironment
    case (0xd9, 7): return .storeControl
    case (0xdb, 0): return .loadInt32
    case (0xdb, 1), (0xdb, 2), (0xdb, 3): return .storeInt32
    case (0xdb, 5): return .loadExtended
    case (0xdb, 7): return .storeExtended
    case (0xdd, 0): return .loadDouble
    case (0xdd, 1): return .storeInt64
    case (0xdd, 2), (0xdd, 3): return .storeDouble
    case (0xdd, 4): return .loadState
    case (0xdd, 6): return .storeState
    case (0xdd, 7): return .storeStatus
    case (0xdf, 0): return .loadInt16
    case (0xdf, 1), (0xdf, 2), (0xdf, 3): return .storeInt16
    case (0xdf, 4): return .loadDecimal
    case (0xdf, 5): return .loadInt64
    case (0xdf, 6): return .storeDecimal
    case (0xdf, 7): return .storeInt64
    default: return .undefined
    }
  }
}

// MARK: - Control instructions

extension X87Instruction {
  /// Whether the instruction reports a pending exception before it does anything else: SDM Vol. 1
  /// §8.3.12 "Waiting vs. Non-waiting Instructions".
  var waits: Bool {
    if modrm < 0xc0 {
      switch (opcode, digit) {
      case (0xd9, 6), (0xd9, 7), (0xdd, 6), (0xdd, 7): return false
      default: return true
      }
    }
    return !(opcode == 0xdb && modrm & 0xf8 == 0xe0 || opcode == 0xdf && modrm == 0xe0)
  }

  /// Whether the instruction leaves the instruction and data pointers alone: SDM Vol. 1 §8.1.8.
  @inline(__always)
  var isControl: Bool {
    // Even opcodes are all arithmetic.
    opcode & 1 != 0 && (!waits || isControlLoad)
  }

  /// FLDENV, FLDCW and FRSTOR.
  private var isControlLoad: Bool {
    modrm < 0xc0
      && (opcode == 0xd9 && (digit == 4 || digit == 5) || opcode == 0xdd && digit == 4)
  }
}
