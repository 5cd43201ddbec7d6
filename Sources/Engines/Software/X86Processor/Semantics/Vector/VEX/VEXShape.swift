import CProcessor

/// How an instruction with a VEX prefix differs from the SSE instruction that has the same opcode: SDM Vol. 1
/// §14.1.2 "Extended Instruction Encoding", Vol. 2D Tables.
///
/// Most of AVX and AVX2 is the SSE instruction once for each half of the registers, with the first source in a
/// register of its own.
struct VEXShape {
  /// Whether VEX.vvvv names a first source.
  var hasFirstSource = true
  /// Whether there is no form of 256 bits.
  var isShort = false
  /// Of one element: VEX.L says nothing.
  var isScalar = false
  /// Whether it may raise a floating-point exception, and so must keep its destination until its end.
  var mayRaise = false
  /// Whether 256 bits are AVX2's.
  var isInteger = false
  /// Whether it is AES's or PCLMULQDQ's, whose 256 bits are features of their own.
  var cipher: Cipher?
  enum Cipher { case aes, multiplication }
  /// By how many bits the immediate is shifted for the upper half.
  var immediateShift: UInt64 = 0
  /// Whether both halves have the lower half of the source as operand: shift counts.
  var sharesSource = false
  /// Of an operation whose result is wider than its source: how many bytes of the source make a half of the
  /// result.
  var widensFrom: UInt64 = 0
  /// Whether a result of 128 bits comes of a source of 256.
  var narrows = false
  /// Whether only flags are written.
  var isComparison = false

  private static let unary = VEXShape(hasFirstSource: false)
  private static let unaryFloat = VEXShape(hasFirstSource: false, mayRaise: true)
  private static let unaryInteger = VEXShape(hasFirstSource: false, isInteger: true)
  private static let float = VEXShape(mayRaise: true)
  private static let scalar = VEXShape(isScalar: true, mayRaise: true)
  private static let integer = VEXShape(isInteger: true)
  private static let counted = VEXShape(isInteger: true, sharesSource: true)

  /// - Returns: `nil` if there is no SSE instruction of which this is the sibling.
  static func of(_ i: Instruction) -> VEXShape? {
    switch i.map {
    case .oneByte: nil
    case .twoByte: i.mandatoryPrefix & 0xf0 == 0xf0 ? scalarTwoByte(i) : packedTwoByte(i)
    case .threeByte38: i.mandatoryPrefix == 0x66 ? threeByte38(i.opcode) : nil
    case .threeByte3A: i.mandatoryPrefix == 0x66 ? threeByte3A(i.opcode) : nil
    }
  }

  /// With F3 or F2.
  private static func scalarTwoByte(_ i: Instruction) -> VEXShape? {
    let isF3 = i.mandatoryPrefix == 0xf3
    return switch i.opcode {
    case 0x2a, 0x51, 0x58, 0x59, 0x5a, 0x5c...0x5f, 0xc2: scalar
    case 0x2c, 0x2d: VEXShape(hasFirstSource: false, isScalar: true)
    case 0x52, 0x53: isF3 ? VEXShape(isScalar: true) : nil
    case 0x5b: isF3 ? unaryFloat : nil
    case 0x70: unaryInteger
    case 0x7c, 0x7d, 0xd0: isF3 ? nil : float
    case 0xe6:
      isF3
        ? VEXShape(hasFirstSource: false, widensFrom: 8)
        : VEXShape(hasFirstSource: false, mayRaise: true, narrows: true)
    default: nil
    }
  }

  /// Without a prefix, or with 66.
  private static func packedTwoByte(_ i: Instruction) -> VEXShape? {
    let is66 = i.mandatoryPrefix == 0x66
    switch i.opcode {
    case 0x14, 0x15, 0x54...0x57: return VEXShape()
    case 0xc6: return VEXShape(immediateShift: is66 ? 2 : 0)
    case 0x2e, 0x2f: return VEXShape(hasFirstSource: false, isScalar: true, isComparison: true)
    case 0x51, 0x5b: return unaryFloat
    case 0x52, 0x53: return is66 ? nil : unary
    case 0x58, 0x59, 0x5c...0x5f, 0xc2: return float
    case 0x5a:
      return is66
        ? VEXShape(hasFirstSource: false, mayRaise: true, narrows: true)
        : VEXShape(hasFirstSource: false, mayRaise: true, widensFrom: 8)
    default: break
    }
    guard is66 else { return nil }
    return switch i.opcode {
    case 0x70: unaryInteger
    case 0x7c, 0x7d, 0xd0: float
    case 0xe6: VEXShape(hasFirstSource: false, mayRaise: true, narrows: true)
    case 0xd1...0xd3, 0xe1, 0xe2, 0xf1...0xf3: counted
    case 0x60...0x6d, 0x74...0x76, 0xd4, 0xd5, 0xd8...0xe0, 0xe3...0xe5, 0xe8...0xef, 0xf4...0xf6,
      0xf8...0xfe:
      integer
    default: nil
    }
  }

  private static func threeByte38(_ opcode: UInt8) -> VEXShape? {
    switch opcode {
    case 0x00...0x0b, 0x28, 0x29, 0x2b, 0x37...0x40: integer
    case 0x13: VEXShape(hasFirstSource: false, mayRaise: true, widensFrom: 8)  // VCVTPH2PS
    case 0x1c...0x1e: unaryInteger
    case 0x20, 0x23, 0x25, 0x30, 0x33, 0x35:
      VEXShape(hasFirstSource: false, isInteger: true, widensFrom: 8)
    case 0x21, 0x24, 0x31, 0x34: VEXShape(hasFirstSource: false, isInteger: true, widensFrom: 4)
    case 0x22, 0x32: VEXShape(hasFirstSource: false, isInteger: true, widensFrom: 2)
    case 0x41: VEXShape(hasFirstSource: false, isShort: true)
    case 0xdb: VEXShape(hasFirstSource: false, isShort: true, cipher: .aes)
    case 0xdc...0xdf: VEXShape(cipher: .aes)
    default: nil
    }
  }

  private static func threeByte3A(_ opcode: UInt8) -> VEXShape? {
    switch opcode {
    case 0x08, 0x09: unaryFloat
    case 0x0a, 0x0b: scalar
    case 0x0c: VEXShape(immediateShift: 4)
    case 0x0d: VEXShape(immediateShift: 2)
    case 0x0e, 0x0f: integer
    case 0x21: VEXShape(isShort: true)
    case 0x40: float
    case 0x41: VEXShape(isShort: true, mayRaise: true)
    case 0x42: VEXShape(isInteger: true, immediateShift: 3)
    case 0x44: VEXShape(cipher: .multiplication)
    case 0x60...0x63: VEXShape(hasFirstSource: false, isShort: true)
    case 0xdf: VEXShape(hasFirstSource: false, isShort: true, cipher: .aes)
    default: nil
    }
  }
}
