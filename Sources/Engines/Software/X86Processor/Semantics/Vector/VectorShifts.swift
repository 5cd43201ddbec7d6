import CProcessor

// Shifts of packed integers: SDM Vol. 1 §9.4.7 "Shift Instructions". All elements go the same way; counts
// beyond an element's width leave nothing but, in arithmetic shifts, its sign.

/// A shift in its two forms: the count in a register or memory, and in the immediate byte.
struct VectorShift {
  let byRegister: Handler
  let byImmediate: Handler

  init(_ byRegister: Handler, _ byImmediate: Handler) {
    self.byRegister = byRegister
    self.byImmediate = byImmediate
  }

  static let leftWords = VectorShift(
    { shiftByRegister($0, $1) { shiftLeft($0 as Words, $1) } },
    { shiftByImmediate($0, $1) { shiftLeft($0 as Words, $1) } })
  static let leftDoublewords = VectorShift(
    { shiftByRegister($0, $1) { shiftLeft($0 as Doublewords, $1) } },
    { shiftByImmediate($0, $1) { shiftLeft($0 as Doublewords, $1) } })
  static let leftQuadwords = VectorShift(
    { shiftByRegister($0, $1) { shiftLeft($0 as Quadwords, $1) } },
    { shiftByImmediate($0, $1) { shiftLeft($0 as Quadwords, $1) } })
  static let rightWords = VectorShift(
    { shiftByRegister($0, $1) { shiftRight($0 as Words, $1) } },
    { shiftByImmediate($0, $1) { shiftRight($0 as Words, $1) } })
  static let rightDoublewords = VectorShift(
    { shiftByRegister($0, $1) { shiftRight($0 as Doublewords, $1) } },
    { shiftByImmediate($0, $1) { shiftRight($0 as Doublewords, $1) } })
  static let rightQuadwords = VectorShift(
    { shiftByRegister($0, $1) { shiftRight($0 as Quadwords, $1) } },
    { shiftByImmediate($0, $1) { shiftRight($0 as Quadwords, $1) } })
  static let arithmeticWords = VectorShift(
    { shiftByRegister($0, $1) { shiftArithmetic($0 as SignedWords, $1) } },
    { shiftByImmediate($0, $1) { shiftArithmetic($0 as SignedWords, $1) } })
  static let arithmeticDoublewords = VectorShift(
    { shiftByRegister($0, $1) { shiftArithmetic($0 as SignedDoublewords, $1) } },
    { shiftByImmediate($0, $1) { shiftArithmetic($0 as SignedDoublewords, $1) } })

  /// PSLLDQ and PSRLDQ: by bytes, the whole register.
  static let leftWhole: Handler = {
    shiftByImmediate($0, $1) { (a: UInt128, count) in count > 15 ? 0 : a &<< UInt128(count &* 8) }
  }
  static let rightWhole: Handler = {
    shiftByImmediate($0, $1) { (a: UInt128, count) in count > 15 ? 0 : a &>> UInt128(count &* 8) }
  }
}

@inline(__always)
private func shiftByRegister<V: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ shift: (V, UInt64) -> V
) {
  let count = cpu.vector(op.pointee.source, as: UInt64.self)
  cpu.setVector(
    op.pointee.destination, shift(cpu.vector(op.pointee.destination, as: V.self), count))
  return next(cpu, op)
}

@inline(__always)
private func shiftByImmediate<V: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ shift: (V, UInt64) -> V
) {
  let count = op.pointee.immediate & 0xff
  cpu.setVector(
    op.pointee.destination, shift(cpu.vector(op.pointee.destination, as: V.self), count))
  return next(cpu, op)
}

@inline(__always)
private func shiftLeft<V: SIMD>(_ a: V, _ count: UInt64) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  count < UInt64(V.Scalar.bitWidth)
    ? a &<< V(repeating: V.Scalar(truncatingIfNeeded: count)) : V(repeating: 0)
}

@inline(__always)
private func shiftRight<V: SIMD>(_ a: V, _ count: UInt64) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  count < UInt64(V.Scalar.bitWidth)
    ? a &>> V(repeating: V.Scalar(truncatingIfNeeded: count)) : V(repeating: 0)
}

@inline(__always)
private func shiftArithmetic<V: SIMD>(_ a: V, _ count: UInt64) -> V
where V.Scalar: FixedWidthInteger & SignedInteger {
  let count = min(count, UInt64(V.Scalar.bitWidth &- 1))
  return a &>> V(repeating: V.Scalar(truncatingIfNeeded: count))
}
