import ArchitectureX86
import CFloat
import CProcessor

// Floating-point instructions of SSE, SSE2 and SSE3: SDM Vol. 1 chapters 10 to 12. What they compute is
// CFloat's; here is where operands come from, and what happens with exceptions.

// MARK: - Exceptions

/// Carries out an operation, and answers its result; `nil` if it raised an exception that the guest has not masked, which
/// is then reported. SDM Vol. 1 §11.5 "SSE, SSE2, and SSE3 Exceptions".
@inline(__always)
func settled<R>(_ cpu: CPU, _ op: Op, _ operation: () -> R) -> R? {
  let result = operation()
  if _fastPath(cpu.pointee.mxcsr & MXCSR.masks == MXCSR.masks) { return result }
  x86_begin_trial(cpu.pointee.mxcsr)
  _ = operation()
  return settleTrial(cpu, op) ? result : nil
}

@inline(never)
private func settleTrial(_ cpu: CPU, _ op: Op) -> Bool {
  x86_end_trial(MXCSR.masks | cpu.pointee.mxcsr & MXCSR.modes)
  // The lower half of an operation on 256 bits: the upper half reports for both.
  if op.pointee.detail != 0 { return true }
  var raised = x86_take_raised()
  let unmasked = raised & ~(cpu.pointee.mxcsr &>> 7)
  // An exception of operands keeps a result from being computed, and so from being rounded.
  if unmasked & MXCSR.operandFlags != 0 { raised &= MXCSR.operandFlags }
  cpu.pointee.mxcsr |= raised
  guard unmasked != 0 else { return true }
  raise(
    cpu, op,
    cpu.pointee.cr4 & X86.CR4.simdExceptions != 0
      ? X86.Exception.simd : X86.Exception.invalidOpcode)
  return false
}

// MARK: - Shapes of handlers

/// An operation on destination and source.
@inline(__always)
func floats<V: BitwiseCopyable>(_ cpu: CPU, _ op: Op, _ operation: (V, V) -> V) {
  let a: V = cpu.vector(op.pointee.destination)
  let b: V = cpu.vector(op.pointee.source)
  guard let result = settled(cpu, op, { operation(a, b) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

/// One whose destination is an operand of another kind, if at all.
@inline(__always)
func floats<V: BitwiseCopyable, W: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ operation: (V, W) -> V
) {
  let a: V = cpu.vector(op.pointee.destination)
  let b: W = cpu.vector(op.pointee.source)
  guard let result = settled(cpu, op, { operation(a, b) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

/// A conversion of the source.
@inline(__always)
func convert<V: BitwiseCopyable, R: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ operation: (V) -> R
) {
  let value: V = cpu.vector(op.pointee.source)
  guard let result = settled(cpu, op, { operation(value) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

/// COMISS, UCOMISS, COMISD, UCOMISD.
@inline(__always)
func compareIntoFlags<V: BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _ compare: (V, V) -> UInt64
) {
  let a: V = cpu.vector(op.pointee.destination)
  let b: V = cpu.vector(op.pointee.source)
  guard let flags = settled(cpu, op, { compare(a, b) }) else { return }
  cpu.setComparison(zero: flags & 0x40 != 0, parity: flags & 4 != 0, carry: flags & 1 != 0)
  return next(cpu, op)
}

// MARK: - Translation

/// An operation in its four forms.
struct FloatForms {
  let packedSingle: Handler
  let packedDouble: Handler
  let scalarSingle: Handler
  let scalarDouble: Handler

  init(_ ps: Handler, _ pd: Handler, _ ss: Handler, _ sd: Handler) {
    packedSingle = ps
    packedDouble = pd
    scalarSingle = ss
    scalarDouble = sd
  }
}

/// Floating-point operations and comparisons: 0F 2E, 2F, 51 to 59, 5C to 5F, 7C, 7D, C2 and D0.
extension Translator {
  mutating func vectorFloat() -> Flow? {
    if let forms = Self.floatForms(i.opcode) { return float(forms) }
    switch (i.mandatoryPrefix, i.opcode) {
    case (_, 0xc2) where i.vex != nil: return float(Self.anyComparison)
    case (_, 0xc2): return Self.comparison(i.immediate & 7).flatMap { float($0) }

    case (0, 0x2e): return vector({ compareIntoFlags($0, $1, x86_ucomiss) }, VectorLoads.doubleword)
    case (0x66, 0x2e):
      return vector({ compareIntoFlags($0, $1, x86_ucomisd) }, VectorLoads.quadword)
    case (0, 0x2f): return vector({ compareIntoFlags($0, $1, x86_comiss) }, VectorLoads.doubleword)
    case (0x66, 0x2f): return vector({ compareIntoFlags($0, $1, x86_comisd) }, VectorLoads.quadword)

    // The approximations raise no exceptions.
    case (0, 0x52): return vector { lanes($0, $1, x86_rsqrtps) }
    case (0xf3, 0x52): return vector({ lanes($0, $1, x86_rsqrtss) }, VectorLoads.doubleword)
    case (0, 0x53): return vector { lanes($0, $1, x86_rcpps) }
    case (0xf3, 0x53): return vector({ lanes($0, $1, x86_rcpss) }, VectorLoads.doubleword)

    case (0, 0x54), (0x66, 0x54): return vector { lanes($0, $1) { (a: Quadwords, b) in a & b } }
    case (0, 0x55), (0x66, 0x55): return vector { lanes($0, $1) { (a: Quadwords, b) in ~a & b } }
    case (0, 0x56), (0x66, 0x56): return vector { lanes($0, $1) { (a: Quadwords, b) in a | b } }
    case (0, 0x57), (0x66, 0x57): return vector { lanes($0, $1) { (a: Quadwords, b) in a ^ b } }

    case (0x66, 0x7c): return vector { floats($0, $1, x86_haddpd) }
    case (0xf2, 0x7c): return vector { floats($0, $1, x86_haddps) }
    case (0x66, 0x7d): return vector { floats($0, $1, x86_hsubpd) }
    case (0xf2, 0x7d): return vector { floats($0, $1, x86_hsubps) }
    case (0x66, 0xd0): return vector { floats($0, $1, x86_addsubpd) }
    case (0xf2, 0xd0): return vector { floats($0, $1, x86_addsubps) }
    default: return nil
    }
  }

  /// The form that the prefix chooses, with a memory operand as long as that takes.
  private mutating func float(_ forms: FloatForms) -> Flow? {
    switch i.mandatoryPrefix {
    case 0: vector(forms.packedSingle)
    case 0x66: vector(forms.packedDouble)
    case 0xf3: vector(forms.scalarSingle, VectorLoads.doubleword)
    default: vector(forms.scalarDouble, VectorLoads.quadword)
    }
  }

  private static func floatForms(_ opcode: UInt8) -> FloatForms? {
    switch opcode {
    case 0x51:
      FloatForms(
        { floats($0, $1, x86_sqrtps) }, { floats($0, $1, x86_sqrtpd) },
        { floats($0, $1, x86_sqrtss) }, { floats($0, $1, x86_sqrtsd) })
    case 0x58:
      FloatForms(
        { floats($0, $1, x86_addps) }, { floats($0, $1, x86_addpd) },
        { floats($0, $1, x86_addss) }, { floats($0, $1, x86_addsd) })
    case 0x59:
      FloatForms(
        { floats($0, $1, x86_mulps) }, { floats($0, $1, x86_mulpd) },
        { floats($0, $1, x86_mulss) }, { floats($0, $1, x86_mulsd) })
    case 0x5c:
      FloatForms(
        { floats($0, $1, x86_subps) }, { floats($0, $1, x86_subpd) },
        { floats($0, $1, x86_subss) }, { floats($0, $1, x86_subsd) })
    case 0x5d:
      FloatForms(
        { floats($0, $1, x86_minps) }, { floats($0, $1, x86_minpd) },
        { floats($0, $1, x86_minss) }, { floats($0, $1, x86_minsd) })
    case 0x5e:
      FloatForms(
        { floats($0, $1, x86_divps) }, { floats($0, $1, x86_divpd) },
        { floats($0, $1, x86_divss) }, { floats($0, $1, x86_divsd) })
    case 0x5f:
      FloatForms(
        { floats($0, $1, x86_maxps) }, { floats($0, $1, x86_maxpd) },
        { floats($0, $1, x86_maxss) }, { floats($0, $1, x86_maxsd) })
    default: nil
    }
  }

  /// VCMPPS and its kin, whose immediate chooses among 32 predicates.
  private static let anyComparison = FloatForms(
    { floats($0, $1, immediate: x86_compareps) }, { floats($0, $1, immediate: x86_comparepd) },
    { floats($0, $1, immediate: x86_comparess) }, { floats($0, $1, immediate: x86_comparesd) })

  /// CMPPS and its kin, by predicate: SDM Vol. 2 Table 3-1 "Comparison Predicate for CMPPD and CMPPS
  /// Instructions".
  private static func comparison(_ predicate: UInt64) -> FloatForms? {
    switch predicate {
    case 0:
      FloatForms(
        { floats($0, $1, x86_cmpeqps) }, { floats($0, $1, x86_cmpeqpd) },
        { floats($0, $1, x86_cmpeqss) }, { floats($0, $1, x86_cmpeqsd) })
    case 1:
      FloatForms(
        { floats($0, $1, x86_cmpltps) }, { floats($0, $1, x86_cmpltpd) },
        { floats($0, $1, x86_cmpltss) }, { floats($0, $1, x86_cmpltsd) })
    case 2:
      FloatForms(
        { floats($0, $1, x86_cmpleps) }, { floats($0, $1, x86_cmplepd) },
        { floats($0, $1, x86_cmpless) }, { floats($0, $1, x86_cmplesd) })
    case 3:
      FloatForms(
        { floats($0, $1, x86_cmpunordps) }, { floats($0, $1, x86_cmpunordpd) },
        { floats($0, $1, x86_cmpunordss) }, { floats($0, $1, x86_cmpunordsd) })
    case 4:
      FloatForms(
        { floats($0, $1, x86_cmpneqps) }, { floats($0, $1, x86_cmpneqpd) },
        { floats($0, $1, x86_cmpneqss) }, { floats($0, $1, x86_cmpneqsd) })
    case 5:
      FloatForms(
        { floats($0, $1, x86_cmpnltps) }, { floats($0, $1, x86_cmpnltpd) },
        { floats($0, $1, x86_cmpnltss) }, { floats($0, $1, x86_cmpnltsd) })
    case 6:
      FloatForms(
        { floats($0, $1, x86_cmpnleps) }, { floats($0, $1, x86_cmpnlepd) },
        { floats($0, $1, x86_cmpnless) }, { floats($0, $1, x86_cmpnlesd) })
    case 7:
      FloatForms(
        { floats($0, $1, x86_cmpordps) }, { floats($0, $1, x86_cmpordpd) },
        { floats($0, $1, x86_cmpordss) }, { floats($0, $1, x86_cmpordsd) })
    default: nil
    }
  }
}
