import Board
/// Why bytes are not an instruction.
package enum DecodeError: Error {
  /// More bytes are needed than there are.
  case truncated
  /// Longer than 15 bytes: #GP (SDM Vol. 2A §2.3.11).
  case tooLong
}

/// Takes one instruction apart.
package struct Decoder {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  private init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Decodes the instruction at the start of `bytes`.
  package static func decode(
    _ bytes: UnsafeRawBufferPointer, mode: CodeMode
  ) throws(DecodeError) -> Instruction {
    var decoder = Decoder(bytes)
    return try decoder.instruction(mode)
  }

  private mutating func instruction(_ mode: CodeMode) throws(DecodeError) -> Instruction {
    var i = Instruction(mode: mode)
    try prefixes(&i)
    var byte = try next()
    if mode == .bits64, byte & 0xf0 == 0x40 {
      i.rex = byte
      byte = try next()
    }
    if byte & 0xfe == 0xc4, try isVEX(mode) {
      try vex(&i, isLong: byte == 0xc4)
      byte = try next()
    } else if byte == 0x0f {
      byte = try next()
      switch byte {
      case 0x38:
        i.map = .threeByte38
        byte = try next()
      case 0x3a:
        i.map = .threeByte3A
        byte = try next()
      default: i.map = .twoByte
      }
    }
    i.opcode = byte
    if OpcodeFormat.hasModRM(i) { try modRM(&i) }
    try immediate(&i)
    i.length = UInt8(position)
    return i
  }

  private mutating func prefixes(_ i: inout Instruction) throws(DecodeError) {
    while true {
      switch try next() {
      case 0x66: i.hasOperandSizePrefix = true
      case 0x67: i.hasAddressSizePrefix = true
      case 0xf0: i.hasLock = true
      case 0xf2: i.repeatPrefix = 0xf2
      case 0xf3: i.repeatPrefix = 0xf3
      case 0x26: if i.mode != .bits64 { i.segmentOverride = 0 }
      case 0x2e: if i.mode != .bits64 { i.segmentOverride = 1 }
      case 0x36: if i.mode != .bits64 { i.segmentOverride = 2 }
      case 0x3e: if i.mode != .bits64 { i.segmentOverride = 3 }
      case 0x64: i.segmentOverride = 4
      case 0x65: i.segmentOverride = 5
      case let rex where i.mode == .bits64 && rex & 0xf0 == 0x40:
        // A REX that is not the last prefix is ignored.
        guard position < bytes.count else { throw overrun }
        if Self.isPrefix(bytes[position]) { continue }
        position -= 1
        return
      default:
        position -= 1
        return
      }
    }
  }

  private static func isPrefix(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x40...0x4f: true
    default: false
    }
  }

  // MARK: - VEX: SDM Vol. 2A §2.3.5

  /// Outside 64-bit mode, C4 and C5 are LES and LDS unless the byte behind them would be a ModRM that names a
  /// register.
  private func isVEX(_ mode: CodeMode) throws(DecodeError) -> Bool {
    if mode == .bits64 { return true }
    guard position < bytes.count else { throw overrun }
    return bytes[position] >= 0xc0
  }

  private mutating func vex(_ i: inout Instruction, isLong: Bool) throws(DecodeError) {
    var prefix = VEXPrefix()
    prefix.isInvalid =
      i.hasLock || i.hasOperandSizePrefix || i.repeatPrefix != 0 || i.rex != 0
    var last = try next()
    var rex = 0x40 | ~last >> 5 & 4
    i.map = .twoByte
    if isLong {
      rex = 0x40 | ~last >> 5
      switch last & 0x1f {
      case 1: break
      case 2: i.map = .threeByte38
      case 3: i.map = .threeByte3A
      default: prefix.isInvalid = true
      }
      last = try next()
      prefix.isW = last & 0x80 != 0
      if prefix.isW { rex |= 8 }
    }
    i.rex = i.mode == .bits64 ? rex : 0x40
    prefix.isWide = last & 4 != 0
    prefix.namesNone = last & 0x78 == 0x78
    prefix.register = ~last >> 3 & (i.mode == .bits64 ? 15 : 7)
    i.hasOperandSizePrefix = last & 3 == 1
    i.repeatPrefix = last & 3 == 2 ? 0xf3 : last & 3 == 3 ? 0xf2 : 0
    i.vex = prefix
  }

  // MARK: - ModRM, SIB, displacement: SDM Vol. 2A §2.1.5, Tables 2-1 to 2-3

  private mutating func modRM(_ i: inout Instruction) throws(DecodeError) {
    let byte = try next()
    i.modRM = byte
    let mod = byte >> 6
    i.reg = byte >> 3 & 7 | (i.rex & 4) << 1
    i.rm = byte & 7 | (i.rex & 1) << 3
    // MOV to and from control and debug registers ignores mod.
    if i.map == .twoByte, 0x20...0x23 ~= i.opcode { return }
    guard mod != 3 else { return }
    i.isMemory = true
    if i.addressSize == 0 {
      try address16(&i, mod)
      return
    }
    var base: UInt8? = byte & 7
    if base == 4 {
      let sib = try next()
      base = sib & 7
      let index = sib >> 3 & 7 | (i.rex & 2) << 2
      i.scale = sib >> 6
      if index != 4 { i.index = index }
      if base == 5, mod == 0 {
        base = nil
        i.displacement = Int32(bitPattern: UInt32(truncatingIfNeeded: try value(4)))
      }
    } else if base == 5, mod == 0 {
      base = nil
      i.displacement = Int32(bitPattern: UInt32(truncatingIfNeeded: try value(4)))
      i.isRIPRelative = i.mode == .bits64
    }
    if let base { i.base = base | (i.rex & 1) << 3 }
    if mod == 1 {
      i.displacement = Int32(Int8(bitPattern: UInt8(truncatingIfNeeded: try value(1))))
    } else if mod == 2 {
      i.displacement = Int32(bitPattern: UInt32(truncatingIfNeeded: try value(4)))
    }
  }

  private mutating func address16(_ i: inout Instruction, _ mod: UInt8) throws(DecodeError) {
    // BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX
    let forms: [(UInt8, UInt8?)] = [
      (3, 6), (3, 7), (5, 6), (5, 7), (6, nil), (7, nil), (5, nil), (3, nil),
    ]
    let form = forms[Int(i.modRM & 7)]
    if mod == 0, i.modRM & 7 == 6 {
      i.displacement = Int32(Int16(bitPattern: UInt16(truncatingIfNeeded: try value(2))))
      return
    }
    i.base = form.0
    i.index = form.1
    if mod == 1 {
      i.displacement = Int32(Int8(bitPattern: UInt8(truncatingIfNeeded: try value(1))))
    } else if mod == 2 {
      i.displacement = Int32(Int16(bitPattern: UInt16(truncatingIfNeeded: try value(2))))
    }
  }

  // MARK: - Immediates

  private mutating func immediate(_ i: inout Instruction) throws(DecodeError) {
    switch OpcodeFormat.immediate(i) {
    case .none: break
    case .byte:
      i.immediate = UInt64(
        bitPattern: Int64(Int8(bitPattern: UInt8(truncatingIfNeeded: try value(1)))))
    case .word: i.immediate = try value(2)
    case .operand:
      if i.operandLog2 == 1 {
        i.immediate = UInt16(truncatingIfNeeded: try value(2)).extended
      } else {
        i.immediate = UInt32(truncatingIfNeeded: try value(4)).extended
      }
    case .relative:
      if i.mode != .bits64, i.operandLog2 == 1 {
        i.immediate = UInt16(truncatingIfNeeded: try value(2)).extended
      } else {
        i.immediate = UInt32(truncatingIfNeeded: try value(4)).extended
      }
    case .wholeOperand: i.immediate = try value(1 << i.operandLog2)
    case .memoryOffset: i.immediate = try value(2 << Int(i.addressSize))
    case .farPointer:
      i.immediate = try value(i.operandLog2 == 1 ? 2 : 4)
      i.secondImmediate = UInt16(truncatingIfNeeded: try value(2))
    case .wordAndByte:
      i.immediate = try value(2)
      i.secondImmediate = UInt16(truncatingIfNeeded: try value(1))
    }
  }

  // MARK: - Bytes

  private var overrun: DecodeError { position >= 15 ? .tooLong : .truncated }

  private mutating func next() throws(DecodeError) -> UInt8 {
    guard position < 15 else { throw .tooLong }
    guard position < bytes.count else { throw .truncated }
    defer { position += 1 }
    return bytes[position]
  }

  private mutating func value(_ count: Int) throws(DecodeError) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<count { value |= UInt64(try next()) << UInt64(8 * index) }
    return value
  }
}
