import ArchitectureX86
import CProcessor

// MMX instructions: SDM Vol. 1 chapter 9. They are those on XMM registers, done on stand-ins: the operands
// are gathered into scratch, the low half of the XMM form's result is the result.
//
// Where an XMM form takes half of its elements from each operand, the MMX form takes all of both. So the
// destination's stand-in has the source as its upper half: packing or adding neighbours within that
// gives the MMX result in the low half too.

enum MMX {
  /// Gathers the operands, both registers.
  static let gather: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    let source = cpu.x87.pointee[mmx: op.pointee.source]
    cpu.setVector(VectorScratch.source, Quadwords(source, 0))
    cpu.setVector(
      VectorScratch.destination, Quadwords(cpu.x87.pointee[mmx: op.pointee.destination], source))
    return next(cpu, op)
  }
  /// Gathers the destination alone: the source was loaded from memory.
  static let gatherDestination: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    let source = cpu.vector(VectorScratch.source, as: Quadwords.self).x
    cpu.setVector(
      VectorScratch.destination, Quadwords(cpu.x87.pointee[mmx: op.pointee.destination], source))
    return next(cpu, op)
  }
  /// Gathers the source alone, which will be stored or looked at.
  static let gatherSource: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    cpu.setVector(
      VectorScratch.source, Quadwords(cpu.x87.pointee[mmx: op.pointee.source], 0))
    return next(cpu, op)
  }
  /// Nothing to gather.
  static let begin: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    return next(cpu, op)
  }

  /// Writes the low half of a vector register to an MMX register.
  static let commitLow: Handler = { cpu, op in
    cpu.x87.pointee.enterMMX()
    cpu.x87.pointee[mmx: op.pointee.destination] =
      cpu.vector(op.pointee.source, as: Quadwords.self).x
    return next(cpu, op)
  }
  static let commitHigh: Handler = { cpu, op in
    cpu.x87.pointee.enterMMX()
    cpu.x87.pointee[mmx: op.pointee.destination] =
      cpu.vector(op.pointee.source, as: Quadwords.self).y
    return next(cpu, op)
  }
  /// No MMX register is written.
  static let commitNothing: Handler = { cpu, op in
    cpu.x87.pointee.enterMMX()
    return next(cpu, op)
  }
  /// MOVQ2DQ: an XMM register from an MMX register.
  static let toVector: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    cpu.x87.pointee.enterMMX()
    cpu.setVector(
      op.pointee.destination, Quadwords(cpu.x87.pointee[mmx: op.pointee.source], 0))
    return next(cpu, op)
  }
  static let empty: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    cpu.x87.pointee.emptyMMX()
    return next(cpu, op)
  }

  /// PSHUFW on the stand-ins.
  static let shuffle: Handler = { cpu, op in
    lanes(cpu, op) { (_: Quadwords, b, order) in Quadwords(shuffleWords(b.x, order), 0)
    }
  }
}

/// Raises #MF if an earlier x87 instruction left an unmasked exception: SDM Vol. 3A §13.5. With CR0.NE
/// clear the report is an interrupt of the chipset's; this processor then goes on, as if IGNNE# was low.
@inline(__always)
func reportPendingException(_ cpu: CPU, _ op: Op) -> Bool {
  if _fastPath(!cpu.x87.pointee.pendingException) { return true }
  guard cpu.pointee.cr0 & X86.CR0.numericError != 0 else { return true }
  raise(cpu, op, X86.Exception.x87)
  return false
}

// MARK: - Translation

extension Translator {
  /// An instruction of the two-byte map all of whose operands are MMX or general registers.
  mutating func mmx() -> Flow? {
    switch i.opcode {
    case 0x6e: return moveToMMX(quadword: i.rex & 8 != 0)
    case 0x6f where i.isMemory: return moveToMMX(quadword: true)
    case 0x6f:
      emit(MMX.gatherSource, s: i.rm & 7)
      return commit(from: VectorScratch.source)
    case 0x7e: return moveFromMMX(quadword: i.rex & 8 != 0)
    case 0x7f where !i.isMemory:
      emit(MMX.gatherSource, s: i.reg & 7)
      emit(MMX.commitLow, d: i.rm & 7, s: VectorScratch.source)
      return .sequential
    case 0x7f: return moveFromMMX(quadword: true)
    case 0xe7: return i.isMemory ? moveFromMMX(quadword: true) : nil
    case 0x70: return mmx(MMX.shuffle, immediate: i.immediate & 0xff)
    case 0x71...0x73: return mmxShift()
    case 0xc4: return mmxInsertWord()
    case 0xc5: return mmxToGeneral(elementExtractions[1], immediate: i.immediate & 3)
    case 0xd7: return mmxToGeneral(VectorMoves.byteMask, immediate: 0)
    case 0xf7: return mmxMaskedStore()
    case 0x60...0x62:
      guard let handler = Self.packed(i.opcode) else { return nil }
      return mmx(handler, VectorLoads.doubleword)
    case 0x68...0x6a:
      // The upper halves of the operands make the upper half of the XMM form that takes the lower ones.
      guard let handler = Self.packed(i.opcode - 8) else { return nil }
      return mmx(handler, commit: MMX.commitHigh)
    default: return Self.packed(i.opcode).flatMap { mmx($0) }
    }
  }

  /// An operation on the register operand and an MMX register or memory.
  mutating func mmx(
    _ handler: Handler, _ load: MemoryHandlers = VectorLoads.quadword, immediate: UInt64 = 0,
    commit: Handler = MMX.commitLow
  ) -> Flow {
    gatherMMX(load)
    emit(
      handler, d: VectorScratch.destination, s: VectorScratch.source, immediate: immediate)
    emit(commit, d: i.reg & 7, s: VectorScratch.destination)
    return .sequential
  }

  /// Brings both operands into scratch.
  mutating func gatherMMX(_ load: MemoryHandlers = VectorLoads.quadword) {
    if i.isMemory {
      emit(load, d: VectorScratch.source)
      emit(MMX.gatherDestination, d: i.reg & 7)
    } else {
      emit(MMX.gather, d: i.reg & 7, s: i.rm & 7)
    }
  }

  mutating func emptyMMX() -> Flow {
    emit(MMX.empty)
    return .sequential
  }

  /// MOVQ2DQ and MOVDQ2Q: between an MMX and an XMM register.
  mutating func mmxExchange() -> Flow? {
    guard i.opcode == 0xd6, !i.isMemory else { return nil }
    switch i.mandatoryPrefix {
    case 0xf3: emit(MMX.toVector, d: i.reg, s: i.rm & 7)
    case 0xf2:
      emit(MMX.begin)
      emit(MMX.commitLow, d: i.reg & 7, s: i.rm)
    default: return nil
    }
    return .sequential
  }

  // MARK: - Operands out of the ordinary

  private mutating func commit(from source: UInt8) -> Flow {
    emit(MMX.commitLow, d: i.reg & 7, s: source)
    return .sequential
  }

  private mutating func moveToMMX(quadword: Bool) -> Flow {
    if i.isMemory {
      emit(
        quadword ? VectorLoads.quadword : VectorLoads.doubleword, d: VectorScratch.source)
      emit(MMX.begin)
    } else {
      emit(MMX.begin)
      emit(
        quadword ? VectorMoves.fromQuadword : VectorMoves.fromDoubleword,
        d: VectorScratch.source, s: Slot.register(i.rm))
    }
    return commit(from: VectorScratch.source)
  }

  private mutating func moveFromMMX(quadword: Bool) -> Flow {
    emit(MMX.gatherSource, s: i.reg & 7)
    if i.isMemory {
      emit(
        quadword ? VectorStores.quadword : VectorStores.doubleword, s: VectorScratch.source)
    } else {
      emit(
        quadword ? VectorMoves.toQuadword : VectorMoves.toDoubleword, d: Slot.register(i.rm),
        s: VectorScratch.source)
    }
    emit(MMX.commitNothing)
    return .sequential
  }

  private mutating func mmxShift() -> Flow? {
    guard !i.isMemory, let shift = Self.packedShift(i.opcode, i.extension3) else { return nil }
    emit(MMX.gather, d: i.rm & 7, s: i.rm & 7)
    emit(shift.byImmediate, d: VectorScratch.destination, immediate: i.immediate)
    emit(MMX.commitLow, d: i.rm & 7, s: VectorScratch.destination)
    return .sequential
  }

  /// PINSRW.
  private mutating func mmxInsertWord() -> Flow {
    let source = rmSource(1)
    emit(MMX.gather, d: i.reg & 7)
    emit(
      elementInsertions[1], d: VectorScratch.destination, s: source, immediate: i.immediate & 3)
    return commit(from: VectorScratch.destination)
  }

  /// PEXTRW, PMOVMSKB.
  private mutating func mmxToGeneral(_ handler: Handler, immediate: UInt64) -> Flow? {
    guard !i.isMemory else { return nil }
    emit(MMX.gatherSource, s: i.rm & 7)
    emit(handler, d: Slot.register(i.reg), s: VectorScratch.source, immediate: immediate)
    emit(MMX.commitNothing)
    return .sequential
  }

  /// MASKMOVQ.
  private mutating func mmxMaskedStore() -> Flow? {
    guard !i.isMemory else { return nil }
    emit(MMX.gather, d: i.reg & 7, s: i.rm & 7)
    maskedStore(from: VectorScratch.destination, mask: VectorScratch.source, count: 8)
    emit(MMX.commitNothing)
    return .sequential
  }
}
