import Kit

/// Machine code by chance: mostly an opcode with what might follow it, in between what reaches the
/// processor's rarer parts.
struct RandomCode {
  var chance: Chance
  /// Numbers that make good addresses.
  let addresses: [UInt64]

  mutating func bytes(_ count: Int, is64Bit: Bool) -> [UInt8] {
    var code: [UInt8] = []
    while code.count < count {
      switch chance.number(below: 20) {
      case 0...1: code += chance.bytes(1 + Int(chance.number(below: 15)))
      case 2...4: code += constant(is64Bit)
      case 5...7: code += systemSequence()
      default: code += instruction(is64Bit)
      }
    }
    return Array(code.prefix(count))
  }

  /// MOV of an address or a number to a register.
  private mutating func constant(_ is64Bit: Bool) -> [UInt8] {
    let value =
      chance.number(below: 3) == 0
      ? chance.value() : addresses[Int(chance.number(below: UInt64(addresses.count)))]
    var register = UInt8(chance.number(below: 8))
    if register == 4, chance.number(below: 8) != 0 { register = 6 }
    let isWide = is64Bit && chance.number(below: 2) == 0
    let bytes = value.littleEndianBytes.prefix(isWide ? 8 : 4)
    return (isWide ? [0x48] : []) + [0xb8 + register] + bytes
  }

  private static let prefixes: [UInt8] = [
    0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
  ]

  /// Prefixes, an opcode of any map, and random bytes behind.
  private mutating func instruction(_ is64Bit: Bool) -> [UInt8] {
    var bytes: [UInt8] = []
    while chance.number(below: 4) == 0 {
      bytes.append(Self.prefixes[Int(chance.number(below: UInt64(Self.prefixes.count)))])
    }
    if is64Bit, chance.number(below: 2) == 0 {
      bytes.append(0x40 + UInt8(chance.number(below: 16)))
    }
    switch chance.number(below: 14) {
    case 0...3: bytes += [0x0f]
    case 4: bytes += [0x0f, 0x38]
    case 5: bytes += [0x0f, 0x3a]
    case 6: bytes += [0xd8 + UInt8(chance.number(below: 8))]
    case 7: bytes += [0xc5, 0xc0 | UInt8(chance.number(below: 64))]  // VEX
    case 8:
      bytes += [0xc4, 0xe1 + UInt8(chance.number(below: 3)), UInt8(chance.number(below: 256))]
    default: break
    }
    var opcode = UInt8(chance.number(below: 256))
    // Code that halts, or waits at a jump to itself, tries nothing else.
    if opcode == 0xf4 || opcode == 0xeb, chance.number(below: 8) != 0 { opcode = 0x8b }
    bytes.append(opcode)
    bytes += chance.bytes(1 + Int(chance.number(below: 3)))
    return bytes
  }

  private static let modelRegisters: [UInt32] = [
    0x10, 0x1b, 0x3b, 0x8b, 0xfe, 0x174, 0x175, 0x176, 0x1a0, 0x200, 0x277, 0x2ff, 0x6e0, 0x800,
    0x808, 0x80b, 0x80f, 0x828, 0x830, 0x832, 0x838, 0x83e, 0x83f, 0xc000_0080, 0xc000_0081,
    0xc000_0082, 0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0xc000_0103,
  ]

  private static let ports: [UInt16] = [
    0x20, 0x21, 0xa0, 0xa1, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fb,
    0x3fd, 0x402, 0x4d0, 0x600, 0x602, 0x608, 0x620, 0xcf8, 0xcfa, 0xcfc, 0xcff, 0xf0,
  ]

  /// What code for the bare machine is made of.
  private mutating func systemSequence() -> [UInt8] {
    let number = UInt8(truncatingIfNeeded: chance.next())
    let address = addresses[Int(chance.number(below: UInt64(addresses.count)))]
    let address32 = UInt32(truncatingIfNeeded: address)
    switch chance.number(below: 22) {
    case 0: return [0xfb]  // sti
    case 1: return [0xcd, number]  // int
    case 2:  // mov ecx, …; wrmsr or rdmsr
      let register = Self.modelRegisters[
        Int(chance.number(below: UInt64(Self.modelRegisters.count)))]
      return [0xb9] + register.littleEndianBytes + [0x0f, number & 1 == 0 ? 0x30 : 0x32]
    case 3: return [0x0f, 0x22, 0xc0 + number & 0x27]  // mov cr0, cr4, …, from a register
    case 4: return [0x0f, 0x20, 0xc0 + number & 0x27]  // … to it
    case 5: return [0x0f, 0x21 + (number & 2), 0xc0 + number & 0x3f]  // debug registers
    case 6: return [0x0f, 0x01, number]  // lgdt, lidt, lmsw, invlpg, swapgs, …
    case 7: return [0x0f, 0x00, number]  // sldt, ltr, verr, …
    case 8: return [0x8e, number]  // mov to a segment register
    case 9:  // push; push; iret or far return
      return [
        0x6a, number, 0x6a, UInt8(8 * chance.number(below: 10)), 0x48,
        [0xcf, 0xcb][Int(number & 1)],
      ]
    case 10:  // far jump
      return [0xea] + address32.littleEndianBytes + [UInt8(8 * chance.number(below: 14)), 0]
    case 11:  // mov dx, port; in or out
      let port = Self.ports[Int(chance.number(below: UInt64(Self.ports.count)))]
      return [0x66, 0xba] + port.littleEndianBytes + [0xec + number & 3]
    case 12:  // mov ecx, …; rep and a string instruction
      let count: UInt32 = number & 1 == 0 ? .max : UInt32(number)
      let string: [UInt8] = [
        0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f,
      ]
      return [0xb9] + count.littleEndianBytes
        + [number & 2 == 0 ? 0xf3 : 0xf2, string[Int(chance.number(below: 14))]]
    case 13:  // mov to the code a few bytes on: mov byte [rip + …] or [address]
      return [0xc6, 0x05, number & 0x3f, 0, 0, 0, UInt8(truncatingIfNeeded: chance.next())]
    case 14:  // mov eax, …; mov [address], eax: a device, as like as not
      return [0xb8] + UInt32(truncatingIfNeeded: chance.value()).littleEndianBytes + [0xa3]
        + address32.littleEndianBytes + (number & 1 == 0 ? [0, 0, 0, 0] : [])
    case 15: return [0xff, number]  // inc, dec, call, far call, jmp, push
    case 16: return [0xe9] + UInt32(chance.number(below: 0x4000)).littleEndianBytes  // jmp
    case 17: return [0x0f, 0xae, number]  // fxsave, fxrstor, ldmxcsr, xsave, fences
    case 18: return [0x0f, 0xc7, number]  // cmpxchg8b, cmpxchg16b, rdrand
    case 19: return [0x0f, [0x05, 0x07, 0x34, 0x35][Int(number & 3)]]  // syscall, sysret, …
    case 20: return [0x9d]  // popf
    default: return [0xf0, 0x0f, [0xb0, 0xb1, 0xc0, 0xc1, 0xab, 0xb3][Int(number % 6)], number]
    }
  }
}

extension Chance {
  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }
}
