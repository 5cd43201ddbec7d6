import ArchitectureX86

extension InstructionGroup {
  // MARK: - Stack

  static let stack = [
    InstructionGroup("PUSH, POP") { b in
      let isNarrow = b.random.chance(1, in: 4)
      let size = isNarrow ? 1 : 2  // 64 bits without REX.W
      switch b.random.below(6) {
      case 0: b.plain([0x50 | UInt8(b.random.below(8))], size: size, extendable: true)
      case 1: b.plain([0x58 | UInt8(b.random.below(8))], size: size, extendable: true)
      case 2: b.plain([0x68], size: size, immediate: b.immediate(size))
      case 3: b.plain([0x6a], size: size, immediate: b.immediate(0))
      case 4:
        b.set(4, b.value(of: 4))
        b.instruction([0xff], size: size, reg: 6)
      default:
        if b.random.chance(1, in: 4) {
          // POP to memory addresses by the stack pointer as it is after the pop.
          b.plain([0x8f, 0x44, 0x24, UInt8(b.random.below(256))], size: size)
        } else {
          b.set(4, b.value(of: 4))
          b.instruction([0x8f], size: size, reg: 0)
        }
      }
    },
    InstructionGroup("PUSHF, POPF") { b in
      let size = b.random.chance(1, in: 4) ? 1 : 2
      if b.random.chance(1, in: 2) {
        b.plain([0x9c], size: size)
      } else {
        // Not the trap and alignment-check flags, which would make the host trap.
        let image =
          b.random.next()
          & (X86.Flags.status | X86.Flags.direction | X86.Flags.interrupt
            | X86.Flags.ioPrivilege | X86.Flags.identification)
        let register = b.random.pick([0, 1, 2, 3, 5, 6, 7])
        b.set(register, image)
        b.plain([0x50 | UInt8(register)], size: 2)
        b.plain([0x9d], size: size)
      }
    },
    InstructionGroup("ENTER, LEAVE") { b in
      let size = b.random.chance(1, in: 4) ? 1 : 2
      b.set(5, b.address() & ~7)
      if b.random.chance(1, in: 2) {
        b.plain([0xc9], size: size)
      } else {
        let level = b.random.chance(1, in: 2) ? 0 : b.random.below(256)
        b.plain(
          [0xc8], size: size,
          immediate: SampleBuilder.bytes(UInt64(b.random.below(0x200)), 2) + [UInt8(level)])
      }
    },
  ]

  // MARK: - Strings

  static let strings = [
    InstructionGroup("MOVS, CMPS, STOS, LODS, SCAS") { b in
      let size = b.size()
      let opcode: UInt8 =
        b.random.pick([0xa4, 0xa6, 0xaa, 0xac, 0xae]) | (size == 0 ? 0 : 1)
      var prefixes: [UInt8] = []
      let isNarrow = b.random.chance(1, in: 8)
      if isNarrow { prefixes.append(0x67) }
      let garbage: UInt64 = isNarrow ? b.random.next() << 32 : 0
      let isRepeated = b.random.chance(3, in: 4)
      if isRepeated { prefixes.append(b.random.pick([0xf2, 0xf3])) }
      let source = b.address(spread: 0x1100)
      let overlaps = b.random.chance(1, in: 4)
      let target =
        overlaps ? source &+ UInt64(b.random.below(40)) &- 20 : b.address(spread: 0x1100)
      if b.random.chance(1, in: 8) {
        prefixes.append(0x65)
        b.set(6, (source - b.gsBase) | garbage)
      } else {
        b.set(6, source | garbage)
      }
      b.set(7, target | garbage)
      let count = UInt64(b.random.chance(1, in: 8) ? 0 : b.random.below(0x1000 >> (size + 1)))
      b.set(1, isRepeated ? count | garbage : b.random.operand())
      if b.random.chance(1, in: 4) { b.setFlags(0x602) }
      if b.random.chance(1, in: 2) { b.set(0, b.random.chance(1, in: 2) ? 0 : 0x0101_0101) }
      b.append(prefixes)
      b.plain([opcode], size: size)
    }
  ]

  // MARK: - Control transfer

  static let jumps = [
    InstructionGroup("Jcc") { b in
      let condition = UInt8(b.random.below(16))
      if b.random.chance(1, in: 2) {
        b.append([0x70 | condition, 5])
      } else {
        b.append([0x0f, 0x80 | condition, 5, 0, 0, 0])
      }
      b.marker()
    },
    InstructionGroup("LOOP, LOOPE, LOOPNE, JRCXZ") { b in
      let isNarrow = b.random.chance(1, in: 4)
      let garbage: UInt64 = isNarrow ? b.random.next() << 32 : 0
      let kind = UInt8(b.random.below(4))
      let prefix: [UInt8] = isNarrow ? [0x67] : []
      if kind == 3 {
        b.set(1, b.random.chance(1, in: 2) ? garbage : b.random.operand())
        b.append(prefix + [0xe3, 5])
        b.marker()
      } else {
        b.set(1, UInt64(1 + b.random.below(6)) | garbage)
        // lea rbx, [rbx + 1] leaves the flags; add ebx, imm8 does not.
        let body: [UInt8] =
          b.random.chance(1, in: 2) ? [0x48, 0x8d, 0x5b, 0x01] : [0x83, 0xc3, 0x70]
        b.append(body + prefix)
        b.append([0xe0 | kind, UInt8(truncatingIfNeeded: -(body.count + prefix.count + 2))])
      }
    },
    InstructionGroup("JMP, CALL, RET") { b in
      switch b.random.below(6) {
      case 0: b.append([0xeb, 5])
      case 1: b.append([0xe9, 5, 0, 0, 0])
      case 2: b.append([0xe8, 5, 0, 0, 0])
      case 3:
        // lea rax, [rip + …]; jmp or call rax
        b.append([0x48, 0x8d, 0x05, 7, 0, 0, 0, 0xff, b.random.chance(1, in: 2) ? 0xe0 : 0xd0])
      case 4:
        // lea rax, [rip + …]; push rax; jmp or call [rsp]
        b.append([0x48, 0x8d, 0x05, 9, 0, 0, 0, 0x50, 0xff])
        b.append([b.random.chance(1, in: 2) ? 0x24 : 0x14, 0x24])
      default:
        // lea rax, [rip + …]; push rax; ret or ret imm16
        let release = b.random.chance(1, in: 2)
        b.append([0x48, 0x8d, 0x05, release ? 9 : 7, 0, 0, 0, 0x50])
        b.append(release ? [0xc2, UInt8(b.random.below(64)), 0] : [0xc3])
      }
      b.marker()
    },
  ]
}

// MARK: - Instructions without ModRM

extension SampleBuilder {
  /// An immediate operand: at most four bytes.
  mutating func immediate(_ size: Int) -> [UInt8] {
    Self.bytes(random.operand(), min(1 << size, 4))
  }

  /// MOV EBX, a number: what a jump may skip.
  mutating func marker() { append([0xbb] + Self.bytes(random.next(), 4)) }

  /// Opcode and immediate with the prefixes of a size; `extendable`: REX.B may extend the opcode's register.
  mutating func plain(
    _ opcode: [UInt8], size: Int, extendable: Bool = false, immediate: [UInt8] = []
  ) {
    if size == 1 { append([0x66]) }
    var rex: UInt8 = size == 3 ? 0x48 : 0
    if extendable, random.chance(1, in: 2) { rex |= 0x41 }
    if rex == 0, random.chance(1, in: 8) { rex = 0x40 }
    if rex != 0 { append([rex]) }
    append(opcode + immediate)
  }

  /// An operation between the accumulator and an immediate.
  mutating func accumulator(_ opcode: UInt8, size: Int) {
    let constant = immediate(size)
    plain([opcode], size: size, immediate: constant)
  }

  /// MOV between the accumulator and an absolute address.
  mutating func absoluteMove(size: Int) {
    let opcode = UInt8(0xa0 + random.below(2) * 2) | (size == 0 ? 0 : 1)
    let isNarrow = random.chance(1, in: 4)
    if isNarrow { append([0x67]) }
    let target = address()
    plain([opcode], size: size, immediate: Self.bytes(target, isNarrow ? 4 : 8))
  }

  // MARK: - What stands around the instruction

  /// An instruction before, so that the status flags come from arithmetic instead of a load.
  mutating func flagProducer() {
    let size = size()
    let wide = UInt8(size == 0 ? 0 : 1)
    let opcode: UInt8 = random.pick([0x38, 0x38, 0x84])
    instruction(
      [opcode | wide], size: size, reg: random.below(16), form: .register, lock: .untried)
    // TEST leaves AF undefined: set all that by a carry that is known.
    if opcode == 0x84 { undefined(Undefined.logic) }
    if random.chance(1, in: 4) { append([random.pick([0xf5, 0xf8, 0xf9])]) }
  }

  /// An instruction behind, which looks at flags that are defined.
  mutating func flagConsumer() {
    let condition = random.below(16)
    let canTest = flagsRead(byCondition: condition) & sample.undefinedFlags == 0
    let hasCarry = sample.undefinedFlags & X86.Flags.carry == 0
    switch random.below(5) {
    case 0 where canTest:
      instruction(
        [0x0f, 0x90 | UInt8(condition)], size: 0, reg: 0, form: .register, lock: .untried)
    case 1 where canTest:
      instruction(
        [0x0f, 0x40 | UInt8(condition)], size: 3, reg: random.below(16), form: .register,
        lock: .untried)
    case 2 where canTest:
      append([0x70 | UInt8(condition), 5])
      marker()
    case 3 where hasCarry:
      instruction(
        [0x11], size: size(bytes: false), reg: random.below(16), form: .register, lock: .untried)
      defined(X86.Flags.status)
    case 4 where sample.undefinedFlags & ~X86.Flags.overflow == 0: append([0x9f])
    default: break
    }
  }
}
