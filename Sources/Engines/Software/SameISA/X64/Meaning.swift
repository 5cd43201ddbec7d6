import ArchitectureX86
import X86Processor

/// How the translator runs an instruction of 64-bit mode.
enum Meaning {
  /// As it is, with its operands renamed.
  case plain(NativeForm)
  /// Not at all: a NOP or a hint.
  case nothing
  case pause
  case moveConstant(register: UInt8, log2: Int)
  case swapBytes(register: UInt8)
  case exchangeWithAccumulator(register: UInt8)
  case loadEffectiveAddress
  case push(PushSource)
  case pop(register: UInt8)
  /// LEAVE.
  case leave
  case divide(isSigned: Bool)
  /// To a distance from the start of the page.
  case jump(Int)
  case conditionalJump(UInt8, Int)
  case call(Int)
  /// To what ModRM.rm holds.
  case jumpIndirect
  case callIndirect
  /// RET, and how many bytes more it releases.
  case returnNear(Int)
  /// Left to the interpreter.
  case foreign

  enum PushSource {
    case register(UInt8)
    case constant(Int32)
    case memory
  }
}

extension Meaning {
  /// What an instruction, `next` bytes from the start of its page to its end, means to the translator.
  init(
    _ i: Instruction, next: Int, vectors: Bool, guest: X86.Features, host: X86.Features
  ) {
    guard !i.hasAddressSizePrefix else {
      self = .foreign
      return
    }
    if let meaning = Self.special(i, next: next) {
      self = meaning
    } else if let form = NativeForm.general(i, guest: guest, host: host)
      ?? (vectors ? NativeForm.extended(i, guest: guest, host: host) : nil),
      form.canBeRenamed(i)
    {
      self = .plain(form)
    } else {
      self = .foreign
    }
  }

  private static func special(_ i: Instruction, next: Int) -> Meaning? {
    guard i.vex == nil, !i.hasLock else { return nil }
    let target = next &+ Int(Int64(bitPattern: i.immediate))
    switch i.map {
    case .oneByte: return oneByte(i, target)
    case .twoByte:
      switch i.opcode {
      case 0x0d, 0x18...0x1f: return .nothing
      case 0x80...0x8f: return .conditionalJump(i.opcode & 15, target)
      case 0xc8...0xcf:
        return i.operandLog2 > 1 ? .swapBytes(register: opcodeRegister(i)) : .foreign
      default: return nil
      }
    default: return nil
    }
  }

  /// The register in the opcode's low three bits and REX.B.
  private static func opcodeRegister(_ i: Instruction) -> UInt8 { i.opcode & 7 | (i.rex & 1) << 3 }

  private static func oneByte(_ i: Instruction, _ target: Int) -> Meaning? {
    let isOdd = i.hasOperandSizePrefix
    switch i.opcode {
    case 0x50...0x57: return isOdd ? .foreign : .push(.register(opcodeRegister(i)))
    case 0x58...0x5f: return isOdd ? .foreign : .pop(register: opcodeRegister(i))
    case 0x68, 0x6a:
      return isOdd ? .foreign : .push(.constant(Int32(truncatingIfNeeded: i.immediate)))
    case 0x70...0x7f: return .conditionalJump(i.opcode & 15, target)
    case 0x8d: return i.isMemory && !i.isSegmented ? .loadEffectiveAddress : .foreign
    case 0x90 where i.repeatPrefix == 0xf3: return .pause
    case 0x90 where i.rex & 1 == 0: return .nothing
    case 0x90...0x97: return .exchangeWithAccumulator(register: opcodeRegister(i))
    case 0xb0...0xb7:
      // AH, CH, DH and BH are no registers that can be named by a number here.
      let register = opcodeRegister(i)
      return i.rex == 0 && register > 3 ? .foreign : .moveConstant(register: register, log2: 0)
    case 0xb8...0xbf:
      return .moveConstant(register: opcodeRegister(i), log2: i.operandLog2)
    case 0xc2: return .returnNear(Int(i.immediate))
    case 0xc3: return .returnNear(0)
    case 0xc9: return isOdd ? .foreign : .leave
    case 0xe8: return .call(target)
    case 0xe9, 0xeb: return .jump(target)
    case 0xf7 where i.extension3 >= 6 && i.operandLog2 > 1:
      return .divide(isSigned: i.extension3 == 7)
    case 0xff:
      switch i.extension3 {
      case 2: return .callIndirect
      case 4: return .jumpIndirect
      case 6: return isOdd ? .foreign : i.isMemory ? .push(.memory) : .push(.register(i.rm))
      default: return nil
      }
    default: return nil
    }
  }

  /// Status flags that it looks at, and those that it always writes.
  var flags: (read: StatusFlags, written: StatusFlags) {
    switch self {
    case .plain(let form): (form.flagsRead, form.flagsWritten)
    case .conditionalJump(let condition, _): (.condition(condition), [])
    case .foreign, .jumpIndirect, .callIndirect, .returnNear: (.all, [])
    default: ([], [])
    }
  }

  /// Whether both push registers, or pop them, other than RSP.
  func isAlike(_ other: Meaning) -> Bool {
    switch (self, other) {
    case (.push(.register(let a)), .push(.register(let b))): a != 4 && b != 4
    case (.pop(let a), .pop(let b)): a != 4 && b != 4
    default: false
    }
  }

  /// Whether it runs to its end in host code, whatever happens.
  func isQuiet(_ i: Instruction) -> Bool {
    switch self {
    case .plain(let form): !i.isMemory || form.memoryBytes == 0
    case .nothing, .pause, .moveConstant, .swapBytes, .exchangeWithAccumulator,
      .loadEffectiveAddress:
      true
    default: false
    }
  }
}

extension Instruction {
  /// Whether its memory operand is displaced by FS or GS.
  var isSegmented: Bool { (segmentOverride ?? 0) > 3 }
}

extension NativeForm {
  /// The form of an instruction on registers that CR0 can forbid.
  static func extended(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    vector(i, guest: guest, host: host) ?? x87(i) ?? mmx(i, host: host)
  }

  /// Whether there are scratch registers enough for the operands that stay in memory, and an encoding.
  func canBeRenamed(_ i: Instruction) -> Bool {
    let isMemory = i.isMemory && memoryBytes > 0
    // Absolute addresses of 64 bits, in A0 to A3, have no ModRM.
    if i.isMemory != isMemory { return false }
    var needed = 0
    let isSecondReg = namesSecondByteReg(i)
    let isSecondRM = namesSecondByteRM(i)
    if reg.bank == .general, host(i.reg) == nil { needed += 1 }
    if vvvv.bank == .general, host(i.vex?.register ?? 0) == nil { needed += 1 }
    if isMemory {
      if needed > 1 { return false }
    } else if rm.bank == .general, host(i.rm) == nil {
      needed += 1
      if needed > 2 { return false }
    }
    guard isSecondReg || isSecondRM else { return true }
    // AH, CH, DH and BH have no encoding beside registers that need a REX prefix, as that of the guest's RSP does.
    return !isMemory && (isSecondReg || reg.bank != .general || i.reg != 4)
      && (isSecondRM || rm.bank != .general || i.rm != 4)
  }

  private func isByteReg(_ i: Instruction) -> Bool {
    guard reg.bank == .general, i.vex == nil else { return false }
    switch (i.map, i.opcode) {
    case (.oneByte, 0x00...0x3f), (.oneByte, 0x84...0x8b): return i.opcode & 1 == 0
    case (.twoByte, 0xb0), (.twoByte, 0xc0): return true
    default: return false
    }
  }

  private func isByteRM(_ i: Instruction) -> Bool {
    guard rm.bank == .general, i.vex == nil else { return false }
    switch (i.map, i.opcode) {
    case (.oneByte, 0x69), (.oneByte, 0x6b), (.oneByte, 0x63): return false
    case (.oneByte, _): return i.opcode & 1 == 0
    case (.twoByte, 0x90...0x9f), (.twoByte, 0xb0), (.twoByte, 0xc0), (.twoByte, 0xb6),
      (.twoByte, 0xbe):
      return true
    case (.threeByte38, 0xf0): return true
    default: return false
    }
  }

  /// Whether ModRM.reg is AH, CH, DH or BH.
  func namesSecondByteReg(_ i: Instruction) -> Bool {
    i.rex == 0 && 4...7 ~= i.reg && isByteReg(i)
  }

  /// Whether ModRM.rm is.
  func namesSecondByteRM(_ i: Instruction) -> Bool {
    i.rex == 0 && !i.isMemory && 4...7 ~= i.rm && isByteRM(i)
  }
}
