import CProcessor

// BT, BTS, BTR, BTC, BSF, BSR, POPCNT: SDM Vol. 2A.

/// What a bit test does to the bit.
enum BitChange: UInt8 {
  case none, set, reset, complement

  @inline(__always)
  func apply<T: Width>(_ value: T, _ bit: T) -> T {
    switch self {
    case .none: value
    case .set: value | bit
    case .reset: value & ~bit
    case .complement: value ^ bit
    }
  }
}

/// The bit number comes from a slot.
@inline(__always)
func bitTest<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op, _ index: UInt64) {
  let index = index & (T.bits &- 1)
  let value = cpu.get(op.pointee.destination, T.self)
  cpu.setCarryAlone(value.bit(index))
  if let change = BitChange(rawValue: op.pointee.detail), change != .none {
    cpu.set(op.pointee.destination, change.apply(value, 1 &<< T(truncatingIfNeeded: index)))
  }
  return next(cpu, op)
}

let bitTestsBySlot: [Handler] = [
  { bitTest(UInt16.self, $0, $1, $0.get($1.pointee.source)) },
  { bitTest(UInt16.self, $0, $1, $0.get($1.pointee.source)) },
  { bitTest(UInt32.self, $0, $1, $0.get($1.pointee.source)) },
  { bitTest(UInt64.self, $0, $1, $0.get($1.pointee.source)) },
]

let bitTestsByConstant: [Handler] = [
  { bitTest(UInt16.self, $0, $1, $1.pointee.immediate) },
  { bitTest(UInt16.self, $0, $1, $1.pointee.immediate) },
  { bitTest(UInt32.self, $0, $1, $1.pointee.immediate) },
  { bitTest(UInt64.self, $0, $1, $1.pointee.immediate) },
]

/// With LOCK, on the word at the op's address; the bit number is in a slot.
@inline(__always)
func lockedBitTest<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  guard lockedBitTestWork(T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func lockedBitTestWork<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) -> Bool {
  guard let address = Segmented.linear(cpu, op, MemoryLayout<T>.size, write: true) else {
    return false
  }
  let index = cpu.get(op.pointee.source, UInt64.self) & (T.bits &- 1)
  let bit: T = 1 &<< T(truncatingIfNeeded: index)
  let change = BitChange(rawValue: op.pointee.detail) ?? .none
  guard let old = atomicUpdate(cpu, op, address, { (old: T) in change.apply(old, bit) }) else {
    return false
  }
  cpu.setCarryAlone(old & bit != 0)
  return true
}

let lockedBitTests: [Handler] = [
  { lockedBitTest(UInt16.self, $0, $1) }, { lockedBitTest(UInt16.self, $0, $1) },
  { lockedBitTest(UInt32.self, $0, $1) }, { lockedBitTest(UInt64.self, $0, $1) },
]

/// The offset of the word that holds a bit of a string in memory; `detail` is the operand size.
let bitStringOffset: Handler = { cpu, op in
  let log2 = UInt64(op.pointee.detail)
  let index: Int64 =
    switch op.pointee.detail {
    case 1: Int64(cpu.get(op.pointee.source, UInt16.self).signed)
    case 2: Int64(cpu.get(op.pointee.source, UInt32.self).signed)
    default: cpu.get(op.pointee.source, UInt64.self).signed
    }
  let words = index &>> Int64(3 &+ log2)
  let offset = cpu.offset(op) &+ UInt64(bitPattern: words &<< Int64(log2))
  cpu.set(Slot.temporary2, offset & addressMask(op.pointee.flags))
  return next(cpu, op)
}

/// BSF and BSR: a zero source sets ZF and leaves the destination.
@inline(__always)
func bitScan<T: Width>(_: T.Type, forward: Bool, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  if value == 0 {
    cpu.setLogicFlags(value)
    return next(cpu, op)
  }
  let index =
    forward ? value.trailingZeroBitCount : T.bitWidth &- 1 &- value.leadingZeroBitCount
  cpu.setLogicFlags(1 as T)
  cpu.set(op.pointee.destination, T(truncatingIfNeeded: index))
  return next(cpu, op)
}

let bitScansForward: [Handler] = [
  { bitScan(UInt16.self, forward: true, $0, $1) },
  { bitScan(UInt16.self, forward: true, $0, $1) },
  { bitScan(UInt32.self, forward: true, $0, $1) },
  { bitScan(UInt64.self, forward: true, $0, $1) },
]
let bitScansReverse: [Handler] = [
  { bitScan(UInt16.self, forward: false, $0, $1) },
  { bitScan(UInt16.self, forward: false, $0, $1) },
  { bitScan(UInt32.self, forward: false, $0, $1) },
  { bitScan(UInt64.self, forward: false, $0, $1) },
]

@inline(__always)
func populationCount<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  let count = T(truncatingIfNeeded: value.nonzeroBitCount)
  // ZF by the source, all others clear: SDM Vol. 2B, POPCNT.
  cpu.statusFlags = value == 0 ? 1 &<< 6 : 0
  cpu.set(op.pointee.destination, count)
  return next(cpu, op)
}

let populationCounts: [Handler] = [
  { populationCount(UInt16.self, $0, $1) }, { populationCount(UInt16.self, $0, $1) },
  { populationCount(UInt32.self, $0, $1) }, { populationCount(UInt64.self, $0, $1) },
]
