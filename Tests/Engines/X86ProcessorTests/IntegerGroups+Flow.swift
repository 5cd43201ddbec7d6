import ArchitectureX86

@testable import X86Processor

extension InstructionGroup {
  // MARK: - Stack

  static let stack = [
    InstructionGroup("PUSH, POP") { b in
      let size = b.random.chance(1, in: 4) ? 1 : 2  // 64 bits without REX.W in 64-bit mode
      switch b.random.below(6) {
      case 0: b.plain([0x50 | UInt8(b.random.below(8))], size: size, extendable: true)
      case 1: b.plain([0x58 | UInt8(b.random.below(8))], size: size, extendable: true)
      case 2: b.plain([0x68], size: size, immediate: b.immediate(size))
      case 3: b.plain([0x6a], size: size, immediate: b.immediate(0))
      case 4:
        b.set(4, b.value(of: 4))
        b.instruction([0xff], size: size, reg: 6)
      default:
        if b.mode != .bits16, b.random.chance(1, in: 4) {
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
        b.plain([0x50 | UInt8(register)], size: b.isLong ? 2 : size)
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
      var (prefixes, garbage) = b.addressSize()
      let isRepeated = b.random.chance(3, in: 4)
      if isRepeated { prefixes.append(b.random.pick([0xf2, 0xf3])) }
      let source = b.address(spread: 0x1100)
      let overlaps = b.random.chance(1, in: 4)
      let target =
        overlaps ? source &+ UInt64(b.random.below(40)) &- 20 : b.address(spread: 0x1100)
      if b.isLong, b.random.chance(1, in: 8) {
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
      let distance = UInt8(b.markerSize)
      if b.random.chance(1, in: 2) {
        b.append([0x70 | condition, distance])
      } else {
        b.append([0x0f, 0x80 | condition, distance] + b.zeros)
      }
      b.marker()
    },
    InstructionGroup("comparisons with a Jcc behind") { b in
      let size = b.size()
      let wide = UInt8(size == 0 ? 0 : 1)
      var condition = UInt8(b.random.below(16))
      switch b.random.below(6) {
      case 0: b.instruction([0x38 | wide], size: size, reg: b.register())
      case 1: b.instruction([0x3a | wide], size: size, reg: b.register())
      case 2:
        b.instruction([0x80 | wide], size: size, reg: 7, immediate: b.immediate(size))
      case 3:
        b.instruction([0x83], size: max(size, 1), reg: 7, immediate: b.immediate(0))
      case 4:
        b.undefined(Undefined.logic)
        let register = b.register()
        b.instruction(
          [0x84 | wide], size: size, reg: register, form: .register,
          register: b.random.chance(1, in: 2) ? register : nil)
      default:
        b.undefined(Undefined.logic)
        b.instruction(
          [0xf6 | wide], size: size, reg: 0, immediate: b.immediate(size))
      }
      if b.random.chance(1, in: 2) { condition = b.random.pick([4, 5, 2, 3, 12, 15]) }
      b.append([0x70 | condition, UInt8(b.markerSize)])
      b.marker()
    },
    InstructionGroup("loops of a few instructions") { b in
      // The counter is RCX; whatever else the loop changes, memory and the other registers, may be anything.
      b.set(1, UInt64(1 + b.random.below(20)))
      b.set(3, b.address() & ~7)
      let top = b.here
      for _ in 0..<1 + b.random.below(4) {
        let size = b.size()
        let wide = UInt8(size == 0 ? 0 : 1)
        // Bytes of RSI and RDI would be DH and BH.
        let registers = size == 0 ? [0, 2] : [0, 2, 6, 7]
        let register = b.random.pick(registers)
        // ADD, ADC, SBB, SUB between registers, or with memory at [RBX].
        let opcode: UInt8 = b.random.pick([0x00, 0x10, 0x18, 0x28]) | wide
        if b.mode != .bits16, b.random.chance(1, in: 3) {
          b.plain([opcode | b.random.pick([0, 2]), UInt8(register << 3) | 3], size: size)
        } else {
          b.instruction(
            [opcode], size: size, reg: register, form: .register,
            register: b.random.pick(registers), lock: .untried)
        }
      }
      switch b.random.below(3) {
      case 0: b.plain([0xff, 0xc9], size: b.defaultSize)  // dec ecx
      case 1: b.plain([0x83, 0xe9, 1], size: b.defaultSize)  // sub ecx, 1
      default:
        b.plain([0xff, 0xc9], size: b.defaultSize)
        b.plain([0x85, 0xc9], size: b.defaultSize)  // test ecx, ecx
        b.undefined(Undefined.logic)
      }
      let distance = UInt64(0) &- (b.here + 2 - top)
      b.append([0x75, UInt8(truncatingIfNeeded: distance)])
    },
    InstructionGroup("LOOP, LOOPE, LOOPNE, JRCXZ") { b in
      let (prefix, garbage) = b.addressSize()
      let kind = UInt8(b.random.below(4))
      if kind == 3 {
        b.set(1, b.random.chance(1, in: 2) ? garbage : b.random.operand())
        b.append(prefix + [0xe3, UInt8(b.markerSize)])
        b.marker()
      } else {
        b.set(1, UInt64(1 + b.random.below(6)) | garbage)
        // LEA leaves the flags; ADD does not.
        let lea: [UInt8] =
          switch b.mode {
          case .bits64: [0x48, 0x8d, 0x5b, 0x01]
          case .bits32: [0x8d, 0x5b, 0x01]
          case .bits16: [0x8d, 0x5f, 0x01]
          }
        let body = b.random.chance(1, in: 2) ? lea : [0x83, 0xc3, 0x70]
        b.append(body + prefix)
        b.append([0xe0 | kind, UInt8(truncatingIfNeeded: -(body.count + prefix.count + 2))])
      }
    },
    InstructionGroup("JMP, CALL, RET") { b in
      let distance = UInt8(b.markerSize)
      switch b.random.below(6) {
      case 0: b.append([0xeb, distance])
      case 1: b.append([0xe9, distance] + b.zeros)
      case 2: b.append([0xe8, distance] + b.zeros)
      case 3:
        b.loadAddress(distance: 2 + b.markerSize)
        b.append([0xff, b.random.chance(1, in: 2) ? 0xe0 : 0xd0])  // jmp or call rax
      case 4 where b.mode != .bits16:
        b.loadAddress(distance: 4 + b.markerSize)
        b.append([0x50, 0xff, b.random.chance(1, in: 2) ? 0x24 : 0x14, 0x24])  // push rax; … [rsp]
      default:
        let release = b.random.chance(1, in: 2)
        b.loadAddress(distance: (release ? 4 : 2) + b.markerSize)
        b.append([0x50])  // push rax; ret or ret imm16
        b.append(release ? [0xc2, UInt8(b.random.below(64)), 0] : [0xc3])
      }
      b.marker()
    },
  ]

  // MARK: - Segments

  /// Selectors of the user's segments, of the kernel's, of none, and null.
  private static let selectors: [UInt64] = [
    0, 1, 3, 0x23, 0x2b, 0x2a, 0x33, 0x30, 0x10, 0x18, 0x1b, 0x40, 0xfff8, 0x07, 0x0f, 0x17,
  ]

  static let segments = [
    InstructionGroup("MOV to DS and ES") { b in
      let selector = b.random.pick(selectors)
      let register = b.register()
      b.set(register, selector | b.random.next() << 16)
      let segment = b.random.pick([0, 3])
      // "IF … SegmentRegister … NULL … THEN SegmentSelector := 0": the IRET behind an interrupt of the host's (SDM
      // Vol. 2A, IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL) clears a null selector's RPL.
      if selector <= 3 { b.disturbedByInterrupts() }
      b.instruction(
        [0x8e], size: b.defaultSize, reg: segment, form: .register, register: register)
      b.instruction([0x8c], size: b.defaultSize, reg: segment, form: .register, lock: .untried)
    },
    InstructionGroup("LAR, LSL, VERR, VERW") { b in
      let selector = b.random.pick(selectors)
      let register = b.register()
      b.set(register, selector | b.random.next() << 16)
      let kind = b.random.below(4)
      b.instruction(
        kind < 2 ? [0x0f, UInt8(2 + kind)] : [0x0f, 0x00], size: b.size(bytes: false),
        reg: kind < 2 ? b.register() : 2 + kind, form: .register, register: register)
    },
  ]

  // MARK: - Not in 64-bit mode

  static let legacy = [
    InstructionGroup("DAA, DAS, AAA, AAS, AAM, AAD", in: [.bits32, .bits16]) { b in
      let opcode: UInt8 = b.random.pick([0x27, 0x2f, 0x37, 0x3f, 0xd4, 0xd5])
      switch opcode {
      case 0x27, 0x2f: b.undefined(Undefined.decimalAdjust)
      case 0x37, 0x3f: b.undefined(Undefined.asciiAdjust)
      default: b.undefined(Undefined.asciiAdjustForMultiplication)
      }
      let base = b.random.chance(1, in: 2) ? 10 : UInt8(b.random.below(256))
      b.append(opcode < 0x40 ? [opcode] : [opcode, base])
    },
    InstructionGroup("INC, DEC of one byte", in: [.bits32, .bits16]) { b in
      b.plain([0x40 | UInt8(b.random.below(16))], size: 1 + b.random.below(2))
    },
    InstructionGroup("PUSHA, POPA", in: [.bits32, .bits16]) { b in
      b.plain([0x60 | UInt8(b.random.below(2))], size: 1 + b.random.below(2))
    },
    InstructionGroup("BOUND, ARPL, INTO", in: [.bits32, .bits16]) { b in
      switch b.random.below(3) {
      case 0: b.instruction([0x62], size: 1 + b.random.below(2), reg: b.register(), form: .memory)
      case 1: b.instruction([0x63], size: b.defaultSize, reg: b.register())
      default: b.append([0xce])
      }
    },
    InstructionGroup("PUSH and POP of segments", in: [.bits32, .bits16]) { b in
      let size = 1 + b.random.below(2)
      b.plain([b.random.pick([0x06, 0x0e, 0x16, 0x1e])], size: size)
      if b.random.chance(1, in: 2) {
        // Back into DS or ES, which take what was in any of the four.
        b.plain([b.random.pick([0x07, 0x1f])], size: size)
      }
    },
  ]
}

// MARK: - Instructions without ModRM

extension SampleBuilder {
  /// An immediate operand: at most four bytes.
  mutating func immediate(_ size: Int) -> [UInt8] {
    Self.bytes(random.operand(), min(1 << size, 4))
  }

  /// MOV EBX or BX, a number: what a jump may skip.
  mutating func marker() { append([0xbb] + Self.bytes(random.next(), markerSize - 1)) }

  var markerSize: Int { mode == .bits16 ? 3 : 5 }

  /// The upper bytes of a short distance in its long form.
  var zeros: [UInt8] { mode == .bits16 ? [0] : [0, 0, 0] }

  /// Loads RAX with the address that lies `distance` behind the load.
  mutating func loadAddress(distance: Int) {
    if isLong {
      append([0x48, 0x8d, 0x05] + Self.bytes(UInt64(distance), 4))  // lea rax, [rip + …]
    } else {
      let count = markerSize - 1
      append([0xb8] + Self.bytes(here + UInt64(1 + count + distance), count))
    }
  }

  /// Opcode and immediate with the prefixes of a size; `extendable`: REX.B may extend the opcode's register.
  mutating func plain(
    _ opcode: [UInt8], size: Int, extendable: Bool = false, immediate: [UInt8] = []
  ) {
    if needsPrefix(size) { append([0x66]) }
    var rex: UInt8 = size == 3 ? 0x48 : 0
    if isLong, extendable, random.chance(1, in: 2) { rex |= 0x41 }
    if isLong, rex == 0, random.chance(1, in: 8) { rex = 0x40 }
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
    let other = mode != .bits32 && random.chance(1, in: 4)
    if other { append([0x67]) }
    let count = isLong ? (other ? 4 : 8) : mode == .bits16 && !other ? 2 : 4
    plain([opcode], size: size, immediate: Self.bytes(address(), count))
  }

  // MARK: - What stands around the instruction

  /// An instruction before, so that the status flags come from arithmetic instead of a load.
  mutating func flagProducer() {
    let size = size()
    let wide = UInt8(size == 0 ? 0 : 1)
    let opcode: UInt8 = random.pick([0x38, 0x38, 0x84])
    instruction(
      [opcode | wide], size: size, reg: register(), form: .register, lock: .untried)
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
        [0x0f, 0x40 | UInt8(condition)], size: largestSize, reg: register(), form: .register,
        lock: .untried)
    case 2 where canTest:
      append([0x70 | UInt8(condition), UInt8(markerSize)])
      marker()
    case 3 where hasCarry:
      instruction(
        [0x11], size: size(bytes: false), reg: register(), form: .register, lock: .untried)
      defined(X86.Flags.status)
    case 4 where sample.undefinedFlags & ~X86.Flags.overflow == 0: append([0x9f])
    default: break
    }
  }
}
