import X86Processor

// Instructions of the x87 FPU: SDM Vol. 2D Tables. Registers of the stack keep their numbers, as they are
// counted from its top.
//
// Host code runs while the guest masks all exceptions, so that none of these faults: whatever goes wrong is noted in the
// status word, by the host as by the interpreter.

extension NativeForm {
  /// The form of an instruction of 64-bit mode on the x87 FPU; `nil` leaves it to the interpreter: what is undefined,
  /// what loads or stores more than one register, and FNINIT, which also forgets where the last instruction lay.
  static func x87(_ i: Instruction) -> NativeForm? {
    guard i.map == .oneByte, i.vex == nil, !i.hasLock else { return nil }
    var form = NativeForm()
    form.uses = .x87
    // FWAIT.
    if i.opcode == 0x9b { return form }
    guard 0xd8...0xdf ~= i.opcode else { return nil }
    return (i.isMemory ? form.x87Memory(i) : form.x87Register(i)) ? form : nil
  }

  private mutating func x87Memory(_ i: Instruction) -> Bool {
    let operand = X87Instruction(opcode: i.opcode, modrm: i.modRM).memoryOperand
    guard operand.size > 0 else { return false }
    memoryBytes = Int(operand.size)
    rm = operand.isStore ? .writes(.x87) : .reads(.x87)
    loadsX87Control = operand == .loadControl
    return true
  }

  private mutating func x87Register(_ i: Instruction) -> Bool {
    switch (i.opcode, i.modRM) {
    case (0xd8, _), (0xdc, _):  // FADD, FMUL, FCOM, FCOMP, FSUB, FSUBR, FDIV, FDIVR
      break
    case (0xd9, 0xc0...0xd0):  // FLD, FXCH, FNOP
      break
    case (0xd9, 0xe0), (0xd9, 0xe1), (0xd9, 0xe4), (0xd9, 0xe5):  // FCHS, FABS, FTST, FXAM
      break
    case (0xd9, 0xe8...0xee), (0xd9, 0xf0...0xff):  // constants, and functions
      break
    case (0xda, 0xc0...0xdf), (0xdb, 0xc0...0xdf):  // FCMOVcc
      flagsRead =
        switch i.modRM >> 3 & 3 {
        case 0: .carry
        case 1: .zero
        case 2: [.carry, .zero]
        default: .parity
        }
    case (0xda, 0xe9), (0xde, 0xd9):  // FUCOMPP, FCOMPP
      break
    case (0xdb, 0xe2):  // FNCLEX
      break
    case (0xdb, 0xe8...0xf7), (0xdf, 0xe8...0xf7):  // FUCOMI, FCOMI, FUCOMIP, FCOMIP
      flagsWritten = .all
    case (0xdd, 0xc0...0xc7), (0xdd, 0xd0...0xef):  // FFREE, FST, FSTP, FUCOM, FUCOMP
      break
    case (0xde, 0xc0...0xcf), (0xde, 0xe0...0xff):  // FADDP, FMULP, FSUBRP, FSUBP, FDIVRP, FDIVP
      break
    case (0xdf, 0xc0...0xc7), (0xdf, 0xe0):  // FFREEP, FNSTSW AX
      break
    default: return false
    }
    return true
  }
}
