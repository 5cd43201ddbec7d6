import ArchitectureX86
import CProcessor

/// Moves with a VEX prefix: 0F 10 to 17, 28, 29, 2B, 50, 6E, 6F, 71 to 73, 77, 7E, 7F, AE, C4, C5, D6, D7, E7, F0
/// and F7; 0F 38 2A; 0F 3A 14 to 17, 20 to 22.
extension Translator {
  mutating func vexMove() -> Flow? {
    switch i.map {
    case .oneByte: nil
    case .twoByte: vexWholeMove() ?? vexPartialMove() ?? vexElementMove() ?? vexControl()
    case .threeByte38:
      // VMOVNTDQA
      (i.mandatoryPrefix, i.opcode) == (0x66, 0x2a) && (!isWide || features.hasAVX2)
        ? vexLoad(aligned: true, orRegister: false) : nil
    case .threeByte3A: i.mandatoryPrefix == 0x66 ? vexElement() : nil
    }
  }

  // MARK: - Whole registers

  private mutating func vexWholeMove() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0x10), (0x66, 0x10), (0xf3, 0x6f): vexLoad(aligned: false)
    case (0, 0x28), (0x66, 0x28), (0x66, 0x6f): vexLoad(aligned: true)
    case (0, 0x11), (0x66, 0x11), (0xf3, 0x7f): vexStore(aligned: false)
    case (0, 0x29), (0x66, 0x29), (0x66, 0x7f): vexStore(aligned: true)
    case (0, 0x2b), (0x66, 0x2b), (0x66, 0xe7): vexStore(aligned: true, orRegister: false)
    case (0xf2, 0xf0): vexLoad(aligned: false, orRegister: false)
    default: nil
    }
  }

  private mutating func vexLoad(aligned: Bool, orRegister: Bool = true) -> Flow? {
    guard namesNone, orRegister || i.isMemory else { return nil }
    if i.isMemory {
      let (wide, short) =
        aligned
        ? (VectorLoads.wideAligned, VectorLoads.aligned) : (VectorLoads.wide, VectorLoads.unaligned)
      emit(isWide ? wide : short, d: i.reg)
      if !isWide { emit(WideMoves.clearUpper, d: i.reg) }
    } else {
      emit(isWide ? WideMoves.whole : WideMoves.zeroing, d: i.reg, s: i.rm)
    }
    return .sequential
  }

  private mutating func vexStore(aligned: Bool, orRegister: Bool = true) -> Flow? {
    guard namesNone, orRegister || i.isMemory else { return nil }
    if i.isMemory {
      let (wide, short) =
        aligned
        ? (VectorStores.wideAligned, VectorStores.aligned)
        : (VectorStores.wide, VectorStores.unaligned)
      emit(isWide ? wide : short, s: i.reg)
    } else {
      emit(isWide ? WideMoves.whole : WideMoves.zeroing, d: i.rm, s: i.reg)
    }
    return .sequential
  }

  // MARK: - Halves and scalars

  private mutating func vexPartialMove() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0xf3, 0x10): scalarLoad(VectorLoads.doubleword, or: VectorMoves.single)
    case (0xf2, 0x10): scalarLoad(VectorLoads.quadword, or: VectorMoves.double)
    case (0xf3, 0x11): scalarStore(VectorStores.doubleword, or: VectorMoves.single)
    case (0xf2, 0x11): scalarStore(VectorStores.quadword, or: VectorMoves.double)
    case (0, 0x12): half(VectorMoves.double, or: VectorMoves.highToLow)
    case (0x66, 0x12): half(VectorMoves.double, or: nil)
    case (0, 0x16): half(VectorMoves.lowToHigh, or: VectorMoves.lowToHigh)
    case (0x66, 0x16): half(VectorMoves.lowToHigh, or: nil)
    case (0, 0x13), (0x66, 0x13): halfStore(VectorStores.quadword)
    case (0, 0x17), (0x66, 0x17): halfStore(VectorStores.highHalf)
    case (0xf3, 0x12): duplicate(VectorMoves.duplicateEven, wholeLoad)
    case (0xf3, 0x16): duplicate(VectorMoves.duplicateOdd, wholeLoad)
    case (0xf2, 0x12):
      duplicate(VectorMoves.duplicateLow, isWide ? VectorLoads.wide : VectorLoads.quadword)
    default: nil
    }
  }

  /// VMOVSS and VMOVSD: from memory all else becomes zero, from a register it is the first source's.
  private mutating func scalarLoad(_ load: MemoryHandlers, or register: Handler) -> Flow? {
    if i.isMemory {
      guard namesNone else { return nil }
      emit(load, d: i.reg)
      emit(WideMoves.clearUpper, d: i.reg)
    } else {
      emitHalves(register, d: i.reg, first: firstSource, s: i.rm, wide: false)
    }
    return .sequential
  }

  private mutating func scalarStore(_ store: MemoryHandlers, or register: Handler) -> Flow? {
    if i.isMemory {
      guard namesNone else { return nil }
      emit(store, s: i.reg)
    } else {
      emitHalves(register, d: i.rm, first: firstSource, s: i.reg, wide: false)
    }
    return .sequential
  }

  private mutating func half(_ memory: Handler, or register: Handler?) -> Flow? {
    guard !isWide else { return nil }
    if i.isMemory {
      let source = vectorSource(VectorLoads.quadword)
      emitHalves(memory, d: i.reg, first: firstSource, s: source, wide: false)
    } else if let register {
      emitHalves(register, d: i.reg, first: firstSource, s: i.rm, wide: false)
    } else {
      return nil
    }
    return .sequential
  }

  private mutating func halfStore(_ store: MemoryHandlers) -> Flow? {
    guard !isWide, i.isMemory, namesNone else { return nil }
    emit(store, s: i.reg)
    return .sequential
  }

  private mutating func duplicate(_ handler: Handler, _ load: MemoryHandlers) -> Flow? {
    guard namesNone else { return nil }
    emitHalves(handler, d: i.reg, first: nil, s: vectorSource(load), wide: isWide)
    return .sequential
  }

  // MARK: - General registers, masks

  private mutating func vexElementMove() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0x66, 0x6e), (0xf3, 0x7e):
      guard !isWide, namesNone else { return nil }
      let flow = vectorMove()
      emit(WideMoves.clearUpper, d: i.reg)
      return flow
    case (0x66, 0x7e):
      guard !isWide, namesNone else { return nil }
      return vectorMove()
    case (0x66, 0xd6):
      guard !isWide, namesNone else { return nil }
      let flow = vectorMove()
      if !i.isMemory { emit(WideMoves.clearUpper, d: i.rm) }
      return flow
    case (0, 0x50): return mask(VectorMoves.singleMask, bits: 4)
    case (0x66, 0x50): return mask(VectorMoves.doubleMask, bits: 2)
    case (0x66, 0xd7):
      return !isWide || features.hasAVX2 ? mask(VectorMoves.byteMask, bits: 16) : nil
    case (0x66, 0xc4): return insert(elementInsertions[1], log2: 1)
    case (0x66, 0xc5):
      guard !isWide, namesNone else { return nil }
      return vectorInteger()
    case (0x66, 0xf7): return !isWide && namesNone ? vectorMove() : nil
    case (0x66, 0x71...0x73): return shiftIntoFirst()
    default: return nil
    }
  }

  /// VMOVMSKPS, VMOVMSKPD, VPMOVMSKB.
  private mutating func mask(_ handler: Handler, bits: UInt64) -> Flow? {
    guard !i.isMemory, namesNone else { return nil }
    guard isWide else {
      emit(handler, d: Slot.register(i.reg), s: i.rm)
      return .sequential
    }
    emit(handler, d: Slot.temporary, s: i.rm)
    emit(handler, d: Slot.temporary1, s: upper(i.rm))
    emit(WideMoves.joinMasks, d: Slot.register(i.reg), immediate: bits)
    return .sequential
  }

  /// VPINSRB, VPINSRW, VPINSRD, VPINSRQ.
  private mutating func insert(_ handler: Handler, log2: Int) -> Flow? {
    guard !isWide else { return nil }
    let source = i.isMemory ? rmSource(log2) : Slot.register(i.rm)
    emitHalves(
      handler, d: i.reg, first: firstSource, s: source, wide: false,
      immediates: (i.immediate & 0xff, 0), sourceIsVector: false)
    return .sequential
  }

  private mutating func vexElement() -> Flow? {
    switch i.opcode {
    case 0x14...0x17: return !isWide && namesNone ? vectorThreeByte3A() : nil
    case 0x20: return insert(elementInsertions[0], log2: 0)
    case 0x22:
      let log2 = i.rex & 8 != 0 ? 3 : 2
      return insert(elementInsertions[log2], log2: log2)
    default: return nil
    }
  }

  /// Shifts by an immediate: VEX.vvvv names the destination.
  private mutating func shiftIntoFirst() -> Flow? {
    guard !i.isMemory, !isWide || features.hasAVX2,
      let handler = Self.shiftByImmediate(i.opcode, i.extension3)
    else { return nil }
    emitHalves(
      handler, d: firstSource, first: i.rm, s: i.rm, wide: isWide,
      immediates: (i.immediate & 0xff, i.immediate & 0xff), sourceIsVector: false)
    return .sequential
  }

  // MARK: - Control

  /// VZEROUPPER, VZEROALL, VLDMXCSR, VSTMXCSR.
  private mutating func vexControl() -> Flow? {
    guard i.mandatoryPrefix == 0, namesNone else { return nil }
    switch i.opcode {
    case 0x77:
      emit(
        WideMoves.zeroRegisters, immediate: isWide ? 1 : 0, detail: i.mode == .bits64 ? 16 : 8)
      return .sequential
    case 0xae where i.extension3 == 2 || i.extension3 == 3: return isWide ? nil : vectorControl()
    default: return nil
    }
  }
}
