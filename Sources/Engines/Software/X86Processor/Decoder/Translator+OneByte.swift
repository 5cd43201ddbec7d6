import CProcessor

// The one-byte opcodes: SDM Vol. 2D Appendix A, Table A-2.

extension Translator {
  mutating func oneByte() -> Flow {
    let opcode = i.opcode
    let wide = opcode & 1 != 0 ? i.operandLog2 : 0
    switch opcode {
    case 0x00...0x3f where opcode & 7 < 6: return binary(Int(opcode >> 3), form: opcode & 7)
    case 0x06, 0x0e, 0x16, 0x1e: return pushSegment(opcode >> 3)
    case 0x07, 0x17, 0x1f: return popSegment(opcode >> 3)
    case 0x27, 0x2f, 0x37, 0x3f: return decimalAdjust(opcode)
    case 0x40...0x4f:
      let handlers = opcode < 0x48 ? incrementHandlers : decrementHandlers
      emit(handlers.slot[i.operandLog2], d: Slot.register(opcode & 7))
    case 0x50...0x57: pushSlot(Slot.register(opcode & 7 | rexB))
    case 0x58...0x5f: popSlot(Slot.register(opcode & 7 | rexB))
    case 0x60, 0x61:
      guard i.mode != .bits64 else { return undefined() }
      emit(opcode == 0x60 ? Stack.pushAll : Stack.popAll, detail: UInt8(i.operandLog2))
    case 0x62: return bound()
    case 0x63: return i.mode == .bits64 ? moveSignExtendedDoubleword() : adjustPrivilege()
    case 0x68, 0x6a: pushConstant(i.immediate)
    case 0x69, 0x6b:
      let source = rmSource(i.operandLog2)
      emit(
        multiplicationsByConstant[i.operandLog2], d: regSlot(i.operandLog2), s: source,
        immediate: i.immediate)
    case 0x6c...0x6f:
      let handlers = opcode < 0x6e ? Strings.input : Strings.output
      string(handlers[min(wide, 2)])
    case 0x70...0x7f: return conditionalJump(opcode & 15)
    case 0x80...0x83: return binaryImmediate()
    case 0x84, 0x85:
      let a = rmSource(wide)
      emitComparison(testHandlers.slots[wide], isTest: true, log2: wide, d: a, s: regSlot(wide))
    case 0x86, 0x87:
      if i.isMemory {
        emitAtomic(Exchanges.memory[wide], s: regSlot(wide))
      } else {
        emit(registerExchanges[wide], d: slot(i.rm, log2: wide), s: regSlot(wide))
      }
    case 0x88, 0x89: storeRM(wide, from: regSlot(wide))
    case 0x8a, 0x8b:
      if i.isMemory {
        emit(Loads.plain[wide], d: regSlot(wide))
      } else {
        emit(moves[wide], d: regSlot(wide), s: slot(i.rm, log2: wide))
      }
    case 0x8c: return moveFromSegment()
    case 0x8d: return loadEffectiveAddress()
    case 0x8e: return moveToSegment()
    case 0x8f: return popRM()
    case 0x90 where i.repeatPrefix == 0xf3: emit(SystemInstructions.pause)
    case 0x90...0x97:
      let other = Slot.register(opcode & 7 | rexB)
      if other == Slot.rax {
        emit(SystemInstructions.nothing)
      } else {
        emit(registerExchanges[i.operandLog2], d: Slot.rax, s: other)
      }
    case 0x98: widenAccumulator()
    case 0x99: emit(signOfAccumulator[i.operandLog2 - 1])
    case 0x9a:
      guard i.mode != .bits64 else { return undefined() }
      emit(
        SystemInstructions.farCall, immediate: i.immediate,
        displacement: Int32(i.secondImmediate), detail: UInt8(i.operandLog2))
      return .ends
    case 0x9b: return x87()
    case 0x9c:
      emit(Stack.pushFlags, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    case 0x9d:
      emit(Stack.popFlags, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
      return .ends
    case 0x9e: emit(SystemInstructions.storeAHIntoFlags)
    case 0x9f: emit(SystemInstructions.loadAHFromFlags)
    case 0xa0...0xa3: moveAccumulator()
    case 0xa4, 0xa5: string(Strings.move[wide])
    case 0xa6, 0xa7: string(Strings.compare[wide])
    case 0xa8, 0xa9:
      emitComparison(
        testHandlers.constant[wide], isTest: true, log2: wide, d: Slot.rax, immediate: i.immediate)
    case 0xaa, 0xab: string(Strings.store[wide])
    case 0xac, 0xad: string(Strings.load[wide])
    case 0xae, 0xaf: string(Strings.scan[wide])
    case 0xb0...0xb7:
      emit(moveConstants[0], d: slot(opcode & 7 | rexB, log2: 0), immediate: i.immediate)
    case 0xb8...0xbf:
      emit(
        moveConstants[i.operandLog2], d: Slot.register(opcode & 7 | rexB), immediate: i.immediate)
    case 0xc0, 0xc1: shift(wide, by: i.immediate)
    case 0xc2, 0xc3: return nearReturn(releasing: opcode == 0xc2 ? i.immediate : 0)
    case 0xc4, 0xc5:
      return loadFarPointer(segment: opcode == 0xc4 ? 0 : 3)
    case 0xc6, 0xc7:
      guard i.extension3 == 0 else { return undefined() }
      if i.isMemory {
        emit(Stores.constant[wide], immediate: i.immediate)
      } else {
        emit(moveConstants[wide], d: slot(i.rm, log2: wide), immediate: i.immediate)
      }
    case 0xc8:
      emit(
        Stack.enter, immediate: i.immediate, scale: UInt8(i.secondImmediate & 31),
        detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    case 0xc9:
      emit(Stack.leave, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    case 0xca, 0xcb:
      emit(
        SystemInstructions.farReturn, immediate: opcode == 0xca ? i.immediate : 0,
        detail: UInt8(i.operandLog2))
      return .ends
    case 0xcc: return interrupt(3)
    case 0xcd: return interrupt(i.immediate & 0xff)
    case 0xce:
      guard i.mode != .bits64 else { return undefined() }
      emit(SystemInstructions.interrupt, immediate: 4, detail: 1)
    case 0xcf:
      emit(SystemInstructions.interruptReturn, detail: UInt8(i.operandLog2))
      return .ends
    case 0xd0, 0xd1: shift(wide, by: 1)
    case 0xd2, 0xd3: shiftByCL(wide)
    case 0xd4, 0xd5: return asciiAdjust(opcode)
    case 0xd6:
      guard i.mode != .bits64 else { return undefined() }
      emit(Additional.setALOnCarry)
    case 0xd7: translateByte()
    case 0xd8...0xdf: return x87()
    case 0xe0...0xe3:
      emit(
        loopJump, immediate: jumpTarget, scale: UInt8(i.operandLog2), detail: opcode & 3,
        flags: i.addressSize)
    case 0xe4, 0xe5: emit(portInputs[min(wide, 2)], immediate: i.immediate & 0xff, flags: 1)
    case 0xe6, 0xe7: emit(portOutputs[min(wide, 2)], immediate: i.immediate & 0xff, flags: 1)
    case 0xe8: return nearCall()
    case 0xe9, 0xeb: return nearJump()
    case 0xea:
      guard i.mode != .bits64 else { return undefined() }
      emit(
        SystemInstructions.farJump, immediate: i.immediate,
        displacement: Int32(i.secondImmediate), detail: UInt8(i.operandLog2))
      return .ends
    case 0xec, 0xed: emit(portInputs[min(wide, 2)])
    case 0xee, 0xef: emit(portOutputs[min(wide, 2)])
    case 0xf1: return interrupt(1)
    case 0xf4:
      emit(SystemInstructions.halt)
      return .ends
    case 0xf5: emit(SystemInstructions.setCarry, detail: 2)
    case 0xf6, 0xf7: return group3(wide)
    case 0xf8: emit(SystemInstructions.setCarry, detail: 0)
    case 0xf9: emit(SystemInstructions.setCarry, detail: 1)
    case 0xfa: emit(SystemInstructions.setInterruptFlag, detail: 0)
    case 0xfb: emit(SystemInstructions.setInterruptFlag, detail: 1)
    case 0xfc: emit(SystemInstructions.setDirection, detail: 0)
    case 0xfd: emit(SystemInstructions.setDirection, detail: 1)
    case 0xfe: return group4()
    case 0xff: return group5()
    default: return undefined()
    }
    return .sequential
  }

  /// REX.B as the fourth bit of a register number in the opcode.
  private var rexB: UInt8 { (i.rex & 1) << 3 }

  // MARK: - Arithmetic

  private mutating func binary(_ operation: Int, form: UInt8) -> Flow {
    let log2 = form & 1 != 0 ? i.operandLog2 : 0
    let handlers = binaryHandlers[operation]
    let isCompare = operation == 7
    switch form {
    case 0, 1:
      let register = regSlot(log2)
      if i.hasLock {
        emit(handlers.locked[log2], s: register)
      } else if isCompare {
        let a = rmSource(log2)
        emitComparison(handlers.slots[log2], isTest: false, log2: log2, d: a, s: register)
      } else {
        modifyRM(log2) { $0.emit(handlers.slots[log2], d: $1, s: register) }
      }
    case 2, 3:
      let source = rmSource(log2)
      if isCompare {
        emitComparison(handlers.slots[log2], isTest: false, log2: log2, d: regSlot(log2), s: source)
      } else {
        emit(handlers.slots[log2], d: regSlot(log2), s: source)
      }
    default:
      if isCompare {
        emitComparison(
          handlers.constant[log2], isTest: false, log2: log2, d: Slot.rax, immediate: i.immediate)
      } else {
        emit(handlers.constant[log2], d: Slot.rax, immediate: i.immediate)
      }
    }
    return .sequential
  }

  private mutating func binaryImmediate() -> Flow {
    guard i.opcode != 0x82 || i.mode != .bits64 else { return undefined() }
    let log2 = i.opcode & 1 != 0 ? i.operandLog2 : 0
    let operation = Int(i.extension3)
    let handlers = binaryHandlers[operation]
    let constant = i.immediate
    if i.hasLock {
      emit(moveConstants[3], d: Slot.temporary1, immediate: constant)
      emit(handlers.locked[log2], s: Slot.temporary1)
    } else if operation == 7 {
      let a = rmSource(log2)
      emitComparison(
        handlers.constant[log2], isTest: false, log2: log2, d: a, immediate: constant)
    } else {
      modifyRM(log2) { $0.emit(handlers.constant[log2], d: $1, immediate: constant) }
    }
    return .sequential
  }

  private mutating func shift(_ log2: Int, by count: UInt64) {
    let handler = shiftsByConstant[Int(i.extension3)][log2]
    modifyRM(log2) { $0.emit(handler, d: $1, immediate: count & 0xff) }
  }

  private mutating func shiftByCL(_ log2: Int) {
    let handler = shiftsByCL[Int(i.extension3)][log2]
    modifyRM(log2) { $0.emit(handler, d: $1) }
  }

  /// TEST, NOT, NEG, MUL, IMUL, DIV, IDIV.
  private mutating func group3(_ log2: Int) -> Flow {
    switch i.extension3 {
    case 0, 1:
      let a = rmSource(log2)
      emitComparison(
        testHandlers.constant[log2], isTest: true, log2: log2, d: a, immediate: i.immediate)
    case 2, 3:
      let handlers = i.extension3 == 2 ? notHandlers : negateHandlers
      if i.hasLock {
        emit(handlers.locked[log2])
      } else {
        modifyRM(log2) { $0.emit(handlers.slot[log2], d: $1) }
      }
    default:
      let source = rmSource(log2)
      let handlers = [multiplications, signedMultiplications, divisions, signedDivisions]
      emit(handlers[Int(i.extension3 - 4)][log2], s: source)
    }
    return .sequential
  }

  /// INC and DEC of a byte.
  private mutating func group4() -> Flow {
    guard i.extension3 < 2 else { return undefined() }
    step(0, i.extension3 == 0 ? incrementHandlers : decrementHandlers)
    return .sequential
  }

  private mutating func step(_ log2: Int, _ handlers: UnaryHandlers) {
    if i.hasLock {
      emit(handlers.locked[log2])
    } else {
      modifyRM(log2) { $0.emit(handlers.slot[log2], d: $1) }
    }
  }

  /// INC, DEC, CALL, far CALL, JMP, far JMP, PUSH.
  private mutating func group5() -> Flow {
    switch i.extension3 {
    case 0: step(i.operandLog2, incrementHandlers)
    case 1: step(i.operandLog2, decrementHandlers)
    case 2:
      let log2 = i.mode == .bits64 ? 3 : i.operandLog2
      let target = rmSource(log2)
      if log2 == 3 {
        emit(callIndirect, s: target, flags: operandIsOnStack)
      } else {
        emit(callSegmented, s: target, detail: UInt8(log2))
      }
      return .ends
    case 3, 5:
      guard i.isMemory else { return undefined() }
      loadFarOperand()
      emit(
        i.extension3 == 3
          ? SystemInstructions.farCallIndirect : SystemInstructions.farJumpIndirect,
        detail: UInt8(i.operandLog2))
      return .ends
    case 4:
      let log2 = i.mode == .bits64 ? 3 : i.operandLog2
      let target = rmSource(log2)
      if log2 == 3 {
        emit(jumpIndirect, s: target)
      } else {
        emit(jumpIndirectSegmented, s: target, detail: UInt8(log2))
      }
      return .ends
    case 6:
      let source = rmSource(i.stackOperandLog2)
      pushSlot(source)
    default: return undefined()
    }
    return .sequential
  }

  /// A far pointer in memory: the offset to temporary 0, the selector to temporary 1.
  private mutating func loadFarOperand() {
    let size = Int32(1 << i.operandLog2)
    emit(Loads.zeroExtended[1], d: Slot.temporary1, displacedBy: size)
    if i.operandLog2 == 1 {
      emit(Loads.zeroExtended[1], d: Slot.temporary)
    } else {
      emit(Loads.plain[i.operandLog2], d: Slot.temporary)
    }
  }

  mutating func loadFarPointer(segment: UInt8) -> Flow {
    guard i.isMemory else { return undefined() }
    loadFarOperand()
    emit(
      SystemInstructions.loadFarPointer, d: segment, s: Slot.register(i.reg),
      detail: UInt8(i.operandLog2))
    return .ends
  }

  // MARK: - Moves

  private mutating func moveSignExtendedDoubleword() -> Flow {
    guard i.operandLog2 == 3 else {
      let source = rmSource(i.operandLog2)
      emit(moves[i.operandLog2], d: regSlot(i.operandLog2), s: source)
      return .sequential
    }
    if i.isMemory {
      emit(Loads.signExtended[2], d: regSlot(3))
    } else {
      emit(signExtensions[2], d: regSlot(3), s: slot(i.rm, log2: 2))
    }
    return .sequential
  }

  private mutating func widenAccumulator() {
    switch i.operandLog2 {
    case 1:
      emit(signExtensions[0], d: Slot.temporary, s: Slot.rax)
      emit(moves[1], d: Slot.rax, s: Slot.temporary)
    case 2:
      emit(signExtensions[1], d: Slot.temporary, s: Slot.rax)
      emit(moves[2], d: Slot.rax, s: Slot.temporary)
    default: emit(signExtensions[2], d: Slot.rax, s: Slot.rax)
    }
  }

  /// MOV between the accumulator and an absolute address.
  private mutating func moveAccumulator() {
    let log2 = i.opcode & 1 != 0 ? i.operandLog2 : 0
    emit(moveConstants[3], d: Slot.temporary2, immediate: i.immediate)
    i.base = Slot.temporary2 / 8
    if i.segmentOverride == nil { i.segmentOverride = 3 }
    if i.opcode < 0xa2 {
      emit(Loads.plain[log2], d: Slot.rax)
    } else {
      emit(Stores.plain[log2], s: Slot.rax)
    }
  }

  private mutating func loadEffectiveAddress() -> Flow {
    guard i.isMemory else { return undefined() }
    let all = MemoryHandlers(
      Loads.effectiveAddress, Loads.effectiveAddress, Loads.effectiveAddress)
    if i.addressSize == 2, i.operandLog2 == 3 {
      emit(all, d: regSlot(3))
    } else {
      emit(all, d: Slot.temporary)
      let log2 = i.operandLog2
      // The address is cut to its own size, then widened or cut to the operand's.
      if i.addressSize < 2 {
        emit(zeroExtensions[Int(i.addressSize) + 1], d: Slot.temporary, s: Slot.temporary)
      }
      emit(moves[log2], d: regSlot(log2), s: Slot.temporary)
    }
    return .sequential
  }

  private mutating func moveFromSegment() -> Flow {
    guard i.modRM >> 3 & 7 < 6 else { return undefined() }
    emit(SystemInstructions.moveFromSegment, d: Slot.temporary, s: i.extension3)
    storeRM(i.isMemory ? 1 : i.operandLog2, from: Slot.temporary)
    return .sequential
  }

  private mutating func moveToSegment() -> Flow {
    guard i.extension3 < 6, i.extension3 != 1 else { return undefined() }
    let source = rmSource(1)
    emit(SystemInstructions.moveToSegment, d: i.extension3, s: source)
    return .ends
  }

  /// XLAT.
  private mutating func translateByte() {
    emit(zeroExtensions[0], d: Slot.temporary1, s: Slot.rax)
    i.base = 3
    i.index = Slot.temporary1 / 8
    emit(Loads.plain[0], d: Slot.rax)
  }

  // MARK: - Stack

  mutating func pushSlot(_ slot: UInt8) {
    if i.mode == .bits64, i.stackOperandLog2 == 3 {
      emit(Stack.push64, s: slot, flags: operandIsOnStack)
    } else {
      emit(Stack.pushSlot, s: slot, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    }
  }

  mutating func popSlot(_ slot: UInt8) {
    if i.mode == .bits64, i.stackOperandLog2 == 3 {
      emit(Stack.pop64, d: slot, flags: operandIsOnStack)
    } else {
      emit(Stack.popSlot, d: slot, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    }
  }

  private mutating func pushConstant(_ value: UInt64) {
    if i.mode == .bits64, i.stackOperandLog2 == 3 {
      emit(Stack.pushConstant64, immediate: value, flags: operandIsOnStack)
    } else {
      emit(
        Stack.pushConstant, immediate: value, detail: UInt8(i.stackOperandLog2),
        flags: operandIsOnStack)
    }
  }

  /// POP to memory addresses with the stack pointer as it is after the pop.
  private mutating func popRM() -> Flow {
    guard i.extension3 == 0 else { return undefined() }
    let log2 = i.stackOperandLog2
    guard i.isMemory else {
      popSlot(Slot.register(i.rm))
      return .sequential
    }
    emit(Stack.peekSlot, d: Slot.temporary, detail: UInt8(log2), flags: operandIsOnStack)
    emit(
      Stores.plain[log2], s: Slot.temporary, displacedBy: i.base == 4 ? Int32(1 << log2) : 0)
    emit(Stack.release, detail: UInt8(log2), flags: operandIsOnStack)
    return .sequential
  }

  mutating func pushSegment(_ segment: UInt8) -> Flow {
    guard i.mode != .bits64 || segment > 3 else { return undefined() }
    emit(Stack.pushSegment, s: segment, detail: UInt8(i.stackOperandLog2), flags: operandIsOnStack)
    return .sequential
  }

  mutating func popSegment(_ segment: UInt8) -> Flow {
    guard i.mode != .bits64 || segment > 3 else { return undefined() }
    emit(SystemInstructions.popSegment, d: segment, detail: UInt8(i.stackOperandLog2))
    return .ends
  }

  // MARK: - Strings

  private mutating func string(_ handler: @escaping Handler) {
    let segment = i.segmentOverride ?? 3
    emit(
      handler,
      segment: i.mode == .bits64 && segment < 4 ? Slot.zero : Slot.segmentBase + segment * 8,
      detail: i.repeatPrefix, flags: i.addressSize)
  }

  // MARK: - Control transfer

  /// The target of a relative jump as a distance from the start of the page.
  private var jumpTarget: UInt64 { UInt64(next) &+ i.immediate }

  /// Whether the target lies in the page. A 16-bit jump in 32-bit code cuts the offset, wherever it leads.
  private var isTargetInPage: Bool {
    jumpTarget < 4096 && (i.mode != .bits32 || i.operandLog2 == 2)
      && codeBound.map { $0.first <= jumpTarget && jumpTarget <= $0.last } ?? true
  }

  mutating func conditionalJump(_ condition: UInt8) -> Flow {
    if isTargetInPage {
      emit(conditionalJumps[Int(condition)], immediate: jumpTarget)
    } else if i.mode == .bits64 {
      emit(conditionalFarJumps[Int(condition)], immediate: jumpTarget)
    } else {
      emit(
        conditionalJumpSegmented, immediate: jumpTarget, scale: condition,
        detail: UInt8(i.operandLog2))
    }
    pairWithComparison(condition: condition)
    return .sequential
  }

  private mutating func nearJump() -> Flow {
    if isTargetInPage {
      emit(jump, immediate: jumpTarget)
    } else if i.mode == .bits64 {
      emit(jumpAway, immediate: jumpTarget)
    } else {
      emit(jumpSegmented, immediate: jumpTarget, detail: UInt8(i.operandLog2))
    }
    return .ends
  }

  private mutating func nearCall() -> Flow {
    if i.mode == .bits64 {
      emit(
        isTargetInPage ? call : callAway, immediate: jumpTarget, flags: operandIsOnStack)
    } else {
      emit(callSegmented, immediate: jumpTarget, detail: UInt8(i.operandLog2), flags: 1)
    }
    return .ends
  }

  private mutating func nearReturn(releasing count: UInt64) -> Flow {
    if i.mode == .bits64 {
      emit(returnNear, immediate: count, flags: operandIsOnStack)
    } else {
      emit(returnNearSegmented, immediate: count, detail: UInt8(i.operandLog2))
    }
    return .ends
  }

  private mutating func interrupt(_ vector: UInt64) -> Flow {
    let kind: Core.InterruptInstruction =
      switch i.opcode {
      case 0xcc: .breakpoint
      case 0xf1: .debug
      default: .numbered
      }
    emit(SystemInstructions.interrupt, immediate: vector, detail: kind.rawValue)
    return .ends
  }

  // MARK: - Atomic steps

  /// A step on memory that takes any addressing.
  mutating func emitAtomic(
    _ handler: @escaping Handler, s: UInt8 = Slot.zero, detail: UInt8 = 0
  ) {
    emit(MemoryHandlers(handler, handler, handler), s: s, detail: detail)
  }
}
