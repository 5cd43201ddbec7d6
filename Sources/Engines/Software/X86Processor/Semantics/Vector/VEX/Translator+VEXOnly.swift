import ArchitectureX86
import CProcessor

/// Instructions that have no SSE sibling: 0F 38 and 0F 3A with 66, SDM Vol. 2D Tables.
extension Translator {
  mutating func vexOnly() -> Flow? {
    guard i.mandatoryPrefix == 0x66 else { return nil }
    switch i.map {
    case .threeByte38: return vexOnly38()
    case .threeByte3A: return vexOnly3A()
    default: return nil
    }
  }

  private mutating func vexOnly38() -> Flow? {
    switch i.opcode {
    case 0x0c where !isW:
      return binary { lanes($0, $1) { (a: Doublewords, order) in permute(a, order) } }
    case 0x0d where !isW:
      return binary { lanes($0, $1) { (a: Quadwords, order) in permute(a, order) } }
    case 0x0e where !isW: return test(WideTests.singleSigns)
    case 0x0f where !isW: return test(WideTests.doubleSigns)
    case 0x17: return test(WideTests.bits)
    case 0x13 where !isW: return vexHalfPrecisionLoad()
    case 0x16 where !isW, 0x36 where !isW:
      guard isWide, features.hasAVX2 else { return nil }
      emit(
        WidePermutations.doublewords, d: i.reg, s: vectorSource(VectorLoads.wide), base: firstSource
      )
      return .sequential
    case 0x18 where !isW: return broadcast(2, fromRegister: features.hasAVX2)
    case 0x19 where !isW: return isWide ? broadcast(3, fromRegister: features.hasAVX2) : nil
    case 0x58 where !isW: return features.hasAVX2 ? broadcast(2) : nil
    case 0x59 where !isW: return features.hasAVX2 ? broadcast(3) : nil
    case 0x78 where !isW: return features.hasAVX2 ? broadcast(0) : nil
    case 0x79 where !isW: return features.hasAVX2 ? broadcast(1) : nil
    case 0x1a where !isW: return broadcastHalf()
    case 0x5a where !isW: return features.hasAVX2 ? broadcastHalf() : nil
    case 0x2c...0x2f where !isW:
      return maskedMove(log2: 2 + Int(i.opcode & 1), isStore: i.opcode >= 0x2e)
    case 0x8c, 0x8e:
      guard features.hasAVX2 else { return nil }
      return maskedMove(log2: isW ? 3 : 2, isStore: i.opcode == 0x8e)
    case 0x45: return features.hasAVX2 ? binary(ElementShifts.right[isW ? 1 : 0]) : nil
    case 0x46 where !isW: return features.hasAVX2 ? binary(ElementShifts.arithmetic) : nil
    case 0x47: return features.hasAVX2 ? binary(ElementShifts.left[isW ? 1 : 0]) : nil
    case 0x90...0x93: return features.hasAVX2 ? gather() : nil
    case 0x96...0x9f, 0xa6...0xaf, 0xb6...0xbf: return features.hasFMA ? fusedMultiply() : nil
    default: return nil
    }
  }

  private mutating func vexOnly3A() -> Flow? {
    switch i.opcode {
    case 0x00 where isW, 0x01 where isW:
      guard isWide, namesNone, features.hasAVX2 else { return nil }
      emit(
        WidePermutations.quadwords, d: i.reg, s: vectorSource(VectorLoads.wide),
        immediate: i.immediate)
      return .sequential
    case 0x02 where !isW:  // VPBLENDD
      guard features.hasAVX2 else { return nil }
      return binary(
        { lanes($0, $1) { (a: Doublewords, b, bits) in blend(a, b, bits: bits) } },
        upperImmediate: i.immediate >> 4)
    case 0x04 where !isW:
      return unary { cpu, op in
        lanes(cpu, op) { (_: Doublewords, b, order) in shuffle(b, order) }
      }
    case 0x05 where !isW:
      return unary(
        { cpu, op in lanes(cpu, op) { (_: Quadwords, b, order) in shuffle(b, b, order) } },
        upperImmediate: i.immediate >> 2)
    case 0x06 where !isW: return permuteHalves()
    case 0x46 where !isW: return features.hasAVX2 ? permuteHalves() : nil
    case 0x18 where !isW: return insertHalf()
    case 0x38 where !isW: return features.hasAVX2 ? insertHalf() : nil
    case 0x19 where !isW: return extractHalf()
    case 0x39 where !isW: return features.hasAVX2 ? extractHalf() : nil
    case 0x1d where !isW: return vexHalfPrecisionStore()
    case 0x4a, 0x4b, 0x4c: return blendByRegister(blendsByRegister[Int(i.opcode - 0x4a)])
    default: return nil
    }
  }

  // MARK: - Shapes

  private mutating func binary(_ handler: Handler, upperImmediate: UInt64? = nil) -> Flow {
    emitHalves(
      handler, d: i.reg, first: firstSource, s: vectorSource(wholeLoad), wide: isWide,
      immediates: (i.immediate & 0xff, (upperImmediate ?? i.immediate) & 0xff))
    return .sequential
  }

  private mutating func unary(_ handler: Handler, upperImmediate: UInt64? = nil) -> Flow? {
    guard namesNone else { return nil }
    emitHalves(
      handler, d: i.reg, first: nil, s: vectorSource(wholeLoad), wide: isWide,
      immediates: (i.immediate & 0xff, (upperImmediate ?? i.immediate) & 0xff))
    return .sequential
  }

  /// VPTEST, VTESTPS, VTESTPD.
  private mutating func test(_ handler: Handler) -> Flow? {
    guard namesNone else { return nil }
    emit(handler, d: i.reg, s: vectorSource(wholeLoad), detail: isWide ? 1 : 0)
    return .sequential
  }

  // MARK: - Broadcasts

  private mutating func broadcast(_ log2: Int, fromRegister: Bool = true) -> Flow? {
    guard namesNone, i.isMemory || fromRegister else { return nil }
    let loads = [
      VectorLoads.byte, VectorLoads.word, VectorLoads.doubleword, VectorLoads.quadword,
    ]
    emit(broadcasts[log2], d: i.reg, s: vectorSource(loads[log2]))
    repeatLowerHalf()
    return .sequential
  }

  /// VBROADCASTF128, VBROADCASTI128.
  private mutating func broadcastHalf() -> Flow? {
    guard namesNone, i.isMemory, isWide else { return nil }
    emit(VectorLoads.unaligned, d: i.reg)
    repeatLowerHalf()
    return .sequential
  }

  private mutating func repeatLowerHalf() {
    if isWide {
      emit(VectorMoves.whole, d: upper(i.reg), s: i.reg)
    } else {
      emit(WideMoves.clearUpper, d: i.reg)
    }
  }

  // MARK: - Halves

  private mutating func permuteHalves() -> Flow? {
    guard isWide else { return nil }
    emit(
      WidePermutations.halves, d: i.reg, s: vectorSource(VectorLoads.wide), immediate: i.immediate,
      base: firstSource)
    return .sequential
  }

  /// VINSERTF128, VINSERTI128.
  private mutating func insertHalf() -> Flow? {
    guard isWide else { return nil }
    var source = vectorSource(VectorLoads.unaligned)
    if source == i.reg {
      emit(VectorMoves.whole, d: VectorScratch.source, s: source)
      source = VectorScratch.source
    }
    if firstSource != i.reg { emit(WideMoves.whole, d: i.reg, s: firstSource) }
    emit(VectorMoves.whole, d: i.immediate & 1 == 0 ? i.reg : upper(i.reg), s: source)
    return .sequential
  }

  /// VEXTRACTF128, VEXTRACTI128.
  private mutating func extractHalf() -> Flow? {
    guard isWide, namesNone else { return nil }
    let source = i.immediate & 1 == 0 ? i.reg : upper(i.reg)
    if i.isMemory {
      emit(VectorStores.unaligned, s: source)
    } else {
      emit(WideMoves.zeroing, d: i.rm, s: source)
    }
    return .sequential
  }

  /// VBLENDVPS, VBLENDVPD, VPBLENDVB: the upper half of the immediate names a register.
  private mutating func blendByRegister(_ handler: Handler) -> Flow? {
    guard !isW, i.opcode != 0x4c || !isWide || features.hasAVX2 else { return nil }
    let mask = UInt8(truncatingIfNeeded: i.immediate >> 4) & (i.mode == .bits64 ? 15 : 7)
    let source = vectorSource(wholeLoad)
    let target = VectorScratch.destination
    emit(isWide ? WideMoves.whole : WideMoves.zeroing, d: target, s: firstSource)
    emit(handler, d: target, s: source, base: mask)
    if isWide { emit(handler, d: upper(target), s: upper(source), base: upper(mask)) }
    emit(isWide ? WideMoves.whole : WideMoves.zeroing, d: i.reg, s: target)
    return .sequential
  }
}
