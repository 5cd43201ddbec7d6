import ArchitectureX86
import X86Processor

/// What there is to know of an instruction in order to run it on the host's own registers: which of its operands
/// are registers of which kind, what it does to them, and how much memory it touches.
///
/// An instruction without a form is left to the interpreter.
struct NativeForm {
  enum Bank: UInt8 {
    /// ModRM's field is an extension of the opcode, or there is none.
    case none
    case general
    /// XMM or YMM.
    case vector
    /// MMX, or the x87 FPU's stack.
    case x87
  }

  struct Operand {
    var bank = Bank.none
    var isRead = false
    var isWritten = false

    static let none = Operand()
    static func reads(_ bank: Bank) -> Operand { Operand(bank: bank, isRead: true) }
    static func writes(_ bank: Bank) -> Operand { Operand(bank: bank, isWritten: true) }
    static func modifies(_ bank: Bank) -> Operand {
      Operand(bank: bank, isRead: true, isWritten: true)
    }
  }

  /// What ModRM.reg names.
  var reg = Operand.none
  /// What ModRM.rm names: the register's bank, and what is done to it or to the memory operand. A register of which
  /// only a part is written counts as modified.
  var rm = Operand.none
  /// What VEX.vvvv names.
  var vvvv = Operand.none
  /// Bytes of the memory operand.
  var memoryBytes = 0
  /// What the memory operand must be aligned to, or #GP follows.
  var alignment = 1

  /// Status flags that it looks at; and those that it always writes, or leaves undefined. A flag that it may
  /// leave alone, as a shift by CL does, is not among these.
  var flagsRead: StatusFlags = []
  var flagsWritten: StatusFlags = []
  /// What of the guest's state it takes to be in the host's, beside general registers and status flags.
  var uses: HostState = []
  /// Whether it loads the x87 FPU's control word, which must mask all exceptions.
  var loadsX87Control = false
}

/// State that is in the host's registers only while there is use for it: whoever enters code that takes it to be there
/// brings it in, and whoever leaves host code puts back what is there.
struct HostState: OptionSet {
  let rawValue: UInt8

  /// XMM and YMM registers.
  static let vectors = HostState(rawValue: 1)
  /// The x87 FPU, and with it the MMX registers.
  static let x87 = HostState(rawValue: 2)
}

/// A set of status flags.
struct StatusFlags: OptionSet {
  let rawValue: UInt8

  static let carry = StatusFlags(rawValue: 1)
  static let parity = StatusFlags(rawValue: 2)
  static let auxiliary = StatusFlags(rawValue: 4)
  static let zero = StatusFlags(rawValue: 8)
  static let sign = StatusFlags(rawValue: 16)
  static let overflow = StatusFlags(rawValue: 32)
  static let all = StatusFlags(rawValue: 63)
}
