import CProcessor

/// Packed integers of the two-byte map: 0F 60 to 6D, 70 to 76, C4 to C6 and D0 to FE.
extension Translator {
  mutating func vectorInteger() -> Flow? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0x66, 0x70):
      return vector { cpu, op in
        lanes(cpu, op) { (_: Doublewords, b, order) in shuffle(b, order) }
      }
    case (0xf3, 0x70):  // PSHUFHW
      return vector { cpu, op in
        lanes(cpu, op) { (_: Quadwords, b, order) in Quadwords(b.x, shuffleWords(b.y, order)) }
      }
    case (0xf2, 0x70):  // PSHUFLW
      return vector { cpu, op in
        lanes(cpu, op) { (_: Quadwords, b, order) in Quadwords(shuffleWords(b.x, order), b.y) }
      }
    case (0, 0xc6):  // SHUFPS
      return vector { cpu, op in
        lanes(cpu, op) { (a: Doublewords, b, order) in shuffle(a, b, order) }
      }
    case (0x66, 0xc6):  // SHUFPD
      return vector { cpu, op in
        lanes(cpu, op) { (a: Quadwords, b, order) in shuffle(a, b, order) }
      }
    case (0, 0x14): return vector { lanes($0, $1) { (a: Doublewords, b) in interleaveLow(a, b) } }
    case (0, 0x15): return vector { lanes($0, $1) { (a: Doublewords, b) in interleaveHigh(a, b) } }
    case (0x66, 0x14), (0x66, 0x6c):  // UNPCKLPD, PUNPCKLQDQ
      return vector { lanes($0, $1) { (a: Quadwords, b) in Quadwords(a.x, b.x) } }
    case (0x66, 0x15), (0x66, 0x6d):  // UNPCKHPD, PUNPCKHQDQ
      return vector { lanes($0, $1) { (a: Quadwords, b) in Quadwords(a.y, b.y) } }
    case (0x66, 0xc4): return insertWord()
    case (0x66, 0xc5): return extractWord()
    case (0x66, 0x71...0x73): return shiftByImmediate()
    case (0x66, let opcode): return Self.packed(opcode).map { vector($0) }
    default: return nil
    }
  }

  /// Instructions that exist for XMM and for MMX registers and do to the low half of the one what they do to
  /// the whole of the other.
  static func packed(_ opcode: UInt8) -> Handler? {
    switch opcode {
    case 0x60: { lanes($0, $1) { (a: Bytes, b) in interleaveLow(a, b) } }  // PUNPCKLBW
    case 0x61: { lanes($0, $1) { (a: Words, b) in interleaveLow(a, b) } }  // PUNPCKLWD
    case 0x62: { lanes($0, $1) { (a: Doublewords, b) in interleaveLow(a, b) } }  // PUNPCKLDQ
    case 0x63: { lanes($0, $1) { (a: SignedWords, b) in packSigned(a, b) } }  // PACKSSWB
    case 0x64: { lanes($0, $1) { (a: SignedBytes, b) -> Bytes in ones(a .> b) } }  // PCMPGTB
    case 0x65: { lanes($0, $1) { (a: SignedWords, b) -> Words in ones(a .> b) } }  // PCMPGTW
    case 0x66:  // PCMPGTD
      { lanes($0, $1) { (a: SignedDoublewords, b) -> Doublewords in ones(a .> b) } }
    case 0x67: { lanes($0, $1) { (a: SignedWords, b) in packUnsigned(a, b) } }  // PACKUSWB
    case 0x68: { lanes($0, $1) { (a: Bytes, b) in interleaveHigh(a, b) } }  // PUNPCKHBW
    case 0x69: { lanes($0, $1) { (a: Words, b) in interleaveHigh(a, b) } }  // PUNPCKHWD
    case 0x6a: { lanes($0, $1) { (a: Doublewords, b) in interleaveHigh(a, b) } }  // PUNPCKHDQ
    case 0x6b: { lanes($0, $1) { (a: SignedDoublewords, b) in packSigned(a, b) } }  // PACKSSDW
    case 0x74: { lanes($0, $1) { (a: Bytes, b) -> Bytes in ones(a .== b) } }  // PCMPEQB
    case 0x75: { lanes($0, $1) { (a: Words, b) -> Words in ones(a .== b) } }  // PCMPEQW
    case 0x76: { lanes($0, $1) { (a: Doublewords, b) -> Doublewords in ones(a .== b) } }  // PCMPEQD
    case 0xd1: VectorShift.rightWords.byRegister
    case 0xd2: VectorShift.rightDoublewords.byRegister
    case 0xd3: VectorShift.rightQuadwords.byRegister
    case 0xd4: { lanes($0, $1) { (a: Quadwords, b) in a &+ b } }  // PADDQ
    case 0xd5: { lanes($0, $1) { (a: Words, b) in a &* b } }  // PMULLW
    case 0xd8: { lanes($0, $1) { (a: Bytes, b) in subtractSaturated(a, b) } }  // PSUBUSB
    case 0xd9: { lanes($0, $1) { (a: Words, b) in subtractSaturated(a, b) } }  // PSUBUSW
    case 0xda: { lanes($0, $1) { (a: Bytes, b) in pointwiseMin(a, b) } }  // PMINUB
    case 0xdb: { lanes($0, $1) { (a: Quadwords, b) in a & b } }  // PAND
    case 0xdc: { lanes($0, $1) { (a: Bytes, b) in addSaturated(a, b) } }  // PADDUSB
    case 0xdd: { lanes($0, $1) { (a: Words, b) in addSaturated(a, b) } }  // PADDUSW
    case 0xde: { lanes($0, $1) { (a: Bytes, b) in pointwiseMax(a, b) } }  // PMAXUB
    case 0xdf: { lanes($0, $1) { (a: Quadwords, b) in ~a & b } }  // PANDN
    case 0xe0: { lanes($0, $1) { (a: Bytes, b) in average(a, b) } }  // PAVGB
    case 0xe1: VectorShift.arithmeticWords.byRegister
    case 0xe2: VectorShift.arithmeticDoublewords.byRegister
    case 0xe3: { lanes($0, $1) { (a: Words, b) in average(a, b) } }  // PAVGW
    case 0xe4: { lanes($0, $1) { (a: Words, b) in multiplyHighUnsigned(a, b) } }  // PMULHUW
    case 0xe5: { lanes($0, $1) { (a: SignedWords, b) in multiplyHigh(a, b) } }  // PMULHW
    case 0xe8: { lanes($0, $1) { (a: SignedBytes, b) in subtractSaturated(a, b) } }  // PSUBSB
    case 0xe9: { lanes($0, $1) { (a: SignedWords, b) in subtractSaturated(a, b) } }  // PSUBSW
    case 0xea: { lanes($0, $1) { (a: SignedWords, b) in pointwiseMin(a, b) } }  // PMINSW
    case 0xeb: { lanes($0, $1) { (a: Quadwords, b) in a | b } }  // POR
    case 0xec: { lanes($0, $1) { (a: SignedBytes, b) in addSaturated(a, b) } }  // PADDSB
    case 0xed: { lanes($0, $1) { (a: SignedWords, b) in addSaturated(a, b) } }  // PADDSW
    case 0xee: { lanes($0, $1) { (a: SignedWords, b) in pointwiseMax(a, b) } }  // PMAXSW
    case 0xef: { lanes($0, $1) { (a: Quadwords, b) in a ^ b } }  // PXOR
    case 0xf1: VectorShift.leftWords.byRegister
    case 0xf2: VectorShift.leftDoublewords.byRegister
    case 0xf3: VectorShift.leftQuadwords.byRegister
    case 0xf4: { lanes($0, $1) { (a: Quadwords, b) in multiplyEven(a, b) } }  // PMULUDQ
    case 0xf5: { lanes($0, $1) { (a: SignedWords, b) in multiplyAndAdd(a, b) } }  // PMADDWD
    case 0xf6: { lanes($0, $1) { (a: Bytes, b) in sumOfDistances(a, b) } }  // PSADBW
    case 0xf8: { lanes($0, $1) { (a: Bytes, b) in a &- b } }  // PSUBB
    case 0xf9: { lanes($0, $1) { (a: Words, b) in a &- b } }  // PSUBW
    case 0xfa: { lanes($0, $1) { (a: Doublewords, b) in a &- b } }  // PSUBD
    case 0xfb: { lanes($0, $1) { (a: Quadwords, b) in a &- b } }  // PSUBQ
    case 0xfc: { lanes($0, $1) { (a: Bytes, b) in a &+ b } }  // PADDB
    case 0xfd: { lanes($0, $1) { (a: Words, b) in a &+ b } }  // PADDW
    case 0xfe: { lanes($0, $1) { (a: Doublewords, b) in a &+ b } }  // PADDD
    default: nil
    }
  }

  // MARK: - Operands out of the ordinary

  private mutating func shiftByImmediate() -> Flow? {
    guard !i.isMemory, let handler = Self.shiftByImmediate(i.opcode, i.extension3) else {
      return nil
    }
    emit(handler, d: i.rm, immediate: i.immediate)
    return .sequential
  }

  static func shiftByImmediate(_ opcode: UInt8, _ digit: UInt8) -> Handler? {
    switch (opcode, digit) {
    case (0x73, 3): VectorShift.rightWhole
    case (0x73, 7): VectorShift.leftWhole
    default: packedShift(opcode, digit)?.byImmediate
    }
  }

  /// Groups 12, 13 and 14.
  static func packedShift(_ opcode: UInt8, _ digit: UInt8) -> VectorShift? {
    switch (opcode, digit) {
    case (0x71, 2): .rightWords
    case (0x71, 4): .arithmeticWords
    case (0x71, 6): .leftWords
    case (0x72, 2): .rightDoublewords
    case (0x72, 4): .arithmeticDoublewords
    case (0x72, 6): .leftDoublewords
    case (0x73, 2): .rightQuadwords
    case (0x73, 6): .leftQuadwords
    default: nil
    }
  }

  /// PINSRW.
  private mutating func insertWord() -> Flow {
    emit(elementInsertions[1], d: i.reg, s: rmSource(1), immediate: i.immediate)
    return .sequential
  }

  /// PEXTRW.
  private mutating func extractWord() -> Flow? {
    guard !i.isMemory else { return nil }
    emit(elementExtractions[1], d: Slot.register(i.reg), s: i.rm, immediate: i.immediate)
    return .sequential
  }
}
