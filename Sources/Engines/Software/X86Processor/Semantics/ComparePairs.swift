import CProcessor

// A comparison and the conditional jump behind it, in one step: three of four conditional jumps follow a CMP
// or TEST. The jump's own op stays behind the pair, for whoever jumps to it, and holds the target for both.

/// A comparison that knows its conditions without the flags it sets.
protocol PairedComparison {
  associatedtype Operation: BinaryOperation
  /// Whether a condition holds after comparing; the condition is a constant at every call.
  static func holds<T: Width>(_ condition: UInt8, _ a: T, _ b: T) -> Bool
}

enum PairedCompare: PairedComparison {
  typealias Operation = Subtract
  @inline(__always)
  static func holds<T: Width>(_ condition: UInt8, _ a: T, _ b: T) -> Bool {
    switch condition {
    case 2: a < b
    case 3: a >= b
    case 4: a == b
    case 5: a != b
    case 6: a <= b
    case 7: a > b
    case 8: (a &- b).topBit
    case 9: !(a &- b).topBit
    case 12: a.signed < b.signed
    case 13: a.signed >= b.signed
    case 14: a.signed <= b.signed
    default: a.signed > b.signed
    }
  }
}

enum PairedTest: PairedComparison {
  typealias Operation = And
  @inline(__always)
  static func holds<T: Width>(_ condition: UInt8, _ a: T, _ b: T) -> Bool {
    let r = a & b
    return switch condition {
    case 2: false
    case 3: true
    case 4, 6: r == 0
    case 5, 7: r != 0
    case 8, 12: r.topBit
    case 9, 13: !r.topBit
    case 14: r.signed <= 0
    default: r.signed > 0
    }
  }
}

/// Set in the jump's op once its target is known.
let jumpIsLinked: UInt8 = 1

@inline(__always)
private func pair<C: PairedComparison, T: Width>(
  _: C.Type, _ condition: UInt8, _ a: T, _ b: T, _ cpu: CPU, _ op: Op
) {
  _ = C.Operation.apply(cpu, a, b)
  let jump = op + 1
  if C.holds(condition, a, b) {
    if _fastPath(jump.pointee.flags == jumpIsLinked) {
      return goTo(cpu, linked: jump.pointee.immediate)
    }
    return jump.pointee.run(cpu, jump)
  }
  return next(cpu, jump)
}

@inline(__always)
func pairOfSlots<C: PairedComparison, T: Width>(
  _: C.Type, _: T.Type, _ condition: UInt8, _ cpu: CPU, _ op: Op
) {
  return pair(
    C.self, condition, cpu.get(op.pointee.destination, T.self),
    cpu.get(op.pointee.source, T.self), cpu, op)
}

@inline(__always)
func pairWithConstant<C: PairedComparison, T: Width>(
  _: C.Type, _: T.Type, _ condition: UInt8, _ cpu: CPU, _ op: Op
) {
  return pair(
    C.self, condition, cpu.get(op.pointee.destination, T.self),
    T(truncatingIfNeeded: op.pointee.immediate), cpu, op)
}
