import CProcessor

// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT: SDM Vol. 2, by mnemonic.

/// An operation on two operands of one width that sets the status flags.
protocol BinaryOperation {
  static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T
}

/// An operation on one operand.
protocol UnaryOperation {
  static func apply<T: Width>(_ cpu: CPU, _ a: T) -> T
}

enum Add: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a &+ b
    cpu.setFlags(result: r, carries: (a & b) | ((a | b) & ~r))
    return r
  }
}

enum AddWithCarry: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a &+ b &+ T(truncatingIfNeeded: cpu.carry)
    cpu.setFlags(result: r, carries: (a & b) | ((a | b) & ~r))
    return r
  }
}

enum Subtract: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a &- b
    cpu.setFlags(result: r, carries: (~a & b) | ((~a | b) & r))
    return r
  }
}

enum SubtractWithBorrow: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a &- b &- T(truncatingIfNeeded: cpu.carry)
    cpu.setFlags(result: r, carries: (~a & b) | ((~a | b) & r))
    return r
  }
}

enum And: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a & b
    cpu.setLogicFlags(r)
    return r
  }
}

enum Or: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a | b
    cpu.setLogicFlags(r)
    return r
  }
}

enum ExclusiveOr: BinaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T, _ b: T) -> T {
    let r = a ^ b
    cpu.setLogicFlags(r)
    return r
  }
}

enum Increment: UnaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T) -> T {
    let carry = cpu.carryFlag
    let r = a &+ 1
    cpu.setFlags(result: r, carries: a & ~r)
    cpu.setCarryAlone(carry)
    return r
  }
}

enum Decrement: UnaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T) -> T {
    let carry = cpu.carryFlag
    let r = a &- 1
    cpu.setFlags(result: r, carries: ~a & r)
    cpu.setCarryAlone(carry)
    return r
  }
}

enum Negate: UnaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T) -> T {
    let r = 0 &- a
    cpu.setFlags(result: r, carries: a | r)
    return r
  }
}

enum Not: UnaryOperation {
  @inline(__always) static func apply<T: Width>(_ cpu: CPU, _ a: T) -> T { ~a }
}

// MARK: - Handlers over registers and temporaries

@inline(__always)
func binary<O: BinaryOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(
    op.pointee.destination,
    O.apply(cpu, cpu.get(op.pointee.destination, T.self), cpu.get(op.pointee.source)))
  return next(cpu, op)
}

@inline(__always)
func binaryImmediate<O: BinaryOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(
    op.pointee.destination,
    O.apply(
      cpu, cpu.get(op.pointee.destination, T.self), T(truncatingIfNeeded: op.pointee.immediate)))
  return next(cpu, op)
}

/// CMP and TEST: flags only.
@inline(__always)
func compare<O: BinaryOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  _ = O.apply(cpu, cpu.get(op.pointee.destination, T.self), cpu.get(op.pointee.source))
  return next(cpu, op)
}

@inline(__always)
func compareImmediate<O: BinaryOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  _ = O.apply(
    cpu, cpu.get(op.pointee.destination, T.self), T(truncatingIfNeeded: op.pointee.immediate))
  return next(cpu, op)
}

@inline(__always)
func unary<O: UnaryOperation, T: Width>(_: O.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(op.pointee.destination, O.apply(cpu, cpu.get(op.pointee.destination, T.self)))
  return next(cpu, op)
}
