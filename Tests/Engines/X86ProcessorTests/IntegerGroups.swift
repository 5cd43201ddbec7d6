import ArchitectureX86
import Testing

@testable import X86Processor

/// Instructions of one kind, made at random.
struct InstructionGroup: Sendable, CustomTestStringConvertible {
  let name: String
  let modes: [CodeMode]
  let make: @Sendable (inout SampleBuilder) -> Void
  var testDescription: String { name }

  init(
    _ name: String, in modes: [CodeMode] = [.bits64, .bits32, .bits16],
    _ make: @escaping @Sendable (inout SampleBuilder) -> Void
  ) {
    self.name = name
    self.modes = modes
    self.make = make
  }

  static let all: [InstructionGroup] =
    arithmetic + moves + bits + stack + strings + jumps + segments + legacy
}

// MARK: - Arithmetic and logic

extension InstructionGroup {
  private static let arithmetic = [
    InstructionGroup("ADD, OR, ADC, SBB, AND, SUB, XOR, CMP") { b in
      let operation = b.random.below(8)
      let size = b.size()
      if [1, 4, 6].contains(operation) {
        b.defined(X86.Flags.status)
        b.undefined(Undefined.logic)
      }
      let wide = UInt8(size == 0 ? 0 : 1)
      let lock: SampleBuilder.Lock = operation == 7 ? .forbidden : .permitted
      switch b.random.below(5) {
      case 0:
        b.instruction(
          [UInt8(operation << 3) | wide], size: size, reg: b.register(), lock: lock)
      case 1:
        b.instruction([UInt8(operation << 3) | 2 | wide], size: size, reg: b.register())
      case 2: b.accumulator(UInt8(operation << 3) | 4 | wide, size: size)
      case 3:
        b.instruction(
          [0x80 | wide], size: size, reg: operation,
          immediate: b.immediate(size), lock: lock)
      default:
        b.instruction(
          [0x83], size: max(size, 1), reg: operation,
          immediate: b.immediate(0), lock: lock)
      }
    },
    InstructionGroup("TEST") { b in
      let size = b.size()
      let wide = UInt8(size == 0 ? 0 : 1)
      b.undefined(Undefined.logic)
      switch b.random.below(3) {
      case 0: b.instruction([0x84 | wide], size: size, reg: b.register())
      case 1: b.accumulator(0xa8 | wide, size: size)
      default:
        b.instruction(
          [0xf6 | wide], size: size, reg: b.random.below(2),
          immediate: b.immediate(size))
      }
    },
    InstructionGroup("INC, DEC, NOT, NEG") { b in
      let size = b.size()
      let wide = UInt8(size == 0 ? 0 : 1)
      let operation = b.random.below(4)
      b.instruction(
        [operation < 2 ? 0xfe | wide : 0xf6 | wide], size: size, reg: operation,
        lock: .permitted)
    },
    InstructionGroup("ROL, ROR, RCL, RCR, SHL, SHR, SAR") { b in
      let size = b.size()
      let wide = UInt8(size == 0 ? 0 : 1)
      let operation = b.random.below(8)
      let mask: UInt64 = size == 3 ? 63 : 31
      var count: UInt64 = 1
      let raw = b.random.chance(1, in: 3) ? UInt64(b.random.below(4)) : b.random.next() & 0xff
      switch b.random.below(3) {
      case 0:
        b.instruction([0xd0 | wide], size: size, reg: operation)
      case 1:
        count = raw & mask
        b.instruction(
          [0xc0 | wide], size: size, reg: operation, immediate: [UInt8(raw)])
      default:
        count = raw & mask
        b.set(1, b.value(of: 1) & ~0xff | raw)
        b.instruction([0xd2 | wide], size: size, reg: operation)
      }
      b.undefined(
        operation < 4
          ? Undefined.rotate(count: count)
          : Undefined.shift(
            count: count, bits: 8 << UInt64(size), isArithmetic: operation == 7))
    },
    InstructionGroup("SHLD, SHRD") { b in
      let size = b.size(bytes: false)
      // "If the count is greater than the operand size, the result is undefined."
      let limit = size == 1 ? 17 : size == 2 ? 32 : 64
      let count = b.random.below(limit)
      let multiple = UInt64(b.random.below(size == 3 ? 4 : 8)) * (size == 3 ? 64 : 32)
      let raw = UInt64(count) + multiple
      let opcode: UInt8 = b.random.chance(1, in: 2) ? 0xa4 : 0xac
      b.undefined(Undefined.doubleShift(count: UInt64(count)))
      if b.random.chance(1, in: 2) {
        b.instruction(
          [0x0f, opcode], size: size, reg: b.register(),
          immediate: [UInt8(truncatingIfNeeded: raw)])
      } else {
        b.set(1, b.value(of: 1) & ~0xff | raw & 0xff)
        b.instruction([0x0f, opcode + 1], size: size, reg: b.register())
      }
    },
    InstructionGroup("MUL, IMUL") { b in
      b.undefined(Undefined.multiply)
      let size = b.size()
      switch b.random.below(4) {
      case 0, 1:
        b.instruction(
          [size == 0 ? 0xf6 : 0xf7], size: size, reg: 4 + b.random.below(2))
      case 2: b.instruction([0x0f, 0xaf], size: max(size, 1), reg: b.register())
      default:
        let isByte = b.random.chance(1, in: 2)
        b.instruction(
          [isByte ? 0x6b : 0x69], size: max(size, 1), reg: b.register(),
          immediate: b.immediate(isByte ? 0 : max(size, 1)))
      }
    },
    InstructionGroup("DIV, IDIV") { b in
      b.undefined(Undefined.divide)
      let size = b.size()
      let isSigned = b.random.chance(1, in: 2)
      // Mostly dividends that are narrow enough for a quotient.
      if b.random.chance(3, in: 4) {
        let low = b.random.operand()
        b.set(0, size == 0 ? UInt64(bitPattern: Int64(Int8(truncatingIfNeeded: low))) : low)
        if size > 0 {
          let top = low &>> (UInt64(8 << size) - 1) & 1
          b.set(2, isSigned && top == 1 ? .max : b.random.next() & 1)
        }
      }
      b.instruction(
        [size == 0 ? 0xf6 : 0xf7], size: size, reg: isSigned ? 7 : 6)
    },
    InstructionGroup("CBW, CWD and their kin") { b in
      let size = b.size(bytes: false)
      b.plain([b.random.chance(1, in: 2) ? 0x98 : 0x99], size: size)
    },
    InstructionGroup("CLC, STC, CMC, CLD, STD, LAHF, SAHF") { b in
      b.plain([b.random.pick([0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x9e, 0x9f])], size: b.defaultSize)
    },
  ]

  // MARK: - Moves

  private static let moves = [
    InstructionGroup("MOV") { b in
      let size = b.size()
      let wide = UInt8(size == 0 ? 0 : 1)
      switch b.random.below(6) {
      case 0: b.instruction([0x88 | wide], size: size, reg: b.register())
      case 1: b.instruction([0x8a | wide], size: size, reg: b.register())
      case 2:
        b.instruction(
          [0xc6 | wide], size: size, reg: 0, immediate: b.immediate(size))
      case 3:
        let opcode: UInt8 = size == 0 ? 0xb0 : 0xb8
        b.plain(
          [opcode | UInt8(b.random.below(8))], size: size, extendable: true,
          immediate: SampleBuilder.bytes(b.random.operand(), 1 << size))
      case 4: b.absoluteMove(size: size)
      default:
        // From segment registers, whose selectors are the same on both sides.
        let memory = b.random.chance(1, in: 2)
        b.instruction(
          [0x8c], size: memory ? b.defaultSize : max(size, 1), reg: b.random.below(6),
          form: memory ? .memory : .register)
      }
    },
    InstructionGroup("MOVZX, MOVSX, MOVSXD") { b in
      let size = b.size(bytes: false)
      let opcodes: [[UInt8]] = [[0x0f, 0xb6], [0x0f, 0xb7], [0x0f, 0xbe], [0x0f, 0xbf], [0x63]]
      let opcode = opcodes[b.random.below(b.isLong ? 5 : 4)]
      b.instruction(opcode, size: size, reg: b.register())
    },
    InstructionGroup("LEA") { b in
      b.instruction([0x8d], size: b.size(bytes: false), reg: b.register(), form: .memory)
    },
    InstructionGroup("XCHG") { b in
      let size = b.size()
      if size > 0, b.random.chance(1, in: 3) {
        b.plain([0x90 | UInt8(b.random.below(8))], size: size, extendable: true)
      } else {
        b.instruction(
          [size == 0 ? 0x86 : 0x87], size: size, reg: b.register(), lock: .permitted)
      }
    },
    InstructionGroup("CMOVcc, SETcc") { b in
      let condition = UInt8(b.random.below(16))
      if b.random.chance(1, in: 2) {
        b.instruction(
          [0x0f, 0x40 | condition], size: b.size(bytes: false), reg: b.register())
      } else {
        b.instruction([0x0f, 0x90 | condition], size: 0, reg: b.random.below(8))
      }
    },
    InstructionGroup("BSWAP, MOVNTI, XLAT, NOP") { b in
      switch b.random.below(4) {
      case 0:
        b.plain(
          [0x0f, 0xc8 | UInt8(b.random.below(8))], size: 2 + b.random.below(b.largestSize - 1),
          extendable: true)
      case 1:
        // In 16-bit code too it stores a doubleword; an operand-size prefix makes it no instruction.
        b.instruction(
          [0x0f, 0xc3], size: b.isLong ? 2 + b.random.below(2) : b.defaultSize, reg: b.register(),
          form: .memory)
      case 2:
        let al = b.value(of: 0) & 0xff
        b.set(0, b.value(of: 0))
        b.set(3, b.address() - al)
        b.plain([0xd7], size: b.defaultSize)
      default: b.instruction([0x0f, 0x1f], size: b.size(bytes: false), reg: 0)
      }
    },
    InstructionGroup("XADD, CMPXCHG") { b in
      let size = b.size()
      let isAdd = b.random.chance(1, in: 2)
      let opcode: UInt8 = (isAdd ? 0xc0 : 0xb0) | (size == 0 ? 0 : 1)
      let reg = b.register()
      if !isAdd, b.random.chance(1, in: 2) {
        // Make them equal, at least between registers.
        let other = b.register()
        b.set(0, b.value(of: 0))
        if other != 4 { b.set(other, b.value(of: 0)) }
        b.instruction(
          [0x0f, opcode], size: size, reg: reg, form: .register, register: other,
          lock: .permitted)
      } else {
        b.instruction([0x0f, opcode], size: size, reg: reg, lock: .permitted)
      }
    },
    InstructionGroup("CMPXCHG8B, CMPXCHG16B") { b in
      let isWide = b.isLong && b.random.chance(1, in: 2)
      let target = b.address()
      b.instruction(
        [0x0f, 0xc7], size: isWide ? 3 : 2, reg: 1, form: .memory,
        target: isWide && b.random.chance(7, in: 8) ? target & ~15 : target, lock: .permitted)
    },
  ]

  // MARK: - Bits

  private static let bits = [
    InstructionGroup("BT, BTS, BTR, BTC") { b in
      let size = b.size(bytes: false)
      let operation = b.random.below(4)
      b.undefined(Undefined.bitTest)
      if b.random.chance(1, in: 2) {
        b.instruction(
          [0x0f, 0xba], size: size, reg: 4 + operation,
          immediate: [UInt8(truncatingIfNeeded: b.random.next())],
          lock: operation == 0 ? .forbidden : .permitted)
      } else {
        // The bit number reaches beyond the operand in memory: keep it inside the data area.
        let reg = b.register()
        var index = UInt64(bitPattern: Int64(b.random.below(0x7000) - 0x3800))
        if size < 3 {
          index = index & 0xffff_ffff | b.random.next() << 32
          if size == 1 { index = index & 0xffff | b.random.next() << 16 }
        }
        b.set(reg, index)
        b.instruction(
          [0x0f, 0xa3 | UInt8(operation << 3)], size: size, reg: reg,
          lock: operation == 0 ? .forbidden : .permitted)
      }
    },
    InstructionGroup("BSF, BSR") { b in
      b.undefined(Undefined.bitScan)
      let reg = b.register()
      // "If the content of the source operand is 0, the content of the destination operand is undefined."
      b.undefined(ifZero: reg)
      b.instruction(
        [0x0f, b.random.chance(1, in: 2) ? 0xbc : 0xbd], size: b.size(bytes: false), reg: reg)
    },
    InstructionGroup("POPCNT") { b in
      b.instruction(
        [0x0f, 0xb8], size: b.size(bytes: false), reg: b.register(), prefix: 0xf3)
    },
  ]
}
