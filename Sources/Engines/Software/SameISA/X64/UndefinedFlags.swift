import X86Processor

extension Instruction {
  /// Status flags that it leaves undefined, and in which processors differ: SDM Vol. 2, "Flags Affected" of each
  /// instruction that the translator makes host code of.
  ///
  /// - Parameter shiftCount: CL before it.
  func undefinedFlags(shiftCount: UInt8) -> StatusFlags {
    if let vex { return vex.isInvalid ? [] : undefinedByManipulation }
    switch map {
    case .oneByte: return oneByte(shiftCount)
    case .twoByte: return twoByte(shiftCount)
    default: return []
    }
  }

  private static let afterMultiplication: StatusFlags = [.sign, .zero, .auxiliary, .parity]

  private func oneByte(_ shiftCount: UInt8) -> StatusFlags {
    let bits = opcode & 1 == 0 ? 8 : UInt64(8) << UInt64(operandLog2)
    switch opcode {
    case 0x00...0x3f where opcode & 7 < 6: return isLogic(opcode >> 3) ? .auxiliary : []
    case 0x80, 0x81, 0x83: return isLogic(extension3) ? .auxiliary : []
    case 0x84, 0x85, 0xa8, 0xa9: return .auxiliary
    case 0x69, 0x6b: return Self.afterMultiplication
    case 0xc0, 0xc1: return shift(immediate, bits)
    case 0xd0, 0xd1: return shift(1, bits)
    case 0xd2, 0xd3: return shift(UInt64(shiftCount), bits)
    case 0xf6, 0xf7:
      switch extension3 {
      case 0, 1: return .auxiliary
      case 4, 5: return Self.afterMultiplication
      case 6, 7: return .all
      default: return []
      }
    default: return []
    }
  }

  /// OR, AND, XOR.
  private func isLogic(_ operation: UInt8) -> Bool { [1, 4, 6].contains(operation) }

  private func shift(_ count: UInt64, _ bits: UInt64) -> StatusFlags {
    let count = count & (bits == 64 ? 63 : 31)
    guard count != 0 else { return [] }
    let overflow: StatusFlags = count == 1 ? [] : .overflow
    if extension3 < 4 { return overflow }
    // SHL, SHR, and SAR, whose carry is the sign.
    return overflow.union(.auxiliary).union(count >= bits && extension3 != 7 ? .carry : [])
  }

  private func twoByte(_ shiftCount: UInt8) -> StatusFlags {
    switch opcode {
    case 0xa3, 0xab, 0xb3, 0xba, 0xbb: return [.overflow, .sign, .auxiliary, .parity]
    case 0xa4, 0xa5, 0xac, 0xad:
      let count = opcode & 1 == 0 ? immediate : UInt64(shiftCount)
      let masked = count & (operandLog2 == 3 ? 63 : 31)
      return masked == 0 ? [] : masked == 1 ? .auxiliary : [.auxiliary, .overflow]
    case 0xaf: return Self.afterMultiplication
    case 0xbc, 0xbd:
      let undefined: StatusFlags = [.overflow, .sign, .auxiliary, .parity]
      // TZCNT and LZCNT define the carry.
      return repeatPrefix == 0xf3 ? undefined : undefined.union(.carry)
    default: return []
    }
  }

  /// ANDN, BLSR and its kin, BZHI, BEXTR.
  private var undefinedByManipulation: StatusFlags {
    guard map == .threeByte38, mandatoryPrefix == 0 else { return [] }
    switch opcode {
    case 0xf2, 0xf3, 0xf5: return [.auxiliary, .parity]
    case 0xf7: return [.auxiliary, .parity, .sign]
    default: return []
    }
  }
}
