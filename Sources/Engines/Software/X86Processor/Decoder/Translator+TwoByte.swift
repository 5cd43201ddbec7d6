import ArchitectureX86
import CProcessor

// The opcodes behind 0F: SDM Vol. 2D Appendix A, Table A-3. Vector instructions are in Semantics/Vector.

extension Translator {
  mutating func twoByte() -> Flow {
    let opcode = i.opcode
    let wide = opcode & 1 != 0 ? i.operandLog2 : 0
    let log2 = i.operandLog2
    switch opcode {
    case 0x00: return group6()
    case 0x01: return group7()
    case 0x02, 0x03:
      emit(SystemInstructions.protectedNothing)
      let source = rmSource(1)
      emit(
        SystemInstructions.inspectSelector, d: Slot.register(i.reg), s: source,
        detail: opcode - 2, flags: UInt8(log2))
    case 0x05: return leaving(SystemInstructions.systemCall)
    case 0x06: return leaving(SystemInstructions.clearTaskSwitched)
    case 0x07: return leaving(SystemInstructions.systemReturn, detail: UInt8(log2))
    case 0x08, 0x09: emit(SystemInstructions.privilegedNothing)
    case 0x0d, 0x18...0x1f:
      // Prefetches and the NOPs that the manual reserves for hints.
      emit(SystemInstructions.nothing)
    case 0x20...0x23: return controlRegister()
    case 0x30: return leaving(SystemInstructions.writeMSR)
    case 0x31: emit(SystemInstructions.readTimeStamp, detail: 0)
    case 0x32: emit(SystemInstructions.readMSR)
    case 0x34: return leaving(SystemInstructions.systemEnter)
    case 0x35: return leaving(SystemInstructions.systemExit, detail: UInt8(log2))
    case 0x40...0x4f:
      let source = rmSource(log2)
      emit(conditionalMoves[log2], d: regSlot(log2), s: source, detail: opcode & 15)
    case 0x80...0x8f: return conditionalJump(opcode & 15)
    case 0x90...0x9f:
      if i.isMemory {
        emit(setCondition, d: Slot.temporary, detail: opcode & 15)
        storeRM(0, from: Slot.temporary)
      } else {
        emit(setCondition, d: slot(i.rm, log2: 0), detail: opcode & 15)
      }
    case 0xa0, 0xa8: return pushSegment(opcode == 0xa0 ? 4 : 5)
    case 0xa1, 0xa9: return popSegment(opcode == 0xa1 ? 4 : 5)
    case 0xa2: emit(SystemInstructions.identify)
    case 0xa3: bitTest(.none)
    case 0xab: bitTest(.set)
    case 0xb3: bitTest(.reset)
    case 0xbb: bitTest(.complement)
    case 0xa4, 0xa5, 0xac, 0xad:
      let count = opcode & 1 == 0 ? i.immediate & 0xff : 0x100
      let register = regSlot(log2)
      let direction: UInt8 = opcode < 0xa8 ? 0 : 1
      modifyRM(log2) {
        $0.emit(doubleShifts[log2], d: $1, s: register, immediate: count, detail: direction)
      }
    case 0xae: return group15()
    case 0xaf:
      let source = rmSource(log2)
      emit(multiplicationsBySlot[log2], d: regSlot(log2), s: source)
    case 0xb0, 0xb1:
      if i.isMemory {
        emitAtomic(Exchanges.compareMemory[wide], s: regSlot(wide))
      } else {
        emit(Exchanges.compareSlots[wide], d: slot(i.rm, log2: wide), s: regSlot(wide))
      }
    case 0xb2: return loadFarPointer(segment: 2)
    case 0xb4: return loadFarPointer(segment: 4)
    case 0xb5: return loadFarPointer(segment: 5)
    case 0xb6, 0xb7: moveWidened(signed: false)
    case 0xbe, 0xbf: moveWidened(signed: true)
    case 0xb8:
      guard i.repeatPrefix == 0xf3 else { return undefined() }
      let source = rmSource(log2)
      emit(populationCounts[log2], d: regSlot(log2), s: source)
    case 0xba: return bitTestByConstant()
    case 0xbc, 0xbd:
      let source = rmSource(log2)
      let counts = i.repeatPrefix == 0xf3
      let scans =
        opcode == 0xbc
        ? (counts && features.hasBMI1 ? trailingZeroCounts : bitScansForward)
        : (counts && features.hasLZCNT ? leadingZeroCounts : bitScansReverse)
      emit(scans[log2], d: regSlot(log2), s: source)
    case 0xc0, 0xc1:
      if i.isMemory {
        emitAtomic(Exchanges.addMemory[wide], s: regSlot(wide))
      } else {
        emit(Exchanges.addSlots[wide], d: slot(i.rm, log2: wide), s: regSlot(wide))
      }
    case 0xc3:
      // MOVNTI: a hint that needs no keeping. It knows no words, in 16-bit code neither.
      guard i.isMemory, i.mandatoryPrefix == 0 else { return undefined() }
      storeRM(max(log2, 2), from: regSlot(max(log2, 2)))
    case 0xc7: return group9()
    case 0xc8...0xcf:
      emit(byteSwaps[log2 - 1], d: Slot.register(opcode & 7 | (i.rex & 1) << 3))
    default: return vectorTwoByte() ?? undefined()
    }
    return .sequential
  }

  mutating func threeByte38() -> Flow {
    if 0xf0...0xf1 ~= i.opcode, let flow = moveReversed() { return flow }
    if i.opcode == 0x82, i.isMemory, i.mandatoryPrefix == 0x66, features.hasINVPCID {
      let all = MemoryHandlers(
        SystemInstructions.invalidateContext, SystemInstructions.invalidateContext,
        SystemInstructions.invalidateContext)
      emit(all, s: Slot.register(i.reg))
      return .ends
    }
    if i.opcode == 0xf6, let flow = addWithChain() { return flow }
    return vectorThreeByte38() ?? undefined()
  }

  mutating func threeByte3A() -> Flow { vectorThreeByte3A() ?? undefined() }

  /// An instruction that leaves to the run loop.
  private mutating func leaving(_ handler: @escaping Handler, detail: UInt8 = 0) -> Flow {
    emit(handler, detail: detail)
    return .ends
  }

  private mutating func moveWidened(signed: Bool) {
    let from = Int(i.opcode & 1)
    let log2 = i.operandLog2
    let loads = signed ? Loads.signExtended : Loads.zeroExtended
    let registers = signed ? signExtensions : zeroExtensions
    // A zero-extended value is right in 32 and 64 bits at once; the others are cut to size.
    let isExact = log2 == 3 || (log2 == 2 && !signed)
    let destination = isExact ? regSlot(log2) : Slot.temporary
    if i.isMemory {
      emit(loads[from], d: destination)
    } else {
      emit(registers[from], d: destination, s: slot(i.rm, log2: from))
    }
    if !isExact { emit(moves[log2], d: regSlot(log2), s: Slot.temporary) }
  }

  // MARK: - Bit tests

  /// The bit number is a register: in memory it reaches beyond the operand.
  private mutating func bitTest(_ change: BitChange) {
    let log2 = i.operandLog2
    let register = regSlot(log2)
    guard i.isMemory else {
      emit(
        bitTestsBySlot[log2], d: slot(i.rm, log2: log2), s: register, detail: change.rawValue)
      return
    }
    let all = MemoryHandlers(bitStringOffset, bitStringOffset, bitStringOffset)
    emit(all, d: Slot.temporary2, s: register, detail: UInt8(log2))
    if i.segmentOverride == nil {
      i.segmentOverride = i.base.map { $0 == 4 || $0 == 5 } ?? false ? 2 : 3
    }
    i.base = Slot.temporary2 / 8
    i.index = nil
    i.isRIPRelative = false
    i.displacement = 0
    if change == .none {
      let value = rmSource(log2)
      emit(bitTestsBySlot[log2], d: value, s: register)
    } else if i.hasLock {
      emitAtomic(lockedBitTests[log2], s: register, detail: change.rawValue)
    } else {
      modifyRM(log2) {
        $0.emit(bitTestsBySlot[log2], d: $1, s: register, detail: change.rawValue)
      }
    }
  }

  private mutating func bitTestByConstant() -> Flow {
    guard i.extension3 >= 4, let change = BitChange(rawValue: i.extension3 - 4) else {
      return undefined()
    }
    let log2 = i.operandLog2
    let index = i.immediate & 0xff
    if change == .none {
      let value = rmSource(log2)
      emit(bitTestsByConstant[log2], d: value, immediate: index)
    } else if i.hasLock {
      emit(moveConstants[3], d: Slot.temporary1, immediate: index)
      emitAtomic(lockedBitTests[log2], s: Slot.temporary1, detail: change.rawValue)
    } else {
      modifyRM(log2) {
        $0.emit(
          bitTestsByConstant[log2], d: $1, immediate: index, detail: change.rawValue)
      }
    }
    return .sequential
  }

  // MARK: - Groups

  /// SLDT, STR, LLDT, LTR, VERR, VERW. Mode and privilege count before an operand that memory has.
  private mutating func group6() -> Flow {
    switch i.extension3 {
    case 0, 1:
      emit(SystemInstructions.readTaskRegister, d: Slot.temporary, detail: i.extension3)
      storeRM(i.isMemory ? 1 : i.operandLog2, from: Slot.temporary)
    case 2, 3:
      emit(SystemInstructions.protectedNothing)
      emit(SystemInstructions.privilegedNothing)
      let source = rmSource(1)
      emit(
        i.extension3 == 2 ? SystemInstructions.loadLDTR : SystemInstructions.loadTR, s: source)
    case 4, 5:
      emit(SystemInstructions.protectedNothing)
      let source = rmSource(1)
      emit(SystemInstructions.inspectSelector, s: source, detail: i.extension3 - 2)
    default: return undefined()
    }
    return .sequential
  }

  /// SGDT, SIDT, LGDT, LIDT, SMSW, LMSW, INVLPG; SWAPGS, RDTSCP, XGETBV, XSETBV, RDPKRU, WRPKRU.
  private mutating func group7() -> Flow {
    guard i.isMemory else {
      switch (i.extension3, i.modRM & 7) {
      case (2, 0), (2, 1): return extendedControl() ?? undefined()
      case (4, _):
        emit(SystemInstructions.readMachineStatus, d: Slot.temporary)
        storeRM(i.operandLog2, from: Slot.temporary)
        return .sequential
      case (6, _):
        emit(SystemInstructions.loadMachineStatus, s: Slot.register(i.rm))
        return .ends
      case (1, 2) where features.hasSMAP && i.mandatoryPrefix == 0:
        emit(SystemInstructions.setAccessFlag, detail: 0)
      case (1, 3) where features.hasSMAP && i.mandatoryPrefix == 0:
        emit(SystemInstructions.setAccessFlag, detail: 1)
      case (5, 6) where features.hasPKU && i.mandatoryPrefix == 0: emit(ProtectionKeys.read)
      case (5, 7) where features.hasPKU && i.mandatoryPrefix == 0: emit(ProtectionKeys.write)
      case (7, 0) where i.mode == .bits64: emit(SystemInstructions.swapGS)
      case (7, 1) where features.hasRDTSCP:
        emit(SystemInstructions.readTimeStamp, detail: 1)
      default: return undefined()
      }
      return .sequential
    }
    let baseLog2 = i.mode == .bits64 ? 3 : 2
    switch i.extension3 {
    case 0, 1:
      emit(SystemInstructions.readTable, detail: i.extension3)
      emit(Stores.plain[baseLog2], s: Slot.temporary1, displacedBy: 2)
      emit(Stores.plain[1], s: Slot.temporary)
    case 2, 3:
      emit(SystemInstructions.privilegedNothing)
      emit(Loads.plain[1], d: Slot.temporary)
      emit(Loads.plain[baseLog2], d: Slot.temporary1, displacedBy: 2)
      emit(
        i.extension3 == 2 ? SystemInstructions.loadGDTR : SystemInstructions.loadIDTR,
        detail: UInt8(i.operandLog2))
    case 4:
      emit(SystemInstructions.readMachineStatus, d: Slot.temporary)
      storeRM(1, from: Slot.temporary)
    case 6:
      emit(SystemInstructions.privilegedNothing)
      let source = rmSource(1)
      emit(SystemInstructions.loadMachineStatus, s: source)
      return .ends
    case 7:
      let all = MemoryHandlers(
        SystemInstructions.invalidatePage, SystemInstructions.invalidatePage,
        SystemInstructions.invalidatePage)
      emit(all)
      return .ends
    default: return undefined()
    }
    return .sequential
  }

  /// CMPXCHG8B, CMPXCHG16B; RDRAND, RDSEED, RDPID; XRSTORS, XSAVEC, XSAVES.
  private mutating func group9() -> Flow {
    guard i.isMemory else { return randomOrIdentity() ?? undefined() }
    if 3...5 ~= i.extension3 { return compactedState() ?? undefined() }
    guard i.extension3 == 1 else { return undefined() }
    emitAtomic(i.operandLog2 == 3 ? Exchanges.compare16Bytes : Exchanges.compare8Bytes)
    return .sequential
  }

  /// Fences and CLFLUSH; the rest of the group is vector state.
  private mutating func group15() -> Flow {
    if !i.isMemory, 5...7 ~= i.extension3, i.mandatoryPrefix == 0 {
      emit(SystemInstructions.fence)
      return .sequential
    }
    if !i.isMemory, let flow = segmentBase() { return flow }
    let isFlush =
      i.extension3 == 7
      && (i.mandatoryPrefix == 0 || i.mandatoryPrefix == 0x66 && features.hasCLFLUSHOPT)
      || i.extension3 == 6 && i.mandatoryPrefix == 0x66 && features.hasCLWB
    if i.isMemory, isFlush {
      // CLFLUSH, CLFLUSHOPT and CLWB read their byte, as far as faults go.
      emit(Loads.plain[0], d: Slot.temporary)
      return .sequential
    }
    return vectorTwoByte() ?? undefined()
  }

  private mutating func controlRegister() -> Flow {
    let register = Slot.register(i.rm)
    switch i.opcode {
    case 0x20: emit(SystemInstructions.moveFromControl, d: register, detail: i.reg)
    case 0x21: emit(SystemInstructions.moveFromDebug, d: register, detail: i.reg)
    case 0x22:
      emit(SystemInstructions.moveToControl, s: register, detail: i.reg)
      return .ends
    default:
      emit(SystemInstructions.moveToDebug, s: register, detail: i.reg)
      return .ends
    }
    return .sequential
  }

  // MARK: - LOCK

  /// Which instructions take LOCK, on memory only: SDM Vol. 2A, LOCK.
  func permitsLock(_ i: Instruction) -> Bool {
    guard i.isMemory else { return false }
    let group = i.extension3
    switch (i.map, i.opcode) {
    case (.oneByte, 0x00...0x37): return i.opcode & 7 < 2
    case (.oneByte, 0x80...0x83): return group != 7
    case (.oneByte, 0x86), (.oneByte, 0x87): return true
    case (.oneByte, 0xf6), (.oneByte, 0xf7): return group == 2 || group == 3
    case (.oneByte, 0xfe), (.oneByte, 0xff): return group < 2
    case (.twoByte, 0xab), (.twoByte, 0xb0), (.twoByte, 0xb1), (.twoByte, 0xb3),
      (.twoByte, 0xbb), (.twoByte, 0xc0), (.twoByte, 0xc1):
      return true
    case (.twoByte, 0xba): return group > 4
    case (.twoByte, 0xc7): return group == 1
    default: return false
    }
  }
}
