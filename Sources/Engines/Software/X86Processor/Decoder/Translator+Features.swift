import ArchitectureX86

/// Which of CPUID's bits an instruction without a VEX prefix stands behind. What a model does not announce is undefined
/// in it, whatever the rest of the translator could make of it.
extension Translator {
  var isAnnounced: Bool {
    switch i.map {
    case .oneByte: announcesOneByte
    case .twoByte: announcesTwoByte
    case .threeByte38: announcesThreeByte38
    case .threeByte3A: announcesThreeByte3A
    }
  }

  private var announcesOneByte: Bool {
    switch i.opcode {
    case 0x9e, 0x9f: i.mode != .bits64 || features.hasLAHF64
    case 0xda where !i.isMemory && i.extension3 < 4,  // FCMOVcc
      0xdb where !i.isMemory && (i.extension3 < 4 || i.extension3 == 5 || i.extension3 == 6),
      0xdf where !i.isMemory && (i.extension3 == 5 || i.extension3 == 6):  // FCOMI and its kin
      features.hasCMOV
    // FISTTP
    case 0xdb where i.isMemory && i.extension3 == 1, 0xdd where i.isMemory && i.extension3 == 1,
      0xdf where i.isMemory && i.extension3 == 1:
      features.hasSSE3
    default: true
    }
  }

  private var announcesTwoByte: Bool {
    switch i.opcode {
    case 0x01 where !i.isMemory && i.modRM == 0xf8: features.hasLongMode
    case 0x05, 0x07: features.hasSYSCALL
    case 0x0d: features.hasPREFETCHW || features.hasLongMode
    // NOPs of several bytes came with the P6.
    case 0x18...0x1f: features.hasCMOV
    case 0x30, 0x32: features.hasMSR
    case 0x31: features.hasTSC
    case 0x34, 0x35: features.hasSYSENTER
    case 0x40...0x4f: features.hasCMOV
    case 0xae: announcesGroup15
    case 0xb8: features.hasPOPCNT
    case 0xc3: features.hasSSE2
    case 0xc7 where i.isMemory && i.extension3 == 1:
      i.operandLog2 == 3 ? features.hasCMPXCHG16B : features.hasCMPXCHG8B
    default: announcesVector
    }
  }

  private var announcesGroup15: Bool {
    guard i.isMemory else {
      return i.mandatoryPrefix != 0 || i.extension3 == 7 ? features.hasSSE : features.hasSSE2
    }
    return switch (i.mandatoryPrefix, i.extension3) {
    case (0, 0), (0, 1): features.hasFXSR
    case (0, 2), (0, 3): features.hasSSE
    case (0, 7): features.hasCLFLUSH
    default: true
    }
  }

  /// MMX and SSE in the two-byte map: SDM Vol. 1 §5.4 to §5.7.
  private var announcesVector: Bool {
    let prefix = i.mandatoryPrefix
    switch i.opcode {
    case 0x12 where prefix & 0xf0 == 0xf0, 0x16 where prefix == 0xf3, 0x7c, 0x7d, 0xd0:
      return features.hasSSE3
    case 0xf0: return features.hasSSE3
    case 0x5a, 0x5b, 0xe6: return features.hasSSE2
    case 0x10...0x17, 0x28...0x2f, 0x50...0x5f, 0xc2, 0xc6:
      return prefix == 0 || prefix == 0xf3 ? features.hasSSE : features.hasSSE2
    // Between MMX and XMM registers.
    case 0xd6: return features.hasSSE2
    case 0x60...0x7f, 0xc4, 0xc5, 0xd1...0xff:
      guard prefix == 0 else { return features.hasSSE2 }
      switch i.opcode {
      case 0xd4, 0xf4, 0xfb: return features.hasSSE2
      case 0x70, 0xc4, 0xc5, 0xd7, 0xda, 0xde, 0xe0, 0xe3, 0xe4, 0xe7, 0xea, 0xee, 0xf6, 0xf7:
        return features.hasSSE
      default: return features.hasMMX
      }
    default: return true
    }
  }

  private var announcesThreeByte38: Bool {
    switch (i.mandatoryPrefix, i.opcode) {
    case (_, 0x00...0x0b), (_, 0x1c...0x1e): features.hasSSSE3
    case (0xf2, 0xf0...0xf1): features.hasSSE42
    case (0x66, 0x37): features.hasSSE42
    case (0x66, 0x10...0x41): features.hasSSE41
    case (0x66, 0xdb...0xdf): features.hasAES
    case (0, 0xc8...0xcd): features.hasSHA
    case (0x66, 0xf6), (0xf3, 0xf6): features.hasADX
    default: true
    }
  }

  private var announcesThreeByte3A: Bool {
    switch i.opcode {
    case 0x0f: features.hasSSSE3
    case 0x08...0x0e, 0x14...0x17, 0x20...0x22, 0x40...0x42: features.hasSSE41
    case 0x60...0x63: features.hasSSE42
    case 0x44: features.hasPCLMULQDQ
    case 0xcc: features.hasSHA
    case 0xdf: features.hasAES
    default: true
    }
  }
}
