import X86Processor

/// The opcodes behind 0F 38 and 0F 3A, and those of VEX's maps 2 and 3: SDM Vol. 2D Appendix A, Tables.
/// What is not here are instructions on MMX registers, masked moves and gathers, and instructions on general
/// registers alone.
extension VectorEntry {
  static func threeByte38(_ i: Instruction) -> VectorEntry? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0xc8...0xcd): return legacyOnly(.combine, .sha)
    case (0x66, _): break
    default: return nil
    }
    switch i.opcode {
    case 0x00...0x0b: return integer(.combine, .ssse3)
    case 0x10, 0x14, 0x15: return legacyOnly(.combine, .sse41)  // PBLENDVB, BLENDVPS, BLENDVPD
    case 0x17: return whole(.compare, .sse41)  // PTEST
    case 0x1c...0x1e: return integer(.load, .ssse3)  // PABSB, PABSW, PABSD
    case 0x20...0x25, 0x30...0x35: return widening(i)
    case 0x28, 0x29, 0x2b, 0x38...0x40: return integer(.combine, .sse41)
    case 0x2a: return integer(.load, .sse41, place: .memory, alignment: .always)  // MOVNTDQA
    case 0x37: return integer(.combine, .sse42)  // PCMPGTQ
    case 0x41: return fixed(.load, .sse41, 16)  // PHMINPOSUW
    case 0xdb: return fixed(.load, .aes, 16)  // AESIMC
    case 0xdc...0xdf: return cipher(.aes, wide: .vaes)
    default: return i.vex == nil ? nil : vexOnly38(i)
    }
  }

  /// PMOVSX and PMOVZX: the memory operand has as many elements as fit widened.
  private static func widening(_ i: Instruction) -> VectorEntry {
    let bytes =
      switch i.opcode & 0xf {
      case 0, 3, 5: 8
      case 1, 4: 4
      default: 2
      }
    return VectorEntry(
      operands: .load, feature: .sse41, wideFeature: .avx2, short: bytes, wide: 2 * bytes)
  }

  private static func cipher(_ feature: VectorFeature, wide: VectorFeature) -> VectorEntry {
    var entry = whole(.combine, feature)
    entry.wideFeature = wide
    return entry
  }

  private static func vexOnly38(_ i: Instruction) -> VectorEntry? {
    switch i.opcode {
    case 0x0c, 0x0d: return whole(.combine, .avx, w: .zero)  // VPERMILPS, VPERMILPD
    case 0x0e, 0x0f: return whole(.compare, .avx, w: .zero)  // VTESTPS, VTESTPD
    case 0x13:  // VCVTPH2PS
      return VectorEntry(operands: .load, feature: .f16c, short: 8, wide: 16, w: .zero)
    case 0x16, 0x36: return wideOnly(.combine, .avx2, 32)  // VPERMPS, VPERMD
    case 0x18:  // VBROADCASTSS; from a register it came with AVX2
      return broadcast(i.isMemory ? .avx : .avx2, 4)
    case 0x19: return wideOnly(.load, i.isMemory ? .avx : .avx2, 8)  // VBROADCASTSD
    case 0x1a: return wideOnly(.load, .avx, 16, place: .memory)  // VBROADCASTF128
    case 0x5a: return wideOnly(.load, .avx2, 16, place: .memory)  // VBROADCASTI128
    case 0x58: return broadcast(.avx2, 4)  // VPBROADCASTD
    case 0x59: return broadcast(.avx2, 8)
    case 0x78: return broadcast(.avx2, 1)
    case 0x79: return broadcast(.avx2, 2)
    case 0x45, 0x47: return whole(.combine, .avx2)  // VPSRLVD, VPSRLVQ, VPSLLVD, VPSLLVQ
    case 0x46: return whole(.combine, .avx2, w: .zero)  // VPSRAVD
    case 0x96...0x9f, 0xa6...0xaf, 0xb6...0xbf: return fused(i)
    default: return nil
    }
  }

  private static func broadcast(_ feature: VectorFeature, _ bytes: Int) -> VectorEntry {
    VectorEntry(operands: .load, feature: feature, short: bytes, wide: bytes, w: .zero)
  }

  /// FMA: from 9 on, odd opcodes are of one element. SDM Vol. 1 §14.5.
  private static func fused(_ i: Instruction) -> VectorEntry {
    let kind = i.opcode & 0xf
    return kind >= 9 && kind & 1 != 0
      ? fixed(.accumulate, .fma, bytesByW(i)) : whole(.accumulate, .fma)
  }

  // MARK: - 0F 3A

  static func threeByte3A(_ i: Instruction) -> VectorEntry? {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0xcc): return legacyOnly(.combine, .sha)  // SHA1RNDS4
    case (0x66, _): break
    default: return nil
    }
    switch i.opcode {
    case 0x08...0x0b: return rounding(i)
    case 0x0c, 0x0d: return whole(.combine, .sse41)  // BLENDPS, BLENDPD
    case 0x0e, 0x42: return integer(.combine, .sse41)  // PBLENDW, MPSADBW
    case 0x0f: return integer(.combine, .ssse3)  // PALIGNR
    case 0x14: return fixed(.extract, .sse41, 1, w: .zero)  // PEXTRB
    case 0x15: return fixed(.extract, .sse41, 2, w: .zero)  // PEXTRW
    case 0x16: return fixed(.extract, .sse41, bytesByW(i))  // PEXTRD, PEXTRQ
    case 0x17: return fixed(.extract, .sse41, 4)  // EXTRACTPS
    case 0x20: return fixed(.combineGeneral, .sse41, 1, w: .zero)  // PINSRB
    case 0x21: return fixed(.combine, .sse41, 4)  // INSERTPS
    case 0x22: return fixed(.combineGeneral, .sse41, bytesByW(i))  // PINSRD, PINSRQ
    case 0x40: return whole(.combine, .sse41)  // DPPS
    case 0x41: return fixed(.combine, .sse41, 16)  // DPPD
    case 0x44: return cipher(.pclmulqdq, wide: .vpclmulqdq)
    case 0x60...0x63: return stringComparison
    case 0xdf: return fixed(.load, .aes, 16)  // AESKEYGENASSIST
    default: return i.vex == nil ? nil : vexOnly3A(i)
    }
  }

  /// ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD.
  private static func rounding(_ i: Instruction) -> VectorEntry? {
    // The rest of the immediate is reserved.
    guard i.immediate & 0xff < 16 else { return nil }
    return switch i.opcode {
    case 0x08, 0x09: whole(.load, .sse41)
    case 0x0a: fixed(.combine, .sse41, 4)
    default: fixed(.combine, .sse41, 8)
    }
  }

  /// PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI.
  private static var stringComparison: VectorEntry {
    var entry = fixed(.compare, .sse42, 16, w: .zero)
    entry.alignment = .never
    return entry
  }

  private static func vexOnly3A(_ i: Instruction) -> VectorEntry? {
    switch i.opcode {
    case 0x00, 0x01:  // VPERMQ, VPERMPD
      var entry = wideOnly(.load, .avx2, 32)
      entry.w = .one
      return entry
    case 0x02: return whole(.combine, .avx2, w: .zero)  // VPBLENDD
    case 0x04, 0x05: return whole(.load, .avx, w: .zero)  // VPERMILPS, VPERMILPD
    case 0x06: return wideOnly(.combine, .avx, 32)  // VPERM2F128
    case 0x46: return wideOnly(.combine, .avx2, 32)  // VPERM2I128
    case 0x18: return wideOnly(.combine, .avx, 16)  // VINSERTF128
    case 0x38: return wideOnly(.combine, .avx2, 16)  // VINSERTI128
    case 0x19: return wideOnly(.store, .avx, 16)  // VEXTRACTF128
    case 0x39: return wideOnly(.store, .avx2, 16)  // VEXTRACTI128
    case 0x1d:  // VCVTPS2PH
      return VectorEntry(operands: .store, feature: .f16c, short: 8, wide: 16, w: .zero)
    case 0x4a, 0x4b: return whole(.combine, .avx, w: .zero)  // VBLENDVPS, VBLENDVPD
    case 0x4c:  // VPBLENDVB
      var entry = whole(.combine, .avx, w: .zero)
      entry.wideFeature = .avx2
      return entry
    default: return nil
    }
  }
}
