import X86Processor

/// The opcodes behind 0F, and those of VEX's map 1: SDM Vol. 2D Appendix A, Table A-3. A row's prefixes are
/// `Instruction.mandatoryPrefix`. What is not here are instructions on MMX registers, masked moves, MXCSR's and
/// XSAVE's, and instructions on general registers alone.
extension VectorEntry {
  static func twoByte(_ i: Instruction) -> VectorEntry? {
    switch i.opcode {
    case 0x10...0x13, 0x16, 0x17, 0x28, 0x29, 0x2b: move(i)
    case 0x2a, 0x2c, 0x2d, 0x5a, 0x5b, 0xe6: conversion(i)
    case 0x2e, 0x2f, 0x51...0x59, 0x5c...0x5f, 0x7c, 0x7d, 0xc2, 0xd0: float(i)
    case 0x14, 0x15, 0xc6: shuffle(i)
    case 0x77: zeroing(i)
    case 0x50, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xe7, 0xf0: integerMove(i)
    default: i.mandatoryPrefix == 0x66 || i.opcode == 0x70 ? packedInteger(i) : nil
    }
  }

  /// Of singles and doubles: without a prefix and with F3 SSE's, with 66 and F2 SSE2's.
  private static func floatFeature(_ i: Instruction) -> VectorFeature {
    i.mandatoryPrefix == 0 || i.mandatoryPrefix == 0xf3 ? .sse : .sse2
  }

  // MARK: - Moves

  private static func move(_ i: Instruction) -> VectorEntry? {
    let feature = floatFeature(i)
    switch i.mandatoryPrefix {
    case 0, 0x66: break
    case 0xf3: return scalarMove(i, feature, 4)
    default: return scalarMove(i, feature, 8)
    }
    // MOVHLPS and MOVLHPS stand where MOVLPS and MOVHPS would have a register; MOVLPD and MOVHPD have none.
    let halfPlace = i.mandatoryPrefix == 0 ? Place.any : .memory
    return switch i.opcode {
    case 0x10: whole(.load, feature, alignment: .never)  // MOVUPS, MOVUPD
    case 0x11: whole(.store, feature, alignment: .never)
    case 0x12, 0x16: fixed(.combine, feature, 8, place: halfPlace)
    case 0x13, 0x17: fixed(.store, feature, 8, place: .memory)
    case 0x28: whole(.load, feature, alignment: .always)  // MOVAPS, MOVAPD
    case 0x29: whole(.store, feature, alignment: .always)
    case 0x2b: whole(.store, feature, place: .memory, alignment: .always)  // MOVNTPS, MOVNTPD
    default: nil
    }
  }

  /// With F3 and F2: MOVSS and MOVSD, MOVSLDUP, MOVSHDUP and MOVDDUP.
  private static func scalarMove(
    _ i: Instruction, _ feature: VectorFeature, _ bytes: Int
  ) -> VectorEntry? {
    switch (i.opcode, bytes) {
    // From memory all else becomes zero; from a register it is kept.
    case (0x10, _): fixed(i.isMemory ? .load : .combine, feature, bytes)
    case (0x11, _): fixed(i.isMemory ? .store : .combineIntoRM, feature, bytes)
    case (0x12, 4), (0x16, 4): whole(.load, .sse3)
    case (0x12, 8): VectorEntry(operands: .load, feature: .sse3, short: 8, wide: 32)
    default: nil
    }
  }

  private static func integerMove(_ i: Instruction) -> VectorEntry? {
    switch (i.opcode, i.mandatoryPrefix) {
    case (0x50, 0), (0x50, 0x66): whole(.toGeneral, floatFeature(i), place: .register)
    case (0x6e, 0x66): fixed(.fromGeneral, .sse2, bytesByW(i))  // MOVD, MOVQ
    case (0x7e, 0x66): fixed(.extract, .sse2, bytesByW(i))
    case (0x7e, 0xf3): fixed(.load, .sse2, 8)  // MOVQ
    case (0xd6, 0x66): fixed(.store, .sse2, 8)
    case (0x6f, 0x66): whole(.load, .sse2, alignment: .always)  // MOVDQA
    case (0x7f, 0x66): whole(.store, .sse2, alignment: .always)
    case (0x6f, 0xf3): whole(.load, .sse2, alignment: .never)  // MOVDQU
    case (0x7f, 0xf3): whole(.store, .sse2, alignment: .never)
    case (0xe7, 0x66): whole(.store, .sse2, place: .memory, alignment: .always)  // MOVNTDQ
    case (0xf0, 0xf2): whole(.load, .sse3, place: .memory, alignment: .never)  // LDDQU
    default: nil
    }
  }

  /// VZEROUPPER, VZEROALL.
  private static func zeroing(_ i: Instruction) -> VectorEntry? {
    i.mandatoryPrefix == 0
      ? VectorEntry(operands: .nothing, feature: .avx, short: 0, wide: 0) : nil
  }

  // MARK: - Floating point

  private static func float(_ i: Instruction) -> VectorEntry? {
    let feature = floatFeature(i)
    let isPacked = i.mandatoryPrefix == 0 || i.mandatoryPrefix == 0x66
    let isSingle = feature == .sse
    switch i.opcode {
    case 0x2e, 0x2f:  // UCOMISS, UCOMISD, COMISS, COMISD
      return isPacked ? fixed(.compare, feature, isSingle ? 4 : 8) : nil
    case 0x52, 0x53: guard isSingle else { return nil }  // RSQRTPS, RSQRTSS, RCPPS, RCPSS
    case 0x54...0x57: guard isPacked else { return nil }
    case 0x7c, 0x7d, 0xd0:  // HADDPD, HSUBPD, ADDSUBPD and, with F2, the same of singles
      return i.mandatoryPrefix == 0x66 || i.mandatoryPrefix == 0xf2
        ? whole(.combine, .sse3) : nil
    case 0xc2:
      // The rest of the immediate is reserved.
      guard i.immediate & 0xff < (i.vex == nil ? 8 : 32) else { return nil }
    default: break
    }
    guard isPacked else { return fixed(.combine, feature, isSingle ? 4 : 8) }
    let hasOneSource = 0x51...0x53 ~= i.opcode  // square roots and approximations
    return whole(hasOneSource ? .load : .combine, feature)
  }

  /// UNPCKLPS, UNPCKHPS, SHUFPS and the same of doubles.
  private static func shuffle(_ i: Instruction) -> VectorEntry? {
    i.mandatoryPrefix == 0 || i.mandatoryPrefix == 0x66 ? whole(.combine, floatFeature(i)) : nil
  }

  private static func conversion(_ i: Instruction) -> VectorEntry? {
    switch (i.opcode, i.mandatoryPrefix) {
    // Without F3 and F2, 2A, 2C and 2D are MMX's.
    case (0x2a, 0xf3), (0x2a, 0xf2):  // CVTSI2SS, CVTSI2SD
      fixed(.combineGeneral, floatFeature(i), bytesByW(i))
    case (0x2c, 0xf3), (0x2d, 0xf3): fixed(.toGeneral, .sse, 4)  // CVTTSS2SI, CVTSS2SI
    case (0x2c, 0xf2), (0x2d, 0xf2): fixed(.toGeneral, .sse2, 8)  // CVTTSD2SI, CVTSD2SI
    case (0x5a, 0), (0xe6, 0xf3):  // CVTPS2PD, CVTDQ2PD
      VectorEntry(operands: .load, feature: .sse2, short: 8, wide: 16)
    case (0x5a, 0x66), (0x5b, 0), (0x5b, 0x66), (0x5b, 0xf3), (0xe6, 0x66), (0xe6, 0xf2):
      whole(.load, .sse2)  // CVTPD2PS, CVTDQ2PS, CVTPS2DQ, CVTTPS2DQ, CVTTPD2DQ, CVTPD2DQ
    case (0x5a, 0xf3): fixed(.combine, .sse2, 4)  // CVTSS2SD
    case (0x5a, 0xf2): fixed(.combine, .sse2, 8)  // CVTSD2SS
    default: nil
    }
  }

  // MARK: - Packed integers, with 66

  private static func packedInteger(_ i: Instruction) -> VectorEntry? {
    switch i.opcode {
    case 0x60...0x6d, 0x74...0x76, 0xd4, 0xd5, 0xd8...0xe0, 0xe3...0xe5, 0xe8...0xef,
      0xf4...0xf6, 0xf8...0xfe:
      return integer(.combine, .sse2)
    case 0x70:  // PSHUFD, PSHUFHW, PSHUFLW
      return i.mandatoryPrefix == 0 ? nil : integer(.load, .sse2)
    case 0x71...0x73: return isShift(i) ? integer(.shift, .sse2, place: .register) : nil
    case 0xc4: return fixed(.combineGeneral, .sse2, 2, w: .zero)  // PINSRW
    case 0xc5: return fixed(.toGeneral, .sse2, 2, place: .register, w: .zero)  // PEXTRW
    case 0xd7: return integer(.toGeneral, .sse2, place: .register)  // PMOVMSKB
    case 0xd1...0xd3, 0xe1, 0xe2, 0xf1...0xf3:
      // Shifts by a count, which has 128 bits whatever is shifted.
      var entry = integer(.combine, .sse2)
      entry.wide = 16
      return entry
    default: return nil
    }
  }

  /// Groups 12, 13 and 14: SDM Vol. 2D Table A-6.
  private static func isShift(_ i: Instruction) -> Bool {
    switch i.extension3 {
    case 2, 6: true
    case 4: i.opcode != 0x73
    case 3, 7: i.opcode == 0x73  // PSRLDQ, PSLLDQ
    default: false
    }
  }
}
