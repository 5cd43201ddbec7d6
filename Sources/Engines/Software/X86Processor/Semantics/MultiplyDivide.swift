import ArchitectureX86
import CProcessor

// MUL, IMUL, DIV, IDIV: SDM Vol. 2. SF, ZF, AF and PF are undefined after a multiplication: they follow the
// low half of the product.

extension UnsafeMutablePointer<x86_cpu> {
  /// The upper half of a double-width operand: AH for bytes, else (E/R)DX.
  @inline(__always)
  func upperSlot<T: Width>(_: T.Type) -> UInt8 { T.bitWidth == 8 ? Slot.rax &+ 1 : Slot.rdx }
}

@inline(__always)
func multiply<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let (high, low) = cpu.get(Slot.rax, T.self).multipliedFullWidth(
    by: cpu.get(op.pointee.source, T.self))
  let low_ = T(truncatingIfNeeded: low)
  cpu.set(Slot.rax, low_)
  cpu.set(cpu.upperSlot(T.self), high)
  cpu.setFlags(result: low_, carry: high != 0, overflow: high != 0)
  return next(cpu, op)
}

@inline(__always)
func multiplySigned<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let (high, low) = cpu.get(Slot.rax, T.self).signed.multipliedFullWidth(
    by: cpu.get(op.pointee.source, T.self).signed)
  let product = T(truncatingIfNeeded: low)
  let top = T(bitPattern: high)
  cpu.set(Slot.rax, product)
  cpu.set(cpu.upperSlot(T.self), top)
  let overflow = top != (product.topBit ? T.max : 0)
  cpu.setFlags(result: product, carry: overflow, overflow: overflow)
  return next(cpu, op)
}

/// IMUL with two or three operands: destination = source × (constant, or the slot in `base`).
@inline(__always)
func multiplyTruncated<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op, _ a: T, _ b: T) {
  let (product, overflow) = a.signed.multipliedReportingOverflow(by: b.signed)
  let r = T(bitPattern: product)
  cpu.setFlags(result: r, carry: overflow, overflow: overflow)
  cpu.set(op.pointee.destination, r)
  return next(cpu, op)
}

@inline(__always)
func divide<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let divisor = cpu.get(op.pointee.source, T.self)
  let high = cpu.get(cpu.upperSlot(T.self), T.self)
  guard high < divisor else { return raise(cpu, op, X86.Exception.divideError) }
  let low = cpu.get(Slot.rax, T.self)
  let (quotient, remainder) = divisor.dividingFullWidth(
    (high, T.Magnitude(truncatingIfNeeded: low)))
  cpu.set(Slot.rax, quotient)
  cpu.set(cpu.upperSlot(T.self), remainder)
  return next(cpu, op)
}

@inline(__always)
func divideSigned<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let divisor = cpu.get(op.pointee.source, T.self)
  var high = cpu.get(cpu.upperSlot(T.self), T.self)
  var low = cpu.get(Slot.rax, T.self)
  let isNegative = high.topBit
  if isNegative {
    low = 0 &- low
    high = ~high &+ (low == 0 ? 1 : 0)
  }
  let magnitude = divisor.topBit ? 0 &- divisor : divisor
  guard high < magnitude else { return raise(cpu, op, X86.Exception.divideError) }
  let (quotient, remainder) = magnitude.dividingFullWidth(
    (high, T.Magnitude(truncatingIfNeeded: low)))
  let negativeQuotient = isNegative != divisor.topBit
  let limit: T = 1 &<< T(truncatingIfNeeded: T.bits &- 1)
  guard negativeQuotient ? quotient <= limit : quotient < limit else {
    return raise(cpu, op, X86.Exception.divideError)
  }
  cpu.set(Slot.rax, negativeQuotient ? 0 &- quotient : quotient)
  cpu.set(cpu.upperSlot(T.self), isNegative ? 0 &- remainder : remainder)
  return next(cpu, op)
}

let multiplications: [Handler] = [
  { multiply(UInt8.self, $0, $1) }, { multiply(UInt16.self, $0, $1) },
  { multiply(UInt32.self, $0, $1) }, { multiply(UInt64.self, $0, $1) },
]
let signedMultiplications: [Handler] = [
  { multiplySigned(UInt8.self, $0, $1) }, { multiplySigned(UInt16.self, $0, $1) },
  { multiplySigned(UInt32.self, $0, $1) }, { multiplySigned(UInt64.self, $0, $1) },
]
let divisions: [Handler] = [
  { divide(UInt8.self, $0, $1) }, { divide(UInt16.self, $0, $1) },
  { divide(UInt32.self, $0, $1) }, { divide(UInt64.self, $0, $1) },
]
let signedDivisions: [Handler] = [
  { divideSigned(UInt8.self, $0, $1) }, { divideSigned(UInt16.self, $0, $1) },
  { divideSigned(UInt32.self, $0, $1) }, { divideSigned(UInt64.self, $0, $1) },
]

@inline(__always)
func multiplyBySlot<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  return multiplyTruncated(
    T.self, cpu, op, cpu.get(op.pointee.destination), cpu.get(op.pointee.source))
}

@inline(__always)
func multiplyByConstant<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  return multiplyTruncated(
    T.self, cpu, op, cpu.get(op.pointee.source), T(truncatingIfNeeded: op.pointee.immediate))
}

/// By width; there is no byte form.
let multiplicationsBySlot: [Handler] = [
  { multiplyBySlot(UInt16.self, $0, $1) }, { multiplyBySlot(UInt16.self, $0, $1) },
  { multiplyBySlot(UInt32.self, $0, $1) }, { multiplyBySlot(UInt64.self, $0, $1) },
]
let multiplicationsByConstant: [Handler] = [
  { multiplyByConstant(UInt16.self, $0, $1) }, { multiplyByConstant(UInt16.self, $0, $1) },
  { multiplyByConstant(UInt32.self, $0, $1) }, { multiplyByConstant(UInt64.self, $0, $1) },
]
