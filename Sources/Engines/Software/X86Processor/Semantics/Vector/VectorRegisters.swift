import CProcessor

// The XMM registers as operands. Ops name them by index, not by offset: 0 to 15 are XMM0 to XMM15, the next
// four are scratch, and the twenty behind those are the upper halves of them all. An operation on packed
// elements is a closure on SIMD values, one lane an element.

typealias Bytes = SIMD16<UInt8>
typealias SignedBytes = SIMD16<Int8>
typealias Words = SIMD8<UInt16>
typealias SignedWords = SIMD8<Int16>
typealias Doublewords = SIMD4<UInt32>
typealias SignedDoublewords = SIMD4<Int32>
typealias Quadwords = SIMD2<UInt64>
typealias SignedQuadwords = SIMD2<Int64>
typealias Singles = SIMD4<Float>
typealias Doubles = SIMD2<Double>

/// Indices of vector registers that no instruction names.
enum VectorScratch {
  /// Where a memory operand is loaded.
  static let source: UInt8 = 16
  /// An MMX register's stand-in.
  static let destination: UInt8 = 17
  /// Where instructions of several steps keep what they have so far.
  static let extra: UInt8 = 18
}

/// The index of the upper half of a YMM register or of scratch.
@inline(__always)
func upper(_ index: UInt8) -> UInt8 { index &+ UInt8(X86_VECTOR_UPPER) }

extension UnsafeMutablePointer<x86_cpu> {
  /// The bytes of a vector register.
  @inline(__always)
  func vectorBytes(_ index: UInt8) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(self) + MemoryLayout<x86_cpu>.offset(of: \.vector)! + Int(index) &* 16
  }

  @inline(__always)
  func vector<V: BitwiseCopyable>(_ index: UInt8, as _: V.Type = V.self) -> V {
    vectorBytes(index).load(as: V.self)
  }

  @inline(__always)
  func setVector<V: BitwiseCopyable>(_ index: UInt8, _ value: V) {
    vectorBytes(index).storeBytes(of: value, as: V.self)
  }
}

// MARK: - Shapes of handlers

/// Destination and source make the new destination.
@inline(__always)
func lanes<V: BitwiseCopyable, R: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ operation: (V, V) -> R
) {
  let a = cpu.vector(op.pointee.destination, as: V.self)
  let b = cpu.vector(op.pointee.source, as: V.self)
  cpu.setVector(op.pointee.destination, operation(a, b))
  return next(cpu, op)
}

/// The source alone makes the new destination.
@inline(__always)
func lane<V: BitwiseCopyable, R: BitwiseCopyable>(_ cpu: CPU, _ op: Op, _ operation: (V) -> R) {
  cpu.setVector(op.pointee.destination, operation(cpu.vector(op.pointee.source, as: V.self)))
  return next(cpu, op)
}

/// Destination, source and the immediate byte make the new destination.
@inline(__always)
func lanes<V: BitwiseCopyable, R: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, immediate operation: (V, V, UInt8) -> R
) {
  let a = cpu.vector(op.pointee.destination, as: V.self)
  let b = cpu.vector(op.pointee.source, as: V.self)
  cpu.setVector(
    op.pointee.destination, operation(a, b, UInt8(truncatingIfNeeded: op.pointee.immediate)))
  return next(cpu, op)
}

// MARK: - Views of the same bits

/// All ones in the lanes where a comparison holds.
@inline(__always)
func ones<V: SIMD, R: BitwiseCopyable>(_ mask: SIMDMask<V>) -> R {
  unsafeBitCast(mask, to: R.self)
}

/// A vector as one of lanes of another kind.
@inline(__always)
func cast<A: BitwiseCopyable, B: BitwiseCopyable>(_ value: A, to _: B.Type = B.self) -> B {
  unsafeBitCast(value, to: B.self)
}
