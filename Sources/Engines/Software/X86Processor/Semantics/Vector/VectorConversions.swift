import CFloat
import CProcessor

// Conversions between integers and floating-point formats: SDM Vol. 1 §10.4.3, §11.4.1.6. What cannot
// be represented becomes the "integer indefinite" value.

/// To a general register.
@inline(__always)
private func convertToGeneral<V: BitwiseCopyable, R: FixedWidthInteger>(
  _ cpu: CPU, _ op: Op, _ operation: (V) -> R
) {
  let value: V = cpu.vector(op.pointee.source)
  guard let result = settled(cpu, op, { operation(value) }) else { return }
  if R.bitWidth == 32 {
    cpu.set(op.pointee.destination, UInt32(truncatingIfNeeded: result))
  } else {
    cpu.set(op.pointee.destination, UInt64(truncatingIfNeeded: result))
  }
  return next(cpu, op)
}

/// From a general register or a temporary.
@inline(__always)
private func convertFromGeneral<V: BitwiseCopyable, T: Width>(
  _ cpu: CPU, _ op: Op, _: T.Type, _ operation: (V, T.Signed) -> V
) {
  let vector: V = cpu.vector(op.pointee.destination)
  let integer = cpu.get(op.pointee.source, T.self).signed
  guard let result = settled(cpu, op, { operation(vector, integer) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

/// CVTPI2PS: the low two elements.
@inline(__always)
private func convertPair(_ a: Singles, _ b: SignedDoublewords) -> Singles {
  let low = x86_cvtdq2ps(SignedDoublewords(b.x, b.y, 0, 0))
  return Singles(low.x, low.y, a.z, a.w)
}

/// The low two elements, so that the others raise no exceptions.
@inline(__always)
private func pair(_ b: Singles) -> Singles { Singles(b.x, b.y, 0, 0) }

/// 0F 2A, 2C, 2D, 5A, 5B and E6.
extension Translator {
  mutating func vectorConversion() -> Flow? {
    let wide = i.rex & 8 != 0
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0x5a): return vector({ convert($0, $1, x86_cvtps2pd) }, VectorLoads.quadword)
    case (0x66, 0x5a): return vector { convert($0, $1, x86_cvtpd2ps) }
    case (0xf3, 0x5a): return vector({ floats($0, $1, x86_cvtss2sd) }, VectorLoads.doubleword)
    case (0xf2, 0x5a): return vector({ floats($0, $1, x86_cvtsd2ss) }, VectorLoads.quadword)
    case (0, 0x5b): return vector { convert($0, $1, x86_cvtdq2ps) }
    case (0x66, 0x5b): return vector { convert($0, $1, x86_cvtps2dq) }
    case (0xf3, 0x5b): return vector { convert($0, $1, x86_cvttps2dq) }
    case (0x66, 0xe6): return vector { convert($0, $1, x86_cvttpd2dq) }
    case (0xf3, 0xe6): return vector({ convert($0, $1, x86_cvtdq2pd) }, VectorLoads.quadword)
    case (0xf2, 0xe6): return vector { convert($0, $1, x86_cvtpd2dq) }

    case (0xf3, 0x2a):
      return fromGeneral(
        wide
          ? { convertFromGeneral($0, $1, UInt64.self, x86_cvtsi2ss_int64_t) }
          : { convertFromGeneral($0, $1, UInt32.self, x86_cvtsi2ss_int32_t) })
    case (0xf2, 0x2a):
      return fromGeneral(
        wide
          ? { convertFromGeneral($0, $1, UInt64.self, x86_cvtsi2sd_int64_t) }
          : { convertFromGeneral($0, $1, UInt32.self, x86_cvtsi2sd_int32_t) })
    case (0xf3, 0x2c):
      return toGeneral(
        VectorLoads.doubleword,
        wide
          ? { convertToGeneral($0, $1, x86_cvttss2si_int64_t) }
          : { convertToGeneral($0, $1, x86_cvttss2si_int32_t) })
    case (0xf2, 0x2c):
      return toGeneral(
        VectorLoads.quadword,
        wide
          ? { convertToGeneral($0, $1, x86_cvttsd2si_int64_t) }
          : { convertToGeneral($0, $1, x86_cvttsd2si_int32_t) })
    case (0xf3, 0x2d):
      return toGeneral(
        VectorLoads.doubleword,
        wide
          ? { convertToGeneral($0, $1, x86_cvtss2si_int64_t) }
          : { convertToGeneral($0, $1, x86_cvtss2si_int32_t) })
    case (0xf2, 0x2d):
      return toGeneral(
        VectorLoads.quadword,
        wide
          ? { convertToGeneral($0, $1, x86_cvtsd2si_int64_t) }
          : { convertToGeneral($0, $1, x86_cvtsd2si_int32_t) })

    case (0, 0x2a): return fromMMX { floats($0, $1, convertPair) }  // CVTPI2PS
    case (0x66, 0x2a): return fromMMX { convert($0, $1, x86_cvtdq2pd) }  // CVTPI2PD
    case (0, 0x2c):  // CVTTPS2PI
      return toMMX(VectorLoads.quadword) { convert($0, $1) { x86_cvttps2dq(pair($0)) } }
    case (0, 0x2d):  // CVTPS2PI
      return toMMX(VectorLoads.quadword) { convert($0, $1) { x86_cvtps2dq(pair($0)) } }
    case (0x66, 0x2c):  // CVTTPD2PI
      return toMMX(VectorLoads.aligned) { convert($0, $1, x86_cvttpd2dq) }
    case (0x66, 0x2d):  // CVTPD2PI
      return toMMX(VectorLoads.aligned) { convert($0, $1, x86_cvtpd2dq) }
    default: return nil
    }
  }

  private mutating func fromGeneral(_ handler: Handler) -> Flow {
    let source = rmSource(i.rex & 8 != 0 ? 3 : 2)
    if i.vex != nil {
      emitHalves(
        handler, d: i.reg, first: firstSource, s: source, wide: false, VEXShape(mayRaise: true),
        sourceIsVector: false)
    } else {
      emit(handler, d: i.reg, s: source)
    }
    return .sequential
  }

  private mutating func toGeneral(_ load: MemoryHandlers, _ handler: Handler) -> Flow {
    emit(handler, d: Slot.register(i.reg), s: vectorSource(load))
    return .sequential
  }

  /// From a pair of integers. In memory, they leave MMX state alone.
  private mutating func fromMMX(_ handler: Handler) -> Flow {
    if i.isMemory {
      emit(VectorLoads.quadword, d: VectorScratch.source)
      emit(handler, d: i.reg, s: VectorScratch.source)
    } else {
      emit(MMX.gatherSource, s: i.rm & 7)
      emit(handler, d: i.reg, s: VectorScratch.source)
      emit(MMX.commitNothing)
    }
    return .sequential
  }

  private mutating func toMMX(_ load: MemoryHandlers, _ handler: Handler) -> Flow {
    let source = vectorSource(load)
    emit(MMX.begin)
    emit(handler, d: VectorScratch.destination, s: source)
    emit(MMX.commitLow, d: i.reg & 7, s: VectorScratch.destination)
    return .sequential
  }
}
