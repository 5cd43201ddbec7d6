import ArchitectureX86
import X86Processor

// Instructions on general registers: SDM Vol. 2D Appendix A, Tables, and the BMI groups. Their operands in
// fixed registers, such as the count in CL, need no mention: the guest's RAX, RCX, RDX, RBX, RBP, RSI and RDI are in the
// host's of the same name.

extension NativeForm {
  /// The form of an instruction of 64-bit mode that the interpreter does not hold for undefined; `nil` leaves it to the
  /// interpreter.
  static func general(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    if i.vex != nil { return manipulation(i, guest: guest, host: host) }
    switch i.map {
    case .oneByte: return oneByte(i)
    case .twoByte: return twoByte(i, guest: guest, host: host)
    case .threeByte38: return threeByte(i, guest: guest, host: host)
    case .threeByte3A: return nil
    }
  }

  private init(
    reg: Operand = .none, rm: Operand = .none, bytes: Int = 0, reads: StatusFlags = [],
    writes: StatusFlags = []
  ) {
    self.reg = reg
    self.rm = rm
    memoryBytes = bytes
    flagsRead = reads
    flagsWritten = writes
  }

  /// A destination: of 32 and 64 bits it is written whole, of less in part.
  private static func destination(_ log2: Int) -> Operand {
    log2 >= 2 ? .writes(.general) : .modifies(.general)
  }

  // MARK: - One byte

  private static func oneByte(_ i: Instruction) -> NativeForm? {
    let log2 = i.opcode & 1 != 0 ? i.operandLog2 : 0
    let bytes = 1 << log2
    switch i.opcode {
    case 0x00...0x3f where i.opcode & 7 < 6:
      return binary(i.opcode >> 3, form: i.opcode & 7, bytes: bytes)
    case 0x63:
      return NativeForm(
        reg: destination(i.operandLog2), rm: .reads(.general),
        bytes: i.operandLog2 == 3 ? 4 : 1 << i.operandLog2)
    case 0x69, 0x6b:
      return NativeForm(
        reg: destination(i.operandLog2), rm: .reads(.general), bytes: 1 << i.operandLog2,
        writes: .all)
    case 0x80, 0x81, 0x83: return binary(i.extension3, form: 0, bytes: bytes, hasReg: false)
    case 0x84, 0x85:
      return NativeForm(
        reg: .reads(.general), rm: .reads(.general), bytes: bytes, writes: .all)
    case 0x86, 0x87:
      return NativeForm(reg: .modifies(.general), rm: .modifies(.general), bytes: bytes)
    case 0x88, 0x89: return NativeForm(reg: .reads(.general), rm: destination(log2), bytes: bytes)
    case 0x8a, 0x8b: return NativeForm(reg: destination(log2), rm: .reads(.general), bytes: bytes)
    case 0x98, 0x99: return NativeForm()
    case 0x9e: return NativeForm(writes: .all.subtracting(.overflow))
    case 0x9f: return NativeForm(reads: .all.subtracting(.overflow))
    case 0xa8, 0xa9: return NativeForm(writes: .all)
    case 0xc0, 0xc1: return shift(i, bytes: bytes, count: UInt8(truncatingIfNeeded: i.immediate))
    case 0xd0, 0xd1: return shift(i, bytes: bytes, count: 1)
    case 0xd2, 0xd3: return shift(i, bytes: bytes, count: nil)
    case 0xc6, 0xc7:
      return i.extension3 == 0 ? NativeForm(rm: destination(log2), bytes: bytes) : nil
    case 0xf5: return NativeForm(reads: .carry, writes: .carry)
    case 0xf8, 0xf9: return NativeForm(writes: .carry)
    case 0xf6, 0xf7: return group3(i, bytes: bytes)
    case 0xfe, 0xff:
      return i.extension3 < 2
        ? NativeForm(
          rm: .modifies(.general), bytes: bytes, writes: .all.subtracting(.carry)) : nil
    default: return nil
    }
  }

  /// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP.
  private static func binary(
    _ operation: UInt8, form: UInt8, bytes: Int, hasReg: Bool = true
  ) -> NativeForm {
    var result = NativeForm(bytes: bytes, writes: .all)
    if operation == 2 || operation == 3 { result.flagsRead = .carry }
    let destination: Operand = operation == 7 ? .reads(.general) : .modifies(.general)
    switch form {
    case 0, 1:
      result.rm = destination
      if hasReg { result.reg = .reads(.general) }
    case 2, 3:
      result.reg = destination
      result.rm = .reads(.general)
    default: break
    }
    return result
  }

  /// ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR; a count of zero leaves the flags alone.
  private static func shift(_ i: Instruction, bytes: Int, count: UInt8?) -> NativeForm {
    var result = NativeForm(rm: .modifies(.general), bytes: bytes)
    let isZero = (count ?? 0) & (bytes == 8 ? 63 : 31) == 0
    switch i.extension3 {
    case 0, 1: if !isZero { result.flagsWritten = [.carry, .overflow] }
    // The count is taken modulo 9 or 17 of the narrow ones.
    case 2, 3: result.flagsRead = .carry
    default: if !isZero { result.flagsWritten = .all }
    }
    return result
  }

  /// TEST, NOT, NEG, MUL, IMUL. DIV and IDIV are no plain ones: they fault.
  private static func group3(_ i: Instruction, bytes: Int) -> NativeForm? {
    switch i.extension3 {
    case 0, 1, 4, 5: NativeForm(rm: .reads(.general), bytes: bytes, writes: .all)
    case 2: NativeForm(rm: .modifies(.general), bytes: bytes)
    case 3: NativeForm(rm: .modifies(.general), bytes: bytes, writes: .all)
    default: nil
    }
  }

  // MARK: - Two bytes

  private static func twoByte(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    let log2 = i.operandLog2
    let wide = i.opcode & 1 != 0 ? log2 : 0
    switch i.opcode {
    case 0x40...0x4f:
      return NativeForm(
        reg: .modifies(.general), rm: .reads(.general), bytes: 1 << log2,
        reads: .condition(i.opcode & 15))
    case 0x90...0x9f:
      return NativeForm(
        rm: i.isMemory ? .writes(.general) : .modifies(.general), bytes: 1,
        reads: .condition(i.opcode & 15))
    case 0xa3 where !i.isMemory:
      return NativeForm(reg: .reads(.general), rm: .reads(.general), writes: .carry)
    case 0xab where !i.isMemory, 0xb3 where !i.isMemory, 0xbb where !i.isMemory:
      return NativeForm(reg: .reads(.general), rm: .modifies(.general), writes: .carry)
    case 0xba where i.extension3 >= 4:
      return NativeForm(
        rm: i.extension3 == 4 ? .reads(.general) : .modifies(.general), bytes: 1 << log2,
        writes: .carry)
    // With 16 bits, counts beyond those leave what is undefined.
    case 0xa4 where log2 > 1, 0xac where log2 > 1:
      let isZero = i.immediate & (log2 == 3 ? 63 : 31) == 0
      return NativeForm(
        reg: .reads(.general), rm: .modifies(.general), bytes: 1 << log2,
        writes: isZero ? [] : .all)
    case 0xa5 where log2 > 1, 0xad where log2 > 1:
      return NativeForm(reg: .reads(.general), rm: .modifies(.general), bytes: 1 << log2)
    case 0xaf:
      return NativeForm(
        reg: .modifies(.general), rm: .reads(.general), bytes: 1 << log2, writes: .all)
    case 0xb0, 0xb1:
      return NativeForm(
        reg: .reads(.general), rm: .modifies(.general), bytes: 1 << wide, writes: .all)
    case 0xb6, 0xb7, 0xbe, 0xbf:
      return NativeForm(
        reg: destination(log2), rm: .reads(.general), bytes: i.opcode & 1 != 0 ? 2 : 1)
    case 0xb8:
      guard guest.hasPOPCNT, host.hasPOPCNT, i.repeatPrefix == 0xf3 else { return nil }
      return NativeForm(
        reg: destination(log2), rm: .reads(.general), bytes: 1 << log2, writes: .all)
    case 0xbc, 0xbd:
      // Of a processor without TZCNT and LZCNT these are BSF and BSR, whatever the prefix.
      let counts = i.opcode == 0xbc ? \X86.Features.hasBMI1 : \X86.Features.hasLZCNT
      if i.repeatPrefix == 0xf3 {
        guard guest[keyPath: counts], host[keyPath: counts] else { return nil }
      } else if i.repeatPrefix != 0 {
        return nil
      }
      return NativeForm(
        reg: .modifies(.general), rm: .reads(.general), bytes: 1 << log2, writes: .all)
    case 0xc0, 0xc1:
      return NativeForm(
        reg: .modifies(.general), rm: .modifies(.general), bytes: 1 << wide, writes: .all)
    case 0xc3 where i.isMemory && i.mandatoryPrefix == 0:
      return NativeForm(reg: .reads(.general), rm: .writes(.general), bytes: 1 << max(log2, 2))
    case 0xc7 where i.isMemory && i.extension3 == 1 && i.repeatPrefix == 0:
      guard log2 != 3 || host.hasCMPXCHG16B else { return nil }
      var result = NativeForm(
        rm: .modifies(.general), bytes: log2 == 3 ? 16 : 8, writes: .zero)
      result.alignment = log2 == 3 ? 16 : 1
      return result
    default: return nil
    }
  }

  // MARK: - Three bytes, and VEX

  private static func threeByte(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    switch (i.opcode, i.repeatPrefix) {
    case (0xf0, 0), (0xf1, 0):
      guard i.isMemory, guest.hasMOVBE, host.hasMOVBE else { return nil }
      let bytes = 1 << i.operandLog2
      return i.opcode == 0xf0
        ? NativeForm(reg: destination(i.operandLog2), rm: .reads(.general), bytes: bytes)
        : NativeForm(reg: .reads(.general), rm: .writes(.general), bytes: bytes)
    case (0xf0, 0xf2), (0xf1, 0xf2):
      guard guest.hasSSE42, host.hasSSE42 else { return nil }
      return NativeForm(
        reg: .modifies(.general), rm: .reads(.general),
        bytes: i.opcode == 0xf0 ? 1 : 1 << i.operandLog2)
    case (0xf6, 0), (0xf6, 0xf3):
      guard guest.hasADX, host.hasADX, i.hasOperandSizePrefix != (i.repeatPrefix == 0xf3) else {
        return nil
      }
      let flag: StatusFlags = i.repeatPrefix == 0 ? .carry : .overflow
      return NativeForm(
        reg: .modifies(.general), rm: .reads(.general), bytes: i.rex & 8 != 0 ? 8 : 4,
        reads: flag, writes: flag)
    default: return nil
    }
  }

  /// ANDN, BLSR, BLSMSK, BLSI, BZHI, PEXT, PDEP, MULX, BEXTR, SHLX, SARX, SHRX, RORX: SDM Vol. 2D Tables.
  private static func manipulation(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    guard let vex = i.vex, !vex.isInvalid, !vex.isWide else { return nil }
    let has1 = guest.hasBMI1 && host.hasBMI1
    let has2 = guest.hasBMI2 && host.hasBMI2
    var result = NativeForm(
      reg: .writes(.general), rm: .reads(.general), bytes: vex.isW ? 8 : 4)
    result.vvvv = .reads(.general)
    switch (i.map, i.opcode, i.mandatoryPrefix) {
    case (.threeByte38, 0xf2, 0), (.threeByte38, 0xf7, 0):
      guard has1 else { return nil }
      result.flagsWritten = .all
    case (.threeByte38, 0xf3, 0):
      guard has1, 1...3 ~= i.extension3 else { return nil }
      result.reg = .none
      result.vvvv = .writes(.general)
      result.flagsWritten = .all
    case (.threeByte38, 0xf5, 0):
      guard has2 else { return nil }
      result.flagsWritten = .all
    case (.threeByte38, 0xf5, 0xf3), (.threeByte38, 0xf5, 0xf2), (.threeByte38, 0xf7, 0x66),
      (.threeByte38, 0xf7, 0xf3), (.threeByte38, 0xf7, 0xf2):
      guard has2 else { return nil }
    case (.threeByte38, 0xf6, 0xf2):
      guard has2 else { return nil }
      result.vvvv = .writes(.general)
    case (.threeByte3A, 0xf0, 0xf2):
      guard has2, vex.namesNone else { return nil }
      result.vvvv = .none
    default: return nil
    }
    return result
  }
}

extension StatusFlags {
  /// What a condition in an opcode's low four bits looks at: SDM Vol. 1 Appendix B.
  static func condition(_ code: UInt8) -> StatusFlags {
    switch code >> 1 {
    case 0: .overflow
    case 1: .carry
    case 2: .zero
    case 3: [.carry, .zero]
    case 4: .sign
    case 5: .parity
    case 6: [.sign, .overflow]
    default: [.zero, .sign, .overflow]
    }
  }
}
