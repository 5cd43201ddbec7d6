import X86Processor

// 32-bit protected mode: where all segments but FS and GS are flat, an instruction does what the same one does in 64-bit
// mode to 32 bits of each register. Addresses are 32 bits wide, and so is what CALL, PUSH and their like put on the stack.

extension Instruction {
  /// The instruction of 64-bit mode that does the same to registers and memory, to be found by an address of 32 bits;
  /// `nil` if there is none. A near transfer of control is the same but for its width.
  var in64BitMode: Instruction? {
    guard !hasAddressSizePrefix, vex?.isW != true else { return nil }
    var i = self
    i.mode = .bits64
    switch segmentOverride {
    // Nobody writes by CS, and whether it may be read is not asked here.
    case 1: return nil
    case 4, 5: break
    default: i.segmentOverride = nil
    }
    // The fourth register of VBLENDVPS and its like: there are eight.
    if vex != nil, map == .threeByte3A, 0x4a...0x4c ~= opcode { i.immediate &= 0x7f }
    guard map == .oneByte, vex == nil else {
      // Jcc to an offset of 16 bits.
      return isConditionalJump && hasOperandSizePrefix ? nil : i
    }
    switch opcode {
    case 0x40...0x4f:  // INC, DEC
      i.opcode = 0xff
      i.setRegisters(reg: opcode >> 3 & 1, rm: opcode & 7)
    case 0xa0...0xa3:  // MOV between AL or EAX and an offset
      i.opcode = 0x88 | (opcode & 1) | (opcode < 0xa2 ? 2 : 0)
      i.setRegisters(reg: 0, rm: 0)
      i.isMemory = true
      i.displacement = Int32(truncatingIfNeeded: immediate)
      i.immediate = 0
    case 0x63: return nil  // ARPL
    case 0x70...0x7f, 0xc2, 0xc3, 0xe8, 0xe9, 0xeb: if hasOperandSizePrefix { return nil }
    case 0xff where 2...5 ~= extension3: if hasOperandSizePrefix { return nil }
    default: break
    }
    return i
  }

  private var isConditionalJump: Bool { map == .twoByte && 0x80...0x8f ~= opcode }

  private mutating func setRegisters(reg: UInt8, rm: UInt8) {
    modRM = 0xc0 | reg << 3 | rm
    self.reg = reg
    self.rm = rm
  }
}
