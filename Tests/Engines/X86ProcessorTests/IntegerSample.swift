import ArchitectureX86

@testable import X86Processor

/// Random numbers that a seed makes again: xorshift64*.
struct SeededNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_f491_4f6c_dd1d
  }

  mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }
  mutating func chance(_ one: Int, in all: Int) -> Bool { below(all) < one }
  mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }

  /// Values at which arithmetic goes wrong, among others.
  mutating func operand() -> UInt64 {
    switch below(6) {
    case 0: return next()
    case 1: return next() & 0xff
    case 2: return 0 &- (next() & 0xff)
    case 3:
      // A power of two, or one beside it.
      return (1 &<< (next() & 63)) &+ UInt64(below(3)) &- 1
    case 4:
      // The ends of each width's signed range, in all widths at once or one.
      return [
        0, 1, .max, 0x8000_0000_0000_0000, 0x7fff_ffff_ffff_ffff, 0x8000_0000, 0x7fff_ffff,
        0xffff_ffff, 0x8000, 0x7fff, 0xffff, 0x80, 0x7f, 0xff, 0x8080_8080_8080_8080,
        0x7f7f_7f7f_7f7f_7f7f,
      ][below(16)]
    default: return next() & next() & next() | next() << 63
    }
  }
}

/// A few instructions with everything they start from.
struct Sample {
  var mode = CodeMode.bits64
  /// The instructions; the last is followed by whatever ends the run.
  var bytes: [UInt8] = []
  var registers = [UInt64](repeating: 0, count: 16)
  var flags: UInt64 = 0x202
  /// Status flags of which the manual says nothing, and registers likewise, when the run is over.
  var undefinedFlags: UInt64 = 0
  var undefinedRegisters: UInt16 = 0
  /// Whether an interrupt that the host takes between the instructions may change what they leave.
  var isDisturbedByInterrupts = false
  /// If the result is zero (ZF), the manual says nothing of this register.
  var undefinedIfZero: Int?
}

/// Puts samples together: chooses encodings at random, and registers so that memory operands lie in
/// the data area.
struct SampleBuilder {
  var random: SeededNumbers
  private(set) var sample = Sample()
  /// Where the first instruction and the data area lie: offsets in their segments.
  let start: UInt64
  let data: Range<UInt64>
  let mode: CodeMode
  let gsBase: UInt64
  /// Registers whose values stay as they are, and those that addresses may not use at all.
  private var pinned: UInt16 = 0
  private var reserved: UInt16 = 0

  init(seed: UInt64, mode: CodeMode, start: UInt64, data: Range<UInt64>, gsBase: UInt64) {
    random = SeededNumbers(seed: seed)
    self.mode = mode
    self.start = start
    self.data = data
    self.gsBase = gsBase
    sample.mode = mode
    for number in 0..<16 { sample.registers[number] = random.operand() & registerMask }
    sample.registers[4] = address(spread: 0x800) & (random.chance(7, in: 8) ? ~7 : ~0)
    sample.flags = 0x202 | random.next() & (X86.Flags.status)
  }

  // MARK: - What the mode permits

  var isLong: Bool { mode == .bits64 }
  private var registerMask: UInt64 { isLong ? .max : 0xffff_ffff }
  private var registerCount: Int { isLong ? 16 : 8 }
  /// The operand size without a prefix, as a power of two.
  var defaultSize: Int { mode == .bits16 ? 1 : 2 }

  /// A general register.
  mutating func register() -> Int { random.below(registerCount) }

  /// An operand size as a power of two.
  mutating func size(bytes: Bool = true) -> Int {
    let smallest = bytes ? 0 : 1
    return smallest + random.below((isLong ? 4 : 3) - smallest)
  }

  /// The largest operand size of an instruction that has no byte form.
  var largestSize: Int { isLong ? 3 : 2 }

  /// Whether to choose the other address size, and what fills the bits of a register that it does not use.
  mutating func addressSize() -> (prefix: [UInt8], garbage: UInt64) {
    switch mode {
    case .bits64:
      return random.chance(1, in: 8) ? ([0x67], random.next() << 32) : ([], 0)
    case .bits32: return ([], 0)
    case .bits16:
      return random.chance(1, in: 4) ? ([0x67], 0) : ([], random.next() & 0xffff_0000)
    }
  }

  // MARK: - Values

  /// Where the next byte goes.
  var here: UInt64 { start + UInt64(sample.bytes.count) }

  /// An address in the middle of the data area, often near a page's end.
  mutating func address(spread: UInt64 = 0x800) -> UInt64 {
    let lowest = data.lowerBound + spread
    let highest = data.upperBound - spread
    if random.chance(1, in: 4) {
      let pages = Int((highest - lowest) >> 12)
      let page = (lowest + 0xfff & ~0xfff) + UInt64(random.below(pages)) << 12
      return page + UInt64(random.below(24)) - 12
    }
    return lowest + random.next() % (highest - lowest)
  }

  /// Gives a register its value for good.
  mutating func set(_ register: Int, _ value: UInt64) {
    sample.registers[register] = value & registerMask
    pinned |= 1 << UInt16(register)
  }

  /// Keeps addresses from using a register that the sample itself changes.
  mutating func reserve(_ register: Int) { reserved |= 1 << UInt16(register) }

  func value(of register: Int) -> UInt64 { sample.registers[register] }
  mutating func setFlags(_ flags: UInt64) { sample.flags = flags }

  func isPinned(_ register: Int) -> Bool { (pinned | reserved) & 1 << UInt16(register) != 0 }

  mutating func undefined(_ flags: UInt64) { sample.undefinedFlags |= flags }
  mutating func defined(_ flags: UInt64) { sample.undefinedFlags &= ~flags }
  mutating func undefined(register: Int) { sample.undefinedRegisters |= 1 << UInt16(register) }
  mutating func disturbedByInterrupts() { sample.isDisturbedByInterrupts = true }
  mutating func undefined(ifZero register: Int) { sample.undefinedIfZero = register }

  // MARK: - Encoding

  mutating func append(_ bytes: [UInt8]) { sample.bytes += bytes }

  static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
  }

  enum Form { case any, register, memory }

  /// Whether LOCK may stand before an instruction: where it may not, it is tried now and then all the same.
  enum Lock { case forbidden, permitted, untried }

  /// Appends an instruction with ModRM: `reg` is a register or an opcode extension, the other operand is
  /// chosen by `form`.
  ///
  /// - Returns: the register of the r/m operand, or `nil` for memory.
  @discardableResult
  mutating func instruction(
    _ opcode: [UInt8], size: Int, reg: Int, form: Form = .any,
    register rm: Int? = nil, target: UInt64? = nil, immediate: [UInt8] = [],
    lock: Lock = .forbidden, prefix: UInt8? = nil
  ) -> Int? {
    let isMemory =
      switch form {
      case .any: random.chance(1, in: 2)
      case .register: false
      case .memory: true
      }
    var prefixes: [UInt8] = []
    if needsPrefix(size) { prefixes.append(0x66) }
    if let prefix { prefixes.append(prefix) }
    if isMemory && lock == .permitted && random.chance(1, in: 4)
      || !isMemory && lock == .permitted && random.chance(1, in: 100)
      || lock == .forbidden && random.chance(1, in: 200)
    {
      prefixes.append(0xf0)
    }
    var rex: UInt8 = size == 3 ? 0x48 : isLong && random.chance(1, in: 4) ? 0x40 : 0
    if reg >= 8 { rex |= 0x44 }
    var modRM = UInt8(reg & 7) << 3
    var tail: [UInt8] = []
    var relative: UInt64?
    if isMemory {
      let place = memoryOperand(target ?? address(), &prefixes, isAddressOnly: opcode == [0x8d])
      rex |= place.rex
      modRM |= place.modRM
      tail = place.tail
      relative = place.relative
    } else {
      let number = rm ?? register()
      if number >= 8 { rex |= 0x41 }
      modRM |= 0xc0 | UInt8(number & 7)
      tail = []
      append(shuffled(prefixes))
      if rex != 0 { append([rex]) }
      append(opcode + [modRM] + immediate)
      return number
    }
    append(shuffled(prefixes))
    if rex != 0 { append([rex]) }
    append(opcode + [modRM])
    if let relative {
      tail = Self.bytes(relative &- (here &+ 4 &+ UInt64(immediate.count)), 4)
    }
    append(tail + immediate)
    return nil
  }

  /// Whether a size is chosen by the operand-size prefix.
  func needsPrefix(_ size: Int) -> Bool { size == (mode == .bits16 ? 2 : 1) }

  private mutating func shuffled(_ prefixes: [UInt8]) -> [UInt8] {
    prefixes.count > 1 && random.chance(1, in: 2) ? prefixes.reversed() : prefixes
  }

  private struct MemoryOperand {
    var modRM: UInt8
    var rex: UInt8 = 0
    var tail: [UInt8] = []
    /// RIP-relative: the address, from which the displacement follows once the length is known.
    var relative: UInt64?
  }

  /// Encodes an address by one of the ways there are, and sets registers to fit.
  private mutating func memoryOperand(
    _ target: UInt64, _ prefixes: inout [UInt8], isAddressOnly: Bool
  ) -> MemoryOperand {
    var target = target
    if isLong, random.chance(1, in: 12) {
      prefixes.append(0x65)
      target &-= gsBase
    } else if random.chance(1, in: 16) {
      // Of no effect in 64-bit mode; in the others CS lies elsewhere.
      prefixes.append(random.pick(isLong ? [0x26, 0x2e, 0x36, 0x3e] : [0x26, 0x36, 0x3e]))
    }
    // The other address size: 32 bits in 64-bit and 16-bit mode, 16 bits in 32-bit mode, where they
    // reach no data but make an address all the same.
    let isOther =
      random.chance(1, in: mode == .bits32 ? 2 : 8) && (mode != .bits32 || isAddressOnly)
    if isOther { prefixes.append(0x67) }
    if isOther == (mode == .bits32), mode != .bits64 { return shortOperand(target) }
    let isNarrow = isLong && isOther

    let free = (0..<registerCount).filter { !isPinned($0) }
    switch random.below(8) {
    case 0:
      return isLong
        ? MemoryOperand(modRM: 0x05, relative: target)
        : MemoryOperand(modRM: 0x05, tail: Self.bytes(target, 4))
    case 1: return MemoryOperand(modRM: 0x04, tail: [0x25] + Self.bytes(target, 4))
    case 2, 3, 4:
      let base = random.pick(free)
      let (mod, displacement, count) = displacement(base: base)
      solve(base, target &- displacement, isNarrow)
      let rex: UInt8 = base >= 8 ? 0x41 : 0
      let tail = Self.bytes(displacement, count)
      return base & 7 == 4
        ? MemoryOperand(
          modRM: mod | 0x04, rex: rex, tail: [UInt8(random.below(4)) << 6 | 0x24] + tail)
        : MemoryOperand(modRM: mod | UInt8(base & 7), rex: rex, tail: tail)
    case 5:
      // An index without a base.
      let index = random.pick(free.filter { $0 != 4 })
      let scale = random.below(4)
      let value = target >> UInt64(scale) &- UInt64(random.below(1000))
      solve(index, value, isNarrow)
      let rex: UInt8 = index >= 8 ? 0x42 : 0
      return MemoryOperand(
        modRM: 0x04, rex: rex,
        tail: [UInt8(scale) << 6 | UInt8(index & 7) << 3 | 0x05]
          + Self.bytes(target &- value << UInt64(scale), 4))
    default:
      let base = random.pick(free)
      let candidates = (0..<registerCount).filter {
        $0 != 4 && $0 != base && reserved >> UInt16($0) & 1 == 0
      }
      let index = random.pick(candidates)
      let scale = random.below(4)
      let (mod, displacement, count) = displacement(base: base)
      set(index, value(of: index))
      solve(base, target &- displacement &- value(of: index) << UInt64(scale), isNarrow)
      let rex: UInt8 = (base >= 8 ? 0x41 : 0) | (index >= 8 ? 0x42 : 0)
      return MemoryOperand(
        modRM: mod | 0x04, rex: rex,
        tail: [UInt8(scale) << 6 | UInt8(index & 7) << 3 | UInt8(base & 7)]
          + Self.bytes(displacement, count))
    }
  }

  /// The 16-bit forms: SDM Vol. 2A Table 2-1.
  private mutating func shortOperand(_ target: UInt64) -> MemoryOperand {
    // BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX: a register that is set to fit, and one that is not.
    let forms: [(Int, Int?)] = [
      (3, 6), (3, 7), (5, 6), (5, 7), (6, nil), (7, nil), (5, nil), (3, nil),
    ]
    let usable = (0..<8).filter { !isPinned(forms[$0].0) }
    guard let form = usable.isEmpty ? nil : random.pick(usable), random.chance(7, in: 8) else {
      return MemoryOperand(modRM: 0x06, tail: Self.bytes(target, 2))
    }
    let (base, index) = forms[form]
    var sum = target
    if let index {
      set(index, value(of: index))
      sum &-= value(of: index)
    }
    var mod: UInt8 = 0
    var tail: [UInt8] = []
    switch random.below(3) {
    case 0 where form != 6: break
    case 1:
      let displacement = random.next()
      (mod, tail, sum) = (0x80, Self.bytes(displacement, 2), sum &- displacement)
    default:
      let displacement = Int8(truncatingIfNeeded: random.next())
      (mod, tail) = (0x40, [UInt8(bitPattern: displacement)])
      sum &-= UInt64(bitPattern: Int64(displacement))
    }
    set(base, sum & 0xffff | random.next() << 16)
    return MemoryOperand(modRM: mod | UInt8(form), tail: tail)
  }

  /// The mod bits, the displacement and its size.
  private mutating func displacement(base: Int) -> (UInt8, UInt64, Int) {
    switch random.below(3) {
    case 0 where base & 7 != 5: return (0x00, 0, 0)
    case 1:
      return (0x80, UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: random.next()))), 4)
    default:
      return (0x40, UInt64(bitPattern: Int64(Int8(truncatingIfNeeded: random.next()))), 1)
    }
  }

  private mutating func solve(_ register: Int, _ value: UInt64, _ isNarrow: Bool) {
    set(register, isNarrow ? value & 0xffff_ffff | random.next() << 32 : value)
  }
}
