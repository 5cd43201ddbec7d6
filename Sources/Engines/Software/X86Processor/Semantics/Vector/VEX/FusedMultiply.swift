import ArchitectureX86
import CFloat
import CProcessor

// FMA: SDM Vol. 1 §14.5 "Fused-Multiply-ADD (FMA) Extensions". The three forms of an instruction say which
// operands are multiplied; `immediate` is the form, `base` the first source, `index` the register that takes
// the result.

private enum Form {
  static let multiplyDestination: UInt64 = 9  // 132: destination × second source + first
  static let addSource: UInt64 = 10  // 213: first source × destination + second
}

/// The factors and the term of an operation.
@inline(__always)
private func operands<V: BitwiseCopyable>(_ cpu: CPU, _ op: Op, _: V.Type) -> (V, V, V) {
  let a: V = cpu.vector(op.pointee.destination)
  let b: V = cpu.vector(op.pointee.base)
  let c: V = cpu.vector(op.pointee.source)
  switch op.pointee.immediate {
  case Form.multiplyDestination: return (a, c, b)
  case Form.addSource: return (b, a, c)
  default: return (b, c, a)
  }
}

@inline(__always)
private func fused<V: BitwiseCopyable>(_ cpu: CPU, _ op: Op, _ operation: (V, V, V) -> V) {
  let (x, y, z) = operands(cpu, op, V.self)
  guard let result = settled(cpu, op, { operation(x, y, z) }) else { return }
  cpu.setVector(op.pointee.index, result)
  return next(cpu, op)
}

/// Of one element; the others are the destination's.
@inline(__always)
private func fusedScalar<V: SIMD>(_ cpu: CPU, _ op: Op, _ operation: (V, V, V) -> V)
where V: BitwiseCopyable {
  let (x, y, z) = operands(cpu, op, V.self)
  guard let result = settled(cpu, op, { operation(x, y, z) }) else { return }
  var merged: V = cpu.vector(op.pointee.destination)
  merged[0] = result[0]
  cpu.setVector(op.pointee.index, merged)
  return next(cpu, op)
}

/// By the opcode's low four bits, from 6 on; singles, then doubles.
private let fusedHandlers: [(single: Handler, double: Handler)] = [
  ({ fused($0, $1, x86_fmaddsubps) }, { fused($0, $1, x86_fmaddsubpd) }),
  ({ fused($0, $1, x86_fmsubaddps) }, { fused($0, $1, x86_fmsubaddpd) }),
  ({ fused($0, $1, x86_fmaddps) }, { fused($0, $1, x86_fmaddpd) }),
  ({ fusedScalar($0, $1, x86_fmaddss) }, { fusedScalar($0, $1, x86_fmaddsd) }),
  ({ fused($0, $1, x86_fmsubps) }, { fused($0, $1, x86_fmsubpd) }),
  ({ fusedScalar($0, $1, x86_fmsubss) }, { fusedScalar($0, $1, x86_fmsubsd) }),
  ({ fused($0, $1, x86_fnmaddps) }, { fused($0, $1, x86_fnmaddpd) }),
  ({ fusedScalar($0, $1, x86_fnmaddss) }, { fusedScalar($0, $1, x86_fnmaddsd) }),
  ({ fused($0, $1, x86_fnmsubps) }, { fused($0, $1, x86_fnmsubpd) }),
  ({ fusedScalar($0, $1, x86_fnmsubss) }, { fusedScalar($0, $1, x86_fnmsubsd) }),
]

extension Translator {
  /// 0F 38 96 to 9F, A6 to AF, B6 to BF.
  mutating func fusedMultiply() -> Flow? {
    let kind = Int(i.opcode & 15)
    guard kind >= 6 else { return nil }
    let forms = fusedHandlers[kind - 6]
    let handler = isW ? forms.double : forms.single
    let isScalar = kind > 8 && kind & 1 != 0
    let wide = isWide && !isScalar
    let source = vectorSource(
      isScalar
        ? (isW ? VectorLoads.quadword : VectorLoads.doubleword)
        : wide ? VectorLoads.wide : VectorLoads.unaligned)
    let form = UInt64(i.opcode >> 4)
    let target = wide ? VectorScratch.destination : i.reg
    emit(
      handler, d: i.reg, s: source, immediate: form, base: firstSource, index: target,
      detail: wide ? 1 : 0)
    if wide {
      emit(
        handler, d: upper(i.reg), s: upper(source), immediate: form, base: upper(firstSource),
        index: upper(target))
      emit(WideMoves.whole, d: i.reg, s: target)
    } else {
      emit(WideMoves.clearUpper, d: i.reg)
    }
    return .sequential
  }
}
