import ArchitectureX86
import CFloat
import CProcessor

// F16C: SDM Vol. 1 §14.4 "Half-Precision Floating-Point Conversion".

/// VCVTPS2PH of four elements, into the lower eight bytes; the immediate chooses the rounding.
private let toHalfPrecision: Handler = { cpu, op in
  let value: SIMD4<Float> = cpu.vector(op.pointee.source)
  let immediate = UInt8(truncatingIfNeeded: op.pointee.immediate)
  guard let result = settled(cpu, op, { x86_cvtps2ph(value, immediate) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

extension Translator {
  /// VCVTPH2PS.
  mutating func vexHalfPrecisionLoad() -> Flow? {
    guard features.hasF16C, namesNone else { return nil }
    return vexSibling({ convert($0, $1, x86_cvtph2ps) }, VectorLoads.quadword)
  }

  /// VCVTPS2PH: the r/m operand is the destination.
  mutating func vexHalfPrecisionStore() -> Flow? {
    guard features.hasF16C, namesNone else { return nil }
    let rounding = i.immediate & 7
    let result = VectorScratch.extra
    emit(toHalfPrecision, d: result, s: i.reg, immediate: rounding, detail: isWide ? 1 : 0)
    if isWide {
      emit(toHalfPrecision, d: VectorScratch.destination, s: upper(i.reg), immediate: rounding)
      emit(VectorMoves.lowToHigh, d: result, s: VectorScratch.destination)
    }
    if i.isMemory {
      emit(isWide ? VectorStores.unaligned : VectorStores.quadword, s: result)
    } else {
      emit(WideMoves.zeroing, d: i.rm, s: result)
    }
    return .sequential
  }
}
