import CFloat
import CProcessor

/// SSSE3, SSE4.1, SSE4.2, AES, PCLMULQDQ and SHA: SDM Vol. 1 chapter 12, Vol. 2D Tables.
extension Translator {
  /// 0F 38.
  mutating func vectorThreeByte38() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0xf2, 0xf0), (0xf2, 0xf1): return checksum()
    case (0, 0xc8...0xcd): return secureHash()
    case (0, let opcode):
      guard let handler = Self.packedSupplement(opcode) else { return nil }
      emitAvailability(VectorAvailability.requireMMX)
      return opcode == 0 ? mmxShuffleBytes(handler) : mmx(handler)
    case (0x66, 0x20...0x25), (0x66, 0x30...0x35):
      emitAvailability(VectorAvailability.requireSSE)
      return widening()
    case (0x66, 0x2a):  // MOVNTDQA
      guard i.isMemory else { return nil }
      emitAvailability(VectorAvailability.requireSSE)
      emit(VectorLoads.aligned, d: i.reg)
      return .sequential
    case (0x66, let opcode):
      guard
        let handler = Self.packedSupplement(opcode) ?? Self.sse4(opcode)
          ?? Ciphers.handler38(opcode)
      else { return nil }
      emitAvailability(VectorAvailability.requireSSE)
      return vector(handler)
    default: return nil
    }
  }

  /// SSSE3, which exists for MMX registers too.
  private static func packedSupplement(_ opcode: UInt8) -> Handler? {
    switch opcode {
    case 0x00: { lanes($0, $1) { (a: Bytes, b) in shuffleBytes(a, b) } }  // PSHUFB
    case 0x01: { adjacent($0, $1) { (a: SignedWords, b) in a &+ b } }  // PHADDW
    case 0x02: { adjacent($0, $1) { (a: SignedDoublewords, b) in a &+ b } }  // PHADDD
    case 0x03: { adjacent($0, $1) { (a: SignedWords, b) in addSaturated(a, b) } }  // PHADDSW
    case 0x04:  // PMADDUBSW
      { lanes($0, $1) { (a: Words, b) in multiplyAndAddBytes(a, cast(b)) } }
    case 0x05: { adjacent($0, $1) { (a: SignedWords, b) in a &- b } }  // PHSUBW
    case 0x06: { adjacent($0, $1) { (a: SignedDoublewords, b) in a &- b } }  // PHSUBD
    case 0x07: { adjacent($0, $1) { (a: SignedWords, b) in subtractSaturated(a, b) } }  // PHSUBSW
    case 0x08: { lanes($0, $1) { (a: SignedBytes, b) in applySign(a, b) } }  // PSIGNB
    case 0x09: { lanes($0, $1) { (a: SignedWords, b) in applySign(a, b) } }  // PSIGNW
    case 0x0a: { lanes($0, $1) { (a: SignedDoublewords, b) in applySign(a, b) } }  // PSIGND
    case 0x0b: { lanes($0, $1) { (a: SignedWords, b) in multiplyRounded(a, b) } }  // PMULHRSW
    case 0x1c: { lane($0, $1) { (b: SignedBytes) in magnitude(b) } }  // PABSB
    case 0x1d: { lane($0, $1) { (b: SignedWords) in magnitude(b) } }  // PABSW
    case 0x1e: { lane($0, $1) { (b: SignedDoublewords) in magnitude(b) } }  // PABSD
    default: nil
    }
  }

  private static func sse4(_ opcode: UInt8) -> Handler? {
    switch opcode {
    case 0x10: { blendByMask($0, $1, SignedBytes.self) }  // PBLENDVB
    case 0x14: { blendByMask($0, $1, SignedDoublewords.self) }  // BLENDVPS
    case 0x15: { blendByMask($0, $1, SignedQuadwords.self) }  // BLENDVPD
    case 0x17: testBits  // PTEST
    case 0x28: { lanes($0, $1) { (a: SignedQuadwords, b) in multiplyEvenSigned(a, b) } }  // PMULDQ
    case 0x29: { lanes($0, $1) { (a: Quadwords, b) -> Quadwords in ones(a .== b) } }  // PCMPEQQ
    case 0x2b: { lanes($0, $1) { (a: SignedDoublewords, b) in packUnsigned(a, b) } }  // PACKUSDW
    case 0x37:  // PCMPGTQ
      { lanes($0, $1) { (a: SignedQuadwords, b) -> Quadwords in ones(a .> b) } }
    case 0x38: { lanes($0, $1) { (a: SignedBytes, b) in pointwiseMin(a, b) } }  // PMINSB
    case 0x39: { lanes($0, $1) { (a: SignedDoublewords, b) in pointwiseMin(a, b) } }  // PMINSD
    case 0x3a: { lanes($0, $1) { (a: Words, b) in pointwiseMin(a, b) } }  // PMINUW
    case 0x3b: { lanes($0, $1) { (a: Doublewords, b) in pointwiseMin(a, b) } }  // PMINUD
    case 0x3c: { lanes($0, $1) { (a: SignedBytes, b) in pointwiseMax(a, b) } }  // PMAXSB
    case 0x3d: { lanes($0, $1) { (a: SignedDoublewords, b) in pointwiseMax(a, b) } }  // PMAXSD
    case 0x3e: { lanes($0, $1) { (a: Words, b) in pointwiseMax(a, b) } }  // PMAXUW
    case 0x3f: { lanes($0, $1) { (a: Doublewords, b) in pointwiseMax(a, b) } }  // PMAXUD
    case 0x40: { lanes($0, $1) { (a: Doublewords, b) in a &* b } }  // PMULLD
    case 0x41: { lane($0, $1) { (b: Words) in leastWord(b) } }  // PHMINPOSUW
    default: nil
    }
  }

  /// PMOVSX and PMOVZX: the source has as many elements as fit widened.
  private mutating func widening() -> Flow {
    let isSigned = i.opcode < 0x30
    let (handler, load): (Handler, MemoryHandlers) =
      switch i.opcode & 0xf {
      case 0:
        isSigned
          ? ({ widen($0, $1, SIMD8<Int8>.self, SignedWords.self) }, VectorLoads.quadword)
          : ({ widen($0, $1, SIMD8<UInt8>.self, Words.self) }, VectorLoads.quadword)
      case 1:
        isSigned
          ? ({ widen($0, $1, SIMD4<Int8>.self, SignedDoublewords.self) }, VectorLoads.doubleword)
          : ({ widen($0, $1, SIMD4<UInt8>.self, Doublewords.self) }, VectorLoads.doubleword)
      case 2:
        isSigned
          ? ({ widen($0, $1, SIMD2<Int8>.self, SignedQuadwords.self) }, VectorLoads.word)
          : ({ widen($0, $1, SIMD2<UInt8>.self, Quadwords.self) }, VectorLoads.word)
      case 3:
        isSigned
          ? ({ widen($0, $1, SIMD4<Int16>.self, SignedDoublewords.self) }, VectorLoads.quadword)
          : ({ widen($0, $1, SIMD4<UInt16>.self, Doublewords.self) }, VectorLoads.quadword)
      case 4:
        isSigned
          ? ({ widen($0, $1, SIMD2<Int16>.self, SignedQuadwords.self) }, VectorLoads.doubleword)
          : ({ widen($0, $1, SIMD2<UInt16>.self, Quadwords.self) }, VectorLoads.doubleword)
      default:
        isSigned
          ? ({ widen($0, $1, SIMD2<Int32>.self, SignedQuadwords.self) }, VectorLoads.quadword)
          : ({ widen($0, $1, SIMD2<UInt32>.self, Quadwords.self) }, VectorLoads.quadword)
      }
    return vector(handler, load)
  }

  /// PSHUFB on MMX registers, whose bytes are numbered by three bits.
  private mutating func mmxShuffleBytes(_ handler: Handler) -> Flow {
    gatherMMX()
    emit(
      { lane($0, $1) { (b: Bytes) in b & Bytes(repeating: 0x87) } }, d: VectorScratch.source,
      s: VectorScratch.source)
    emit(handler, d: VectorScratch.destination, s: VectorScratch.source)
    emit(MMX.commitLow, d: i.reg & 7, s: VectorScratch.destination)
    return .sequential
  }

  /// CRC32.
  private mutating func checksum() -> Flow {
    let log2 = i.opcode == 0xf0 ? 0 : i.operandLog2
    emit(checksums[log2], d: Slot.register(i.reg), s: rmSource(log2))
    return .sequential
  }

  // MARK: - 0F 3A

  mutating func vectorThreeByte3A() -> Flow? {
    if (i.mandatoryPrefix, i.opcode) == (0, 0x0f) {
      emitAvailability(VectorAvailability.requireMMX)
      return mmx(alignMMX, immediate: i.immediate & 0xff)
    }
    if (i.mandatoryPrefix, i.opcode) == (0, 0xcc) { return secureHashRounds() }
    guard i.mandatoryPrefix == 0x66 else { return nil }
    emitAvailability(VectorAvailability.requireSSE)
    switch i.opcode {
    case 0x44: return vector(Ciphers.multiplication)
    case 0xdf: return vector(Ciphers.keyAssistance)
    case 0x08: return vector { floats($0, $1, immediate: x86_roundps) }
    case 0x09: return vector { floats($0, $1, immediate: x86_roundpd) }
    case 0x0a: return vector({ floats($0, $1, immediate: x86_roundss) }, VectorLoads.doubleword)
    case 0x0b: return vector({ floats($0, $1, immediate: x86_roundsd) }, VectorLoads.quadword)
    case 0x0c:
      return vector { lanes($0, $1) { (a: Doublewords, b, bits) in blend(a, b, bits: bits) } }
    case 0x0d:
      return vector { lanes($0, $1) { (a: Quadwords, b, bits) in blend(a, b, bits: bits) } }
    case 0x0e: return vector { lanes($0, $1) { (a: Words, b, bits) in blend(a, b, bits: bits) } }
    case 0x0f: return vector { lanes($0, $1) { (a: UInt128, b, count) in align(a, b, count) } }
    case 0x14: return extractElement(0)
    case 0x15: return extractElement(1)
    case 0x16: return extractElement(i.rex & 8 != 0 ? 3 : 2)
    case 0x17: return extractElement(2)  // EXTRACTPS
    case 0x20: return insertElement(0)
    case 0x21: return insertSingle()
    case 0x22: return insertElement(i.rex & 8 != 0 ? 3 : 2)
    case 0x40:
      return vector { floats($0, $1) { (a: Singles, b, choice) in dotProduct(a, b, choice) } }
    case 0x41:
      return vector { floats($0, $1) { (a: Doubles, b, choice) in dotProduct(a, b, choice) } }
    case 0x42:
      return vector { lanes($0, $1) { (a: Bytes, b, places) in blockDistances(a, b, places) } }
    case 0x60...0x63: return stringComparison()
    default: return nil
    }
  }

  /// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS.
  private mutating func extractElement(_ log2: Int) -> Flow {
    let destination = i.isMemory ? Slot.temporary : Slot.register(i.rm)
    emit(elementExtractions[log2], d: destination, s: i.reg, immediate: i.immediate & 0xff)
    if i.isMemory { emit(Stores.plain[log2], s: destination) }
    return .sequential
  }

  /// PINSRB, PINSRD, PINSRQ. A byte comes from a register's lowest, never from AH to BH.
  private mutating func insertElement(_ log2: Int) -> Flow {
    let source = i.isMemory ? rmSource(log2) : Slot.register(i.rm)
    emit(elementInsertions[log2], d: i.reg, s: source, immediate: i.immediate & 0xff)
    return .sequential
  }

  /// INSERTPS. From memory, the element is the one there.
  private mutating func insertSingle() -> Flow {
    let places = i.isMemory ? i.immediate & 0x3f : i.immediate & 0xff
    let source = vectorSource(VectorLoads.doubleword)
    let handler: Handler = {
      lanes($0, $1) { (a: Doublewords, b, places) in placeSingle(a, b, places) }
    }
    if i.vex != nil {
      emitHalves(
        handler, d: i.reg, first: firstSource, s: source, wide: false, immediates: (places, 0))
    } else {
      emit(handler, d: i.reg, s: source, immediate: places)
    }
    return .sequential
  }

  /// PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI: operands need no alignment.
  private mutating func stringComparison() -> Flow {
    let source = vectorSource(VectorLoads.unaligned)
    let handler = StringComparison.handlers[Int(i.opcode & 3)]
    emit(
      handler, d: i.reg, s: source, immediate: i.immediate & 0xff,
      detail: i.rex & 8 != 0 ? 1 : 0)
    // Those that answer a mask write XMM0.
    if i.vex != nil, i.opcode & 1 == 0 { emit(WideMoves.clearUpper, d: 0) }
    return .sequential
  }
}
