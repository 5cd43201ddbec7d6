import CProcessor

/// Moves of whole registers, halves and elements: 0F 10 to 17, 28, 29, 2B, 50, 6E, 6F, 7E, 7F, D6, D7,
/// E7, F0 and F7.
extension Translator {
  mutating func vectorMove() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0x10), (0x66, 0x10), (0xf3, 0x6f):
      return load(VectorLoads.unaligned, or: VectorMoves.whole)
    case (0, 0x11), (0x66, 0x11), (0xf3, 0x7f):
      return store(VectorStores.unaligned, or: VectorMoves.whole)
    case (0, 0x28), (0x66, 0x28), (0x66, 0x6f):
      return load(VectorLoads.aligned, or: VectorMoves.whole)
    case (0, 0x29), (0x66, 0x29), (0x66, 0x7f):
      return store(VectorStores.aligned, or: VectorMoves.whole)
    case (0xf3, 0x10): return load(VectorLoads.doubleword, or: VectorMoves.single)
    case (0xf3, 0x11): return store(VectorStores.doubleword, or: VectorMoves.single)
    case (0xf2, 0x10): return load(VectorLoads.quadword, or: VectorMoves.double)
    case (0xf2, 0x11): return store(VectorStores.quadword, or: VectorMoves.double)
    case (0xf3, 0x7e): return load(VectorLoads.quadword, or: VectorMoves.low)
    case (0x66, 0xd6): return store(VectorStores.quadword, or: VectorMoves.low)

    case (0, 0x12): return load(VectorLoads.lowHalf, or: VectorMoves.highToLow)
    case (0x66, 0x12): return load(VectorLoads.lowHalf, or: nil)
    case (0, 0x13), (0x66, 0x13): return store(VectorStores.quadword, or: nil)
    case (0, 0x16): return load(VectorLoads.highHalf, or: VectorMoves.lowToHigh)
    case (0x66, 0x16): return load(VectorLoads.highHalf, or: nil)
    case (0, 0x17), (0x66, 0x17): return store(VectorStores.highHalf, or: nil)

    case (0xf3, 0x12): return vector(VectorMoves.duplicateEven)
    case (0xf3, 0x16): return vector(VectorMoves.duplicateOdd)
    case (0xf2, 0x12): return vector(VectorMoves.duplicateLow, VectorLoads.quadword)

    // MOVNTPS, MOVNTPD, MOVNTDQ, LDDQU: memory only
    case (0, 0x2b), (0x66, 0x2b), (0x66, 0xe7): return store(VectorStores.aligned, or: nil)
    case (0xf2, 0xf0): return load(VectorLoads.unaligned, or: nil)

    case (0x66, 0x6e): return fromGeneralRegister()
    case (0x66, 0x7e): return toGeneralRegister()
    case (0, 0x50): return mask(VectorMoves.singleMask)
    case (0x66, 0x50): return mask(VectorMoves.doubleMask)
    case (0x66, 0xd7): return mask(VectorMoves.byteMask)
    case (0x66, 0xf7): return maskedStore()
    default: return nil
    }
  }

  /// A load into the register operand, or the register form; `nil` if there is none.
  private mutating func load(_ handlers: MemoryHandlers, or register: Handler?) -> Flow? {
    if i.isMemory {
      emit(handlers, d: i.reg)
    } else if let register {
      emit(register, d: i.reg, s: i.rm)
    } else {
      return nil
    }
    return .sequential
  }

  private mutating func store(_ handlers: MemoryHandlers, or register: Handler?) -> Flow? {
    if i.isMemory {
      emit(handlers, s: i.reg)
    } else if let register {
      emit(register, d: i.rm, s: i.reg)
    } else {
      return nil
    }
    return .sequential
  }

  private var isQuadword: Bool { i.rex & 8 != 0 }

  private mutating func fromGeneralRegister() -> Flow {
    if i.isMemory {
      emit(isQuadword ? VectorLoads.quadword : VectorLoads.doubleword, d: i.reg)
    } else {
      emit(
        isQuadword ? VectorMoves.fromQuadword : VectorMoves.fromDoubleword, d: i.reg,
        s: Slot.register(i.rm))
    }
    return .sequential
  }

  private mutating func toGeneralRegister() -> Flow {
    if i.isMemory {
      emit(isQuadword ? VectorStores.quadword : VectorStores.doubleword, s: i.reg)
    } else {
      emit(
        isQuadword ? VectorMoves.toQuadword : VectorMoves.toDoubleword, d: Slot.register(i.rm),
        s: i.reg)
    }
    return .sequential
  }

  /// MOVMSKPS, MOVMSKPD, PMOVMSKB.
  private mutating func mask(_ handler: Handler) -> Flow? {
    guard !i.isMemory else { return nil }
    emit(handler, d: Slot.register(i.reg), s: i.rm)
    return .sequential
  }

  /// MASKMOVDQU.
  private mutating func maskedStore() -> Flow? {
    guard !i.isMemory else { return nil }
    maskedStore(from: i.reg, mask: i.rm, count: 16)
    return .sequential
  }

  /// Stores bytes at DS:rDI, or in another segment by prefix.
  mutating func maskedStore(from register: UInt8, mask: UInt8, count: UInt8) {
    let segment = i.segmentOverride ?? 3
    emit(
      VectorStores.masked, d: mask, s: register, base: Slot.rdi,
      segment: i.mode == .bits64 && segment < 4 ? Slot.zero : Slot.segmentBase + segment * 8,
      detail: count, flags: i.addressSize)
  }
}
