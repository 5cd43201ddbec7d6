import ArchitectureX86
import CProcessor

// Moves of YMM registers: the steps that make a VEX instruction of its halves.

enum WideMoves {
  /// All 256 bits.
  static let whole: Handler = { cpu, op in
    cpu.setVector(op.pointee.destination, cpu.vector(op.pointee.source, as: Quadwords.self))
    cpu.setVector(
      upper(op.pointee.destination), cpu.vector(upper(op.pointee.source), as: Quadwords.self))
    return next(cpu, op)
  }
  /// The lower 128 bits; the upper ones become zero, as with every VEX instruction of 128 bits.
  static let zeroing: Handler = { cpu, op in
    cpu.setVector(op.pointee.destination, cpu.vector(op.pointee.source, as: Quadwords.self))
    cpu.setVector(upper(op.pointee.destination), Quadwords(0, 0))
    return next(cpu, op)
  }
  static let clearUpper: Handler = { cpu, op in
    cpu.setVector(upper(op.pointee.destination), Quadwords(0, 0))
    return next(cpu, op)
  }
  /// The bytes of the lower half from number `immediate` on.
  static let tail: Handler = { cpu, op in
    let value = cpu.vector(op.pointee.source, as: UInt128.self)
    cpu.setVector(op.pointee.destination, value &>> UInt128(op.pointee.immediate &* 8))
    return next(cpu, op)
  }
  /// The masks of two halves, in temporaries, into one; the upper one's is shifted by `immediate`.
  static let joinMasks: Handler = { cpu, op in
    let masks =
      cpu.get(Slot.temporary, UInt64.self)
      | cpu.get(Slot.temporary1, UInt64.self) &<< op.pointee.immediate
    cpu.set(op.pointee.destination, UInt32(truncatingIfNeeded: masks))
    return next(cpu, op)
  }

  /// VZEROUPPER and, if `immediate` is not zero, VZEROALL: registers 0 to `detail` - 1.
  static let zeroRegisters: Handler = { cpu, op in
    for index in 0..<op.pointee.detail {
      cpu.setVector(upper(index), Quadwords(0, 0))
      if op.pointee.immediate != 0 { cpu.setVector(index, Quadwords(0, 0)) }
    }
    return next(cpu, op)
  }
}

// MARK: - Tests into flags

/// VPTEST, VTESTPS and VTESTPD: as PTEST, of the bits in `mask`; `detail` tells whether of both halves.
@inline(__always)
private func testBits(_ cpu: CPU, _ op: Op, mask: UInt64) {
  let (d, s) = (op.pointee.destination, op.pointee.source)
  let (a, b): (Quadwords, Quadwords) = (cpu.vector(d), cpu.vector(s))
  var both = a & b
  var sourceOnly = ~a & b
  if op.pointee.detail != 0 {
    let (c, e): (Quadwords, Quadwords) = (cpu.vector(upper(d)), cpu.vector(upper(s)))
    both |= c & e
    sourceOnly |= ~c & e
  }
  cpu.statusFlags =
    ((both.x | both.y) & mask == 0 ? X86.Flags.zero : 0)
    | ((sourceOnly.x | sourceOnly.y) & mask == 0 ? X86.Flags.carry : 0)
  return next(cpu, op)
}

enum WideTests {
  static let bits: Handler = { testBits($0, $1, mask: .max) }
  static let singleSigns: Handler = { testBits($0, $1, mask: 0x8000_0000_8000_0000) }
  static let doubleSigns: Handler = { testBits($0, $1, mask: 0x8000_0000_0000_0000) }
}

// MARK: - Across the halves

extension UnsafeMutablePointer<x86_cpu> {
  /// A YMM register as one vector.
  @inline(__always)
  func wide<V: SIMD>(_ index: UInt8, as _: V.Type = V.self) -> V where V: BitwiseCopyable {
    cast(
      SIMD4<UInt64>(
        lowHalf: vector(index, as: Quadwords.self),
        highHalf: vector(upper(index), as: Quadwords.self)))
  }

  @inline(__always)
  func setWide<V: SIMD>(_ index: UInt8, _ value: V) where V: BitwiseCopyable {
    let halves = cast(value, to: SIMD4<UInt64>.self)
    setVector(index, halves.lowHalf)
    setVector(upper(index), halves.highHalf)
  }
}

enum WidePermutations {
  /// VPERMQ, VPERMPD: two bits of the immediate name each quadword.
  static let quadwords: Handler = { cpu, op in
    let source = cpu.wide(op.pointee.source, as: SIMD4<UInt64>.self)
    var result = SIMD4<UInt64>()
    for index in 0..<4 {
      let choice = op.pointee.immediate &>> UInt64(2 &* index) & 3
      result[index] = source[Int(truncatingIfNeeded: choice)]
    }
    cpu.setWide(op.pointee.destination, result)
    return next(cpu, op)
  }
  /// VPERMD, VPERMPS: the register in `base` names each doubleword.
  static let doublewords: Handler = { cpu, op in
    let source = cpu.wide(op.pointee.source, as: SIMD8<UInt32>.self)
    let places = cpu.wide(op.pointee.base, as: SIMD8<UInt32>.self)
    var result = SIMD8<UInt32>()
    for index in 0..<8 { result[index] = source[Int(places[index] & 7)] }
    cpu.setWide(op.pointee.destination, result)
    return next(cpu, op)
  }
  /// VPERM2F128, VPERM2I128: each half is one of four, or zero. The first source is in `base`.
  static let halves: Handler = { cpu, op in
    let (first, second) = (op.pointee.base, op.pointee.source)
    @inline(__always) func half(_ choice: UInt64) -> Quadwords {
      if choice & 8 != 0 { return Quadwords(0, 0) }
      let register = choice & 2 == 0 ? first : second
      return cpu.vector(choice & 1 == 0 ? register : upper(register))
    }
    let (low, high) = (half(op.pointee.immediate), half(op.pointee.immediate &>> 4))
    cpu.setVector(op.pointee.destination, low)
    cpu.setVector(upper(op.pointee.destination), high)
    return next(cpu, op)
  }
}
