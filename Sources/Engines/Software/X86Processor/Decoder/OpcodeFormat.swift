import Board
/// What follows an opcode: whether ModRM, which immediate. SDM Vol. 2D Appendix A, Tables.
package enum OpcodeFormat {
  package enum Immediate {
    case none
    /// One byte, sign-extended.
    case byte
    case word
    /// Two or four bytes by operand size, sign-extended.
    case operand
    /// A branch distance: four bytes in 64-bit mode, else by operand size.
    case relative
    /// Two, four or eight bytes.
    case wholeOperand
    /// An address of the address size.
    case memoryOffset
    case farPointer
    case wordAndByte
  }

  package static func hasModRM(_ i: Instruction) -> Bool {
    switch i.map {
    case .oneByte:
      switch i.opcode {
      case 0x00...0x3f: i.opcode & 7 < 4
      case 0x62, 0x63, 0x69, 0x6b, 0x80...0x8f, 0xc0, 0xc1, 0xc4...0xc7, 0xd0...0xd3,
        0xd8...0xdf, 0xf6, 0xf7, 0xfe, 0xff:
        true
      default: false
      }
    case .twoByte:
      switch i.opcode {
      case 0x04...0x0c, 0x0e, 0x30...0x37, 0x77, 0x80...0x8f, 0xa0...0xa2, 0xa8...0xaa,
        0xc8...0xcf:
        false
      default: true
      }
    case .threeByte38, .threeByte3A: true
    }
  }

  package static func immediate(_ i: Instruction) -> Immediate {
    switch i.map {
    case .oneByte: oneByte(i)
    case .twoByte:
      switch i.opcode {
      case 0x0f, 0x70...0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4...0xc6: .byte
      case 0x80...0x8f: .relative
      default: .none
      }
    case .threeByte38: .none
    case .threeByte3A: .byte
    }
  }

  private static func oneByte(_ i: Instruction) -> Immediate {
    switch i.opcode {
    case 0x00...0x3f: i.opcode & 7 == 4 ? .byte : i.opcode & 7 == 5 ? .operand : .none
    case 0x6a, 0x6b, 0x70...0x7f, 0x80, 0x82, 0x83, 0xa8, 0xb0...0xb7, 0xc0, 0xc1, 0xc6, 0xcd,
      0xd4, 0xd5, 0xe0...0xe7, 0xeb:
      .byte
    case 0x68, 0x69, 0x81, 0xa9, 0xc7: .operand
    case 0xe8, 0xe9: .relative
    case 0xb8...0xbf: .wholeOperand
    case 0xa0...0xa3: .memoryOffset
    case 0x9a, 0xea: .farPointer
    case 0xc2, 0xca: .word
    case 0xc8: .wordAndByte
    case 0xf6: i.extension3 < 2 ? .byte : .none
    case 0xf7: i.extension3 < 2 ? .operand : .none
    default: .none
    }
  }
}
