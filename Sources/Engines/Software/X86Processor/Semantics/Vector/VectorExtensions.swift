import ArchitectureX86
import CFloat
import CProcessor

// What SSSE3, SSE4.1 and SSE4.2 compute, where it takes more than an expression.

// MARK: - Shapes of handlers

/// An operation on elements side by side.
@inline(__always)
func adjacent(
  _ cpu: CPU, _ op: Op, _ operation: (SignedWords, SignedWords) -> SignedWords
) {
  lanes(cpu, op) { (a: SignedWords, b) in
    let (even, odd) = neighbours(a, b)
    return operation(even, odd)
  }
}

@inline(__always)
func adjacent(
  _ cpu: CPU, _ op: Op,
  _ operation: (SignedDoublewords, SignedDoublewords) -> SignedDoublewords
) {
  lanes(cpu, op) { (a: SignedDoublewords, b) in
    let (even, odd) = neighbours(a, b)
    return operation(even, odd)
  }
}

/// PBLENDVB, BLENDVPS, BLENDVPD: XMM0 chooses.
@inline(__always)
func blendByMask<V: SIMD>(_ cpu: CPU, _ op: Op, _: V.Type)
where V: BitwiseCopyable, V.Scalar: FixedWidthInteger & SignedInteger {
  lanes(cpu, op) { (a: V, b) in blend(a, b, mask: cpu.vector(0)) }
}

/// PMOVSX, PMOVZX.
@inline(__always)
func widen<A: SIMD & BitwiseCopyable, B: SIMD & BitwiseCopyable>(
  _ cpu: CPU, _ op: Op, _: A.Type, _: B.Type
) where A.Scalar: FixedWidthInteger, B.Scalar: FixedWidthInteger {
  lane(cpu, op) { (narrow: A) in
    var wide = B()
    for index in 0..<B.scalarCount { wide[index] = B.Scalar(truncatingIfNeeded: narrow[index]) }
    return wide
  }
}

/// A floating-point operation with an immediate.
@inline(__always)
func floats<V: BitwiseCopyable>(_ cpu: CPU, _ op: Op, immediate operation: (V, V, UInt8) -> V) {
  let a: V = cpu.vector(op.pointee.destination)
  let b: V = cpu.vector(op.pointee.source)
  let immediate = UInt8(truncatingIfNeeded: op.pointee.immediate)
  guard let result = settled(cpu, op, { operation(a, b, immediate) }) else { return }
  cpu.setVector(op.pointee.destination, result)
  return next(cpu, op)
}

// MARK: - Operations

/// PTEST: ZF tells that no bit is set in both, CF that none is set in the source alone.
let testBits: Handler = { cpu, op in
  let a: Quadwords = cpu.vector(op.pointee.destination)
  let b: Quadwords = cpu.vector(op.pointee.source)
  let both = a & b
  let sourceOnly = ~a & b
  cpu.statusFlags =
    (both.x | both.y == 0 ? X86.Flags.zero : 0)
    | (sourceOnly.x | sourceOnly.y == 0 ? X86.Flags.carry : 0)
  return next(cpu, op)
}

/// PALIGNR on MMX stand-ins: the destination's has the source above it, so both lie in one register.
let alignMMX: Handler = { cpu, op in
  lanes(cpu, op) { (a: Quadwords, b, count) in
    let pair = UInt128(a.x) &<< 64 | UInt128(b.x)
    let shifted = count < 16 ? pair &>> (UInt128(count) &* 8) : 0
    return Quadwords(UInt64(truncatingIfNeeded: shifted), 0)
  }
}

/// PHMINPOSUW: the least word, then its place.
@inline(__always)
func leastWord(_ b: Words) -> Words {
  var least = b[0]
  var place: UInt16 = 0
  for index in 1..<8 where b[index] < least {
    least = b[index]
    place = UInt16(truncatingIfNeeded: index)
  }
  return Words(least, place, 0, 0, 0, 0, 0, 0)
}

/// MPSADBW: the distances of four bytes of `b` from eight places in `a`.
@inline(__always)
func blockDistances(_ a: Bytes, _ b: Bytes, _ places: UInt8) -> Words {
  let from = Int(places &>> 2 & 1) &* 4
  let block = Int(places & 3) &* 4
  var result = Words()
  for index in 0..<8 {
    var sum: UInt16 = 0
    for step in 0..<4 {
      let (x, y) = (a[from &+ index &+ step], b[block &+ step])
      sum &+= UInt16(x > y ? x &- y : y &- x)
    }
    result[index] = sum
  }
  return result
}

/// INSERTPS: bits 6 and 7 name the source's element, 4 and 5 its new place, 0 to 3 what is cleared.
@inline(__always)
func placeSingle(_ a: Doublewords, _ b: Doublewords, _ places: UInt8) -> Doublewords {
  var result = a
  result[Int(places &>> 4) & 3] = b[Int(places &>> 6)]
  return blend(result, Doublewords(repeating: 0), bits: places & 0xf)
}

/// DPPS: bits 4 to 7 choose the products, bits 0 to 3 the places that get their sum.
@inline(__always)
func dotProduct(_ a: Singles, _ b: Singles, _ choice: UInt8) -> Singles {
  let zero = Singles(repeating: 0)
  let chosen = choice &>> 4
  let products = x86_mulps(blend(zero, a, bits: chosen), blend(zero, b, bits: chosen))
  let pairs = x86_haddps(products, products)
  let sums = x86_haddps(pairs, pairs)
  return blend(zero, sums, bits: choice & 0xf)
}

/// DPPD.
@inline(__always)
func dotProduct(_ a: Doubles, _ b: Doubles, _ choice: UInt8) -> Doubles {
  let zero = Doubles(repeating: 0)
  let chosen = choice &>> 4 & 3
  let products = x86_mulpd(blend(zero, a, bits: chosen), blend(zero, b, bits: chosen))
  return blend(zero, x86_haddpd(products, products), bits: choice & 3)
}

// MARK: - CRC32

/// The CRC-32C polynomial 0x11EDC6F41, bits reversed: SDM Vol. 2 "CRC32—Accumulate CRC32 Value".
@inline(__always)
private func checksum<T: Width>(_ crc: UInt32, _ value: T) -> UInt32 {
  var crc = UInt64(crc) ^ UInt64(truncatingIfNeeded: value)
  // Of a quadword, the upper half meets what is left after the lower.
  for _ in 0..<T.bitWidth { crc = crc &>> 1 ^ (crc & 1 != 0 ? 0x82f6_3b78 : 0) }
  return UInt32(truncatingIfNeeded: crc)
}

/// By operand width; the destination's upper half is cleared.
let checksums: [Handler] = [
  { accumulate($0, $1, UInt8.self) }, { accumulate($0, $1, UInt16.self) },
  { accumulate($0, $1, UInt32.self) }, { accumulate($0, $1, UInt64.self) },
]

@inline(__always)
private func accumulate<T: Width>(_ cpu: CPU, _ op: Op, _: T.Type) {
  let crc = cpu.get(op.pointee.destination, UInt32.self)
  cpu.set(op.pointee.destination, checksum(crc, cpu.get(op.pointee.source, T.self)))
  return next(cpu, op)
}
