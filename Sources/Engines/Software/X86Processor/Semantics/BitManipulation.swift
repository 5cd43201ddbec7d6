import ArchitectureX86
import CProcessor

// BMI1, BMI2, LZCNT and MOVBE: SDM Vol. 1 §5.1.16, Vol. 2. Those with a VEX prefix have their first source, or
// their destination, in VEX.vvvv: the op's `base`. AF and PF, where undefined, follow the result.

// MARK: - Counts

/// LZCNT, TZCNT: of zero, the width; CF tells that.
@inline(__always)
private func countZeros<T: Width>(_: T.Type, leading: Bool, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  let count = leading ? value.leadingZeroBitCount : value.trailingZeroBitCount
  let result = T(truncatingIfNeeded: count)
  cpu.setFlags(result: result, carry: value == 0, overflow: false)
  cpu.set(op.pointee.destination, result)
  return next(cpu, op)
}

let leadingZeroCounts: [Handler] = [
  { countZeros(UInt16.self, leading: true, $0, $1) },
  { countZeros(UInt16.self, leading: true, $0, $1) },
  { countZeros(UInt32.self, leading: true, $0, $1) },
  { countZeros(UInt64.self, leading: true, $0, $1) },
]
let trailingZeroCounts: [Handler] = [
  { countZeros(UInt16.self, leading: false, $0, $1) },
  { countZeros(UInt16.self, leading: false, $0, $1) },
  { countZeros(UInt32.self, leading: false, $0, $1) },
  { countZeros(UInt64.self, leading: false, $0, $1) },
]

// MARK: - Shapes of handlers

/// The register in `base` and the source make the destination; flags stay.
@inline(__always)
private func plain<T: Width>(_ cpu: CPU, _ op: Op, _ operation: (T, T) -> T) {
  cpu.set(
    op.pointee.destination,
    operation(cpu.get(op.pointee.base, T.self), cpu.get(op.pointee.source, T.self)))
  return next(cpu, op)
}

/// As `plain`, and the flags are those of the result and of a carry.
@inline(__always)
private func flagged<T: Width>(_ cpu: CPU, _ op: Op, _ operation: (T, T) -> (T, carry: Bool)) {
  let (result, carry) = operation(
    cpu.get(op.pointee.base, T.self), cpu.get(op.pointee.source, T.self))
  cpu.setFlags(result: result, carry: carry, overflow: false)
  cpu.set(op.pointee.destination, result)
  return next(cpu, op)
}

/// The lowest bits, as many as an index says.
@inline(__always)
private func lowBits<T: Width>(_ value: T, _ count: T) -> T {
  count < T(truncatingIfNeeded: T.bitWidth) ? value & ((1 &<< count) &- 1) : value
}

/// BEXTR: bits 0 to 7 of the control are the first bit, bits 8 to 15 how many.
@inline(__always)
private func extract<T: Width>(_ control: T, _ value: T) -> T {
  let start = control & 0xff
  let shifted = start < T(truncatingIfNeeded: T.bitWidth) ? value &>> start : 0
  return lowBits(shifted, control &>> 8 & 0xff)
}

/// PDEP: the low bits of `value` go where the mask has ones.
@inline(__always)
private func deposit<T: Width>(_ value: T, _ mask: T) -> T {
  var (value, mask, result) = (value, mask, 0 as T)
  while mask != 0 {
    let lowest = mask & (0 &- mask)
    if value & 1 != 0 { result |= lowest }
    value &>>= 1
    mask &= mask &- 1
  }
  return result
}

/// PEXT: the bits of `value` where the mask has ones, side by side.
@inline(__always)
private func gather<T: Width>(_ value: T, _ mask: T) -> T {
  var (mask, result, bit) = (mask, 0 as T, 1 as T)
  while mask != 0 {
    if value & mask & (0 &- mask) != 0 { result |= bit }
    bit &<<= 1
    mask &= mask &- 1
  }
  return result
}

/// MULX: RDX times the source, its upper half to the destination, the lower one to the register in `base` (and
/// the upper one wins).
@inline(__always)
private func multiplyPlain<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let (high, low) = cpu.get(Slot.rdx, T.self).multipliedFullWidth(
    by: cpu.get(op.pointee.source, T.self))
  cpu.set(op.pointee.base, T(truncatingIfNeeded: low))
  cpu.set(op.pointee.destination, high)
  return next(cpu, op)
}

@inline(__always)
private func rotate<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  let count = T(truncatingIfNeeded: op.pointee.immediate) & T(truncatingIfNeeded: T.bitWidth &- 1)
  let back = (0 &- count) & T(truncatingIfNeeded: T.bitWidth &- 1)
  cpu.set(op.pointee.destination, value &>> count | value &<< back)
  return next(cpu, op)
}

/// Each for 32 and 64 bits.
private enum BitManipulation {
  static let andNot: [Handler] = [
    { flagged($0, $1) { (a: UInt32, b) in (~a & b, carry: false) } },
    { flagged($0, $1) { (a: UInt64, b) in (~a & b, carry: false) } },
  ]
  /// BLSR, BLSMSK, BLSI.
  static let lowestBit: [[Handler]] = [
    [
      { flagged($0, $1) { (_: UInt32, b) in (b & (b &- 1), carry: b == 0) } },
      { flagged($0, $1) { (_: UInt64, b) in (b & (b &- 1), carry: b == 0) } },
    ],
    [
      { flagged($0, $1) { (_: UInt32, b) in (b ^ (b &- 1), carry: b == 0) } },
      { flagged($0, $1) { (_: UInt64, b) in (b ^ (b &- 1), carry: b == 0) } },
    ],
    [
      { flagged($0, $1) { (_: UInt32, b) in (b & (0 &- b), carry: b != 0) } },
      { flagged($0, $1) { (_: UInt64, b) in (b & (0 &- b), carry: b != 0) } },
    ],
  ]
  static let extractField: [Handler] = [
    { flagged($0, $1) { (a: UInt32, b) in (extract(a, b), carry: false) } },
    { flagged($0, $1) { (a: UInt64, b) in (extract(a, b), carry: false) } },
  ]
  static let zeroHighBits: [Handler] = [
    { flagged($0, $1) { (a: UInt32, b) in (lowBits(b, a & 0xff), carry: a & 0xff > 31) } },
    { flagged($0, $1) { (a: UInt64, b) in (lowBits(b, a & 0xff), carry: a & 0xff > 63) } },
  ]
  static let depositBits: [Handler] = [
    { plain($0, $1) { (a: UInt32, b) in deposit(a, b) } },
    { plain($0, $1) { (a: UInt64, b) in deposit(a, b) } },
  ]
  static let gatherBits: [Handler] = [
    { plain($0, $1) { (a: UInt32, b) in gather(a, b) } },
    { plain($0, $1) { (a: UInt64, b) in gather(a, b) } },
  ]
  static let multiplication: [Handler] = [
    { multiplyPlain(UInt32.self, $0, $1) }, { multiplyPlain(UInt64.self, $0, $1) },
  ]
  static let shiftLeft: [Handler] = [
    { plain($0, $1) { (a: UInt32, b) in b &<< a } },
    { plain($0, $1) { (a: UInt64, b) in b &<< a } },
  ]
  static let shiftRight: [Handler] = [
    { plain($0, $1) { (a: UInt32, b) in b &>> a } },
    { plain($0, $1) { (a: UInt64, b) in b &>> a } },
  ]
  static let shiftArithmetic: [Handler] = [
    { plain($0, $1) { (a: UInt32, b) in UInt32(bitPattern: b.signed &>> a.signed) } },
    { plain($0, $1) { (a: UInt64, b) in UInt64(bitPattern: b.signed &>> a.signed) } },
  ]
  static let rotateRight: [Handler] = [
    { rotate(UInt32.self, $0, $1) }, { rotate(UInt64.self, $0, $1) },
  ]
}

// MARK: - MOVBE

@inline(__always)
private func reverseBytes<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(op.pointee.destination, cpu.get(op.pointee.source, T.self).byteSwapped)
  return next(cpu, op)
}

private let byteReversals: [Handler] = [
  { reverseBytes(UInt16.self, $0, $1) }, { reverseBytes(UInt16.self, $0, $1) },
  { reverseBytes(UInt32.self, $0, $1) }, { reverseBytes(UInt64.self, $0, $1) },
]

// MARK: - Translation

extension Translator {
  /// 0F 38 F0 and F1 without F2: MOVBE.
  mutating func moveReversed() -> Flow? {
    guard features.hasMOVBE, i.isMemory, i.repeatPrefix == 0 else { return nil }
    let log2 = i.operandLog2
    if i.opcode == 0xf0 {
      emit(byteReversals[log2], d: regSlot(log2), s: rmSource(log2))
    } else {
      emit(byteReversals[log2], d: Slot.temporary, s: regSlot(log2))
      emit(Stores.plain[log2], s: Slot.temporary)
    }
    return .sequential
  }

  /// Instructions with a VEX prefix on general registers: 0F 38 F2, F3, F5, F6 and F7, 0F 3A F0.
  mutating func vexGeneral() -> Flow? {
    guard let vex = i.vex, !vex.isWide, let (handlers, form) = vexGeneralHandlers() else {
      return nil
    }
    if i.mode != .bits64 { emit(VectorAvailability.requireProtectedMode) }
    let wide = i.rex & 8 != 0
    let handler = handlers[wide ? 1 : 0]
    let source = rmSource(wide ? 3 : 2)
    let (first, reg) = (Slot.register(vex.register), Slot.register(i.reg))
    switch form {
    case .intoRegister: emit(handler, d: reg, s: source, base: first)
    case .intoFirst: emit(handler, d: first, s: source)
    case .byImmediate:
      guard vex.namesNone else { return nil }
      emit(handler, d: reg, s: source, immediate: i.immediate)
    }
    return .sequential
  }

  private enum GeneralForm { case intoRegister, intoFirst, byImmediate }

  private func vexGeneralHandlers() -> ([Handler], GeneralForm)? {
    let has1 = features.hasBMI1
    let has2 = features.hasBMI2
    switch (i.map, i.mandatoryPrefix, i.opcode) {
    case (.threeByte38, 0, 0xf2) where has1: return (BitManipulation.andNot, .intoRegister)
    case (.threeByte38, 0, 0xf3) where has1:
      guard 1...3 ~= i.extension3 else { return nil }
      return (BitManipulation.lowestBit[Int(i.extension3 - 1)], .intoFirst)
    case (.threeByte38, 0, 0xf7) where has1: return (BitManipulation.extractField, .intoRegister)
    case (.threeByte38, 0, 0xf5) where has2: return (BitManipulation.zeroHighBits, .intoRegister)
    case (.threeByte38, 0xf2, 0xf5) where has2: return (BitManipulation.depositBits, .intoRegister)
    case (.threeByte38, 0xf3, 0xf5) where has2: return (BitManipulation.gatherBits, .intoRegister)
    case (.threeByte38, 0xf2, 0xf6) where has2:
      return (BitManipulation.multiplication, .intoRegister)
    case (.threeByte38, 0x66, 0xf7) where has2: return (BitManipulation.shiftLeft, .intoRegister)
    case (.threeByte38, 0xf3, 0xf7) where has2:
      return (BitManipulation.shiftArithmetic, .intoRegister)
    case (.threeByte38, 0xf2, 0xf7) where has2: return (BitManipulation.shiftRight, .intoRegister)
    case (.threeByte3A, 0xf2, 0xf0) where has2: return (BitManipulation.rotateRight, .byImmediate)
    default: return nil
    }
  }
}
