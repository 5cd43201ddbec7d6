import X86Processor

// Instructions as they are, with their operands renamed.

extension Emitter {
  mutating func plain(_ step: Region.Step, _ form: NativeForm) {
    let i = step.instruction
    guard OpcodeFormat.hasModRM(i) else { return withoutOperands(i) }
    let isMemory = i.isMemory
    var rm = RegisterOrMemory.register(i.rm)
    var slow: [Assembler.Fixup] = []
    var hasSavedFlags = false
    var crossing: Assembler.Fixup?
    var isWhole = false
    var checked: UInt64 = 0
    // Guest registers that stay in memory, and the scratch registers that stand for them.
    var homeless: [(guest: UInt8, scratch: Register, isWritten: Bool)] = []
    var free = isMemory ? [scratch2] : [scratch2, scratch]

    func renamed(_ guest: UInt8, _ operand: NativeForm.Operand, _ a: inout Assembler) -> UInt8 {
      guard operand.bank == .general else { return guest }
      if let host = host(guest) { return host.rawValue }
      let register = free.removeFirst()
      if operand.isRead { a.load(register, slot(guest)) }
      homeless.append((guest, register, operand.isWritten))
      return register.rawValue
    }

    if isMemory {
      hasSavedFlags = !step.liveBefore.isEmpty
      if hasSavedFlags { saveFlags() }
      isWhole =
        hasSavedFlags || form.loadsX87Control || form.reg.bank == .general && host(i.reg) == nil
        || form.vvvv.bank == .general && host(i.vex?.register ?? 0) == nil
      slow = checkedAddress(
        step, bytes: form.memoryBytes, write: form.rm.isWritten, inParts: !isWhole)
      checked = a.here
      if form.canCross(i) { crossing = slow.removeLast() }
      if form.alignment > 1 {
        a.test(scratch, constant: Int32(form.alignment - 1), .doubleword)
        slow.append(a.jump(if: .notZero))
      }
      rm = .memory(
        form.loadsX87Control
          ? maskedControl(&slow) : isWhole ? Address(scratch) : Address(scratch, index: scratch2))
      if hasSavedFlags { restoreFlags() }
    } else if form.rm.bank == .general, host(i.rm) == nil, !form.rm.isWritten, !i.isBitTest {
      rm = .memory(slot(i.rm))
    } else {
      rm = .register(form.namesSecondByteRM(i) ? i.rm : renamed(i.rm, form.rm, &a))
    }
    let reg =
      form.reg.bank == .none
      ? i.modRM >> 3 & 7 : form.namesSecondByteReg(i) ? i.reg : renamed(i.reg, form.reg, &a)
    let vvvv = i.vex.map { renamed($0.register, form.vvvv, &a) } ?? 0
    encode(i, reg: reg, vvvv: vvvv, rm)
    // The operand named last wins where two are one register: ModRM.reg of MULX, ModRM.rm of XADD.
    for operand in homeless.reversed() where operand.isWritten {
      a.store(slot(operand.guest), operand.scratch)
    }
    if let crossing, let number = gates.crossing(bytes: form.memoryBytes, isUser: isUser) {
      let isWrite = form.rm.isWritten
      addCrossing(
        Crossing(
          miss: crossing, gate: isWrite ? gates.writeAcross[number] : gates.readAcross[number],
          tag: tags(write: isWrite), isInParts: !isWhole,
          source: isWrite ? Register(rawValue: reg) : nil, back: isWrite ? a.here : checked,
          restoresFlags: isWrite && hasSavedFlags, op: step.op,
          flags: hasSavedFlags ? .saved : .dead))
    }
    if !slow.isEmpty { addSlowPath(slow, step, hasSavedFlags ? .saved : .dead) }
  }

  /// Where a copy lies of the x87 control word to which `scratch` points: of a word that somebody else may write
  /// meanwhile. What leaves an exception unmasked is slow.
  private mutating func maskedControl(_ slow: inout [Assembler.Fixup]) -> Address {
    a.loadZeroExtended(scratch2, Address(scratch), .word)
    a.store(Field.at(Field.held), scratch2)
    a.not(scratch2, .doubleword)
    a.test(scratch2, constant: 0x3f, .doubleword)
    slow.append(a.jump(if: .notZero))
    return Field.at(Field.held)
  }

  /// Writes an instruction with other registers than it had.
  private mutating func encode(
    _ i: Instruction, reg: UInt8, vvvv: UInt8, _ rm: RegisterOrMemory
  ) {
    if let vex = i.vex {
      let pp: UInt8 =
        switch i.mandatoryPrefix {
        case 0x66: 1
        case 0xf3: 2
        case 0xf2: 3
        default: 0
        }
      a.vexInstruction(
        map: i.map.rawValue, pp: pp, isW: vex.isW, isWide: vex.isWide, opcode: i.opcode, reg: reg,
        vvvv: vvvv, rm)
    } else {
      a.instruction(i.encoding, reg: reg, rm)
    }
    immediate(i)
  }

  /// An instruction whose operands are all in fixed registers.
  private mutating func withoutOperands(_ i: Instruction) {
    if let vex = i.vex {
      // VZEROUPPER and VZEROALL. VEX.W means nothing to them, and no other prefix may stand before VEX.
      a.byte(0xc5)
      a.byte(vex.isWide ? 0xfc : 0xf8)
      return a.byte(i.opcode)
    }
    let encoding = i.encoding
    if encoding.prefixes.0 != 0 { a.byte(encoding.prefixes.0) }
    if encoding.isW { a.byte(0x48) }
    if i.map != .oneByte { a.byte(0x0f) }
    a.byte(i.opcode)
    immediate(i)
  }

  private mutating func immediate(_ i: Instruction) {
    switch OpcodeFormat.immediate(i) {
    case .byte: a.byte(UInt8(truncatingIfNeeded: i.immediate))
    case .operand where i.operandLog2 == 1: a.word(UInt16(truncatingIfNeeded: i.immediate))
    case .operand: a.doubleword(Int32(truncatingIfNeeded: i.immediate))
    default: break
    }
  }
}

extension NativeForm {
  /// Whether its memory operand is taken together from two pages, or is a register's that goes to two: reads of general
  /// registers' widths, and MOV.
  fileprivate func canCross(_ i: Instruction) -> Bool {
    guard [2, 4, 8].contains(memoryBytes), alignment == 1, uses.isEmpty else { return false }
    if rm.isWritten {
      return i.map == .oneByte && i.opcode == 0x89 && host(i.reg) != nil
    }
    return true
  }
}

extension Instruction {
  /// Its encoding without operands. Repeat prefixes mean nothing in the one-byte map.
  fileprivate var encoding: Assembler.Encoding {
    var e = Assembler.Encoding(opcode, map: map.rawValue, isW: rex & 8 != 0)
    e.needsREX = rex != 0
    e.prefixes.0 = hasOperandSizePrefix ? 0x66 : 0
    e.prefixes.1 = hasLock ? 0xf0 : map == .oneByte ? 0 : repeatPrefix
    return e
  }

  /// BT of a register: with memory in its place the bit number would lead beyond the operand.
  fileprivate var isBitTest: Bool { map == .twoByte && opcode == 0xa3 }
}
