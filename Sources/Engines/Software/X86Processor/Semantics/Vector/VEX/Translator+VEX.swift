import ArchitectureX86
import CProcessor

/// Instructions with a VEX prefix: SDM Vol. 1 chapter 14, Vol. 2A §2.3.
///
/// Ops have two operands, a destination and a source, and 128 bits. So the first source is copied to the
/// destination, the SSE instruction's handler works on the lower half and then on the upper one, which are
/// registers like any others.
extension Translator {
  mutating func vex() -> Flow {
    let start = count
    guard let vex = i.vex, !vex.isInvalid, let flow = vexGeneral() ?? vexVector() else {
      takeBack(to: start)
      return undefined()
    }
    return flow
  }

  private mutating func vexVector() -> Flow? {
    guard features.hasAVX else { return nil }
    if vectorDisabled || i.mode != .bits64 { emit(VectorAvailability.requireAVX) }
    if let flow = vexMove() ?? vexOnly() { return flow }
    guard let shape = VEXShape.of(i), permits(shape) else { return nil }
    switch i.map {
    case .oneByte: return nil
    case .twoByte: return vectorFloat() ?? vectorConversion() ?? vectorInteger()
    case .threeByte38: return vectorThreeByte38()
    case .threeByte3A: return vectorThreeByte3A()
    }
  }

  // MARK: - The prefix

  var isWide: Bool { i.vex?.isWide ?? false }
  var isW: Bool { i.vex?.isW ?? false }
  /// Whether VEX.vvvv is as it must be where it names nothing.
  var namesNone: Bool { i.vex?.namesNone ?? false }
  /// The register that VEX.vvvv names.
  var firstSource: UInt8 { i.vex?.register ?? 0 }

  private func permits(_ shape: VEXShape) -> Bool {
    if !shape.hasFirstSource, !namesNone { return false }
    if shape.isScalar { return true }
    switch shape.cipher {
    case .aes:
      // Only what also works on halves has a form of 256 bits.
      return isWide ? !shape.isShort && features.hasVAES : features.hasAES
    case .multiplication: return isWide ? features.hasVPCLMULQDQ : features.hasPCLMULQDQ
    case nil: break
    }
    return !isWide || !shape.isShort && (!shape.isInteger || features.hasAVX2)
  }

  // MARK: - Operands

  /// A vector operand in memory, as long as the instruction's vectors are.
  var wholeLoad: MemoryHandlers { isWide ? VectorLoads.wide : VectorLoads.unaligned }

  /// Immediates for both halves.
  private func immediates(_ shift: UInt64) -> (UInt64, UInt64) {
    let byte = i.immediate & 0xff
    return (byte, byte >> shift)
  }

  /// The instruction that `handler` is on 128 bits with two operands.
  mutating func vexSibling(_ handler: Handler, _ load: MemoryHandlers?) -> Flow {
    guard let shape = VEXShape.of(i) else { return undefined() }
    if shape.isComparison {
      emit(handler, d: i.reg, s: vectorSource(load ?? VectorLoads.unaligned))
      return .sequential
    }
    if isWide, shape.widensFrom != 0 { return widening(handler, shape) }
    if isWide, shape.narrows { return narrowing(handler) }
    let wide = isWide && !shape.isScalar
    let whole = wide && !shape.sharesSource ? VectorLoads.wide : VectorLoads.unaligned
    let source = vectorSource(load ?? whole)
    emitHalves(
      handler, d: i.reg, first: shape.hasFirstSource ? firstSource : nil, s: source, wide: wide,
      immediates: immediates(shape.immediateShift), shape)
    return .sequential
  }

  /// A step of two operands as an instruction of three, on one half or both; the rest becomes zero.
  ///
  /// - Parameters:
  ///   - first: the first source; `nil`: there is none.
  ///   - sourceIsVector: whether `s` is a vector register, and not a general one's slot.
  mutating func emitHalves(
    _ handler: Handler, d: UInt8, first: UInt8?, s: UInt8, wide: Bool,
    immediates: (UInt64, UInt64) = (0, 0), _ shape: VEXShape = VEXShape(),
    sourceIsVector: Bool = true
  ) {
    let copies = first != nil && first != d
    let target = shape.mayRaise && (wide || copies) ? VectorScratch.destination : d
    var source = s
    let isOverwritten = copies || (wide && shape.sharesSource)
    if sourceIsVector, s == target, isOverwritten {
      source = VectorScratch.source
      emit(wide ? WideMoves.whole : WideMoves.zeroing, d: source, s: s)
    }
    if let first, first != target {
      emit(wide ? WideMoves.whole : WideMoves.zeroing, d: target, s: first)
    }
    emit(handler, d: target, s: source, immediate: immediates.0, detail: wide ? 1 : 0)
    if wide {
      emit(
        handler, d: upper(target), s: shape.sharesSource ? source : upper(source),
        immediate: immediates.1)
    }
    if target != d {
      emit(wide ? WideMoves.whole : WideMoves.zeroing, d: d, s: target)
    } else if !wide, !copies {
      emit(WideMoves.clearUpper, d: d)
    }
  }

  /// Each half of the result comes of a part of the source's lower half.
  private mutating func widening(_ handler: Handler, _ shape: VEXShape) -> Flow {
    let loads: MemoryHandlers =
      switch shape.widensFrom {
      case 2: VectorLoads.doubleword
      case 4: VectorLoads.quadword
      default: VectorLoads.unaligned
      }
    let source = vectorSource(loads)
    let target = shape.mayRaise ? VectorScratch.extra : i.reg
    emit(WideMoves.tail, d: VectorScratch.destination, s: source, immediate: shape.widensFrom)
    emit(handler, d: target, s: source, detail: 1)
    emit(handler, d: upper(target), s: VectorScratch.destination)
    if target != i.reg { emit(WideMoves.whole, d: i.reg, s: target) }
    return .sequential
  }

  /// The results of both halves lie side by side in the lower one.
  private mutating func narrowing(_ handler: Handler) -> Flow {
    let source = vectorSource(VectorLoads.wide)
    emit(handler, d: VectorScratch.extra, s: source, detail: 1)
    emit(handler, d: VectorScratch.destination, s: upper(source))
    emit(VectorMoves.lowToHigh, d: VectorScratch.extra, s: VectorScratch.destination)
    emit(WideMoves.zeroing, d: i.reg, s: VectorScratch.extra)
    return .sequential
  }
}
