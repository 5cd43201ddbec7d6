import CProcessor

// ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD, SHRD: SDM Vol. 2B. Where the manual leaves OF undefined (counts
// other than one) it is computed by the same rule as for one.

/// A shift by a count that is already masked and not zero.
protocol ShiftOperation {
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T
}

extension Width {
  @inline(__always) static var bits: UInt64 { UInt64(truncatingIfNeeded: bitWidth) }
  @inline(__always) var topBit: Bool { self &>> Self(truncatingIfNeeded: Self.bits &- 1) != 0 }
  /// A bit of the value; the index is below the width.
  @inline(__always) func bit(_ index: UInt64) -> Bool {
    self &>> Self(truncatingIfNeeded: index) & 1 != 0
  }
  @inline(__always) func shiftedLeft(_ count: UInt64) -> Self {
    count >= Self.bits ? 0 : self &<< Self(truncatingIfNeeded: count)
  }
  @inline(__always) func shiftedRight(_ count: UInt64) -> Self {
    count >= Self.bits ? 0 : self &>> Self(truncatingIfNeeded: count)
  }
}

enum ShiftLeft: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    let r = a.shiftedLeft(count)
    let carry = a.shiftedLeft(count &- 1).topBit
    cpu.setFlags(result: r, carry: carry, overflow: carry != r.topBit)
    return r
  }
}

enum ShiftRight: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    let r = a.shiftedRight(count)
    cpu.setFlags(result: r, carry: a.shiftedRight(count &- 1) & 1 != 0, overflow: a.topBit)
    return r
  }
}

enum ShiftRightArithmetic: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    let wide = Int64(a.signed)
    let r = T(truncatingIfNeeded: wide &>> Int64(truncatingIfNeeded: count))
    let carry = wide &>> Int64(truncatingIfNeeded: count &- 1) & 1 != 0
    cpu.setFlags(result: r, carry: carry, overflow: false)
    return r
  }
}

enum RotateLeft: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    let n = count & (T.bits &- 1)
    let r = n == 0 ? a : a.shiftedLeft(n) | a.shiftedRight(T.bits &- n)
    let carry = r & 1 != 0
    cpu.setRotateFlags(carry: carry, overflow: carry != r.topBit)
    return r
  }
}

enum RotateRight: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    let n = count & (T.bits &- 1)
    let r = n == 0 ? a : a.shiftedRight(n) | a.shiftedLeft(T.bits &- n)
    cpu.setRotateFlags(carry: r.topBit, overflow: r.topBit != r.bit(T.bits &- 2))
    return r
  }
}

enum RotateLeftThroughCarry: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    var r = a
    var carry = cpu.carryFlag
    for _ in 0..<(count % (T.bits &+ 1)) {
      let out = r.topBit
      r = r &<< 1 | (carry ? 1 : 0)
      carry = out
    }
    cpu.setRotateFlags(carry: carry, overflow: carry != r.topBit)
    return r
  }
}

enum RotateRightThroughCarry: ShiftOperation {
  @inline(__always)
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ count: UInt64) -> T {
    var r = a
    var carry = cpu.carryFlag
    let top: T = 1 &<< T(truncatingIfNeeded: T.bits &- 1)
    for _ in 0..<(count % (T.bits &+ 1)) {
      let out = r & 1 != 0
      r = r &>> 1 | (carry ? top : 0)
      carry = out
    }
    cpu.setRotateFlags(carry: carry, overflow: r.topBit != r.bit(T.bits &- 2))
    return r
  }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// CF and OF; the others stay.
  @inline(__always)
  func setRotateFlags(carry: Bool, overflow: Bool) {
    pointee.flag_carry =
      pointee.flag_carry & 8 | (carry ? 1 &<< 63 : 0) | (carry != overflow ? 1 &<< 62 : 0)
  }
}

@inline(__always)
func shift<O: ShiftOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op, _ count: UInt64)
{
  let count = count & (T.bitWidth == 64 ? 63 : 31)
  let a = cpu.get(op.pointee.destination, T.self)
  cpu.set(op.pointee.destination, count == 0 ? a : O.apply(cpu, a, count))
  return next(cpu, op)
}

@inline(__always)
func shiftByConstant<O: ShiftOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  return shift(O.self, T.self, cpu, op, op.pointee.immediate)
}

@inline(__always)
func shiftByCL<O: ShiftOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  return shift(O.self, T.self, cpu, op, cpu.rcx)
}

// MARK: - SHLD, SHRD

/// `detail` is 0 for SHLD, 1 for SHRD; the count is the constant, or CL if the constant is above 255.
@inline(__always)
func doubleShift<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let byCL = op.pointee.immediate > 0xff
  let count = (byCL ? cpu.rcx : op.pointee.immediate) & (T.bitWidth == 64 ? 63 : 31)
  let a = cpu.get(op.pointee.destination, T.self)
  let b = cpu.get(op.pointee.source, T.self)
  guard count != 0 else {
    cpu.set(op.pointee.destination, a)
    return next(cpu, op)
  }
  let r: T
  let carry: Bool
  // Counts above a 16-bit operand's width are undefined; the operands then repeat.
  let n = count > T.bits ? count &- T.bits : count
  let (x, y) = count > T.bits ? (b, a) : (a, b)
  if op.pointee.detail == 0 {
    r = x.shiftedLeft(n) | y.shiftedRight(T.bits &- n)
    carry = x.bit(T.bits &- n)
  } else {
    r = x.shiftedRight(n) | y.shiftedLeft(T.bits &- n)
    carry = x.bit(n &- 1)
  }
  cpu.setFlags(result: r, carry: carry, overflow: r.topBit != a.topBit)
  cpu.set(op.pointee.destination, r)
  return next(cpu, op)
}

let doubleShifts: [Handler] = [
  { doubleShift(UInt16.self, $0, $1) }, { doubleShift(UInt16.self, $0, $1) },
  { doubleShift(UInt32.self, $0, $1) }, { doubleShift(UInt64.self, $0, $1) },
]
