import CProcessor

// What AVX and AVX2 do to 128 bits that no SSE instruction does.

// MARK: - Permutations

/// VPERMILPS by a register.
@inline(__always)
func permute(_ a: Doublewords, _ order: Doublewords) -> Doublewords {
  var result = Doublewords()
  for index in 0..<4 { result[index] = a[Int(order[index] & 3)] }
  return result
}

/// VPERMILPD by a register: bit 1 of each control names an element.
@inline(__always)
func permute(_ a: Quadwords, _ order: Quadwords) -> Quadwords {
  Quadwords(order.x & 2 == 0 ? a.x : a.y, order.y & 2 == 0 ? a.x : a.y)
}

// MARK: - Shifts by element: a count beyond the element's width leaves nothing but, in arithmetic shifts, signs.

/// Shifts by one, two, four… where the counts have those bits. A compiler's own shift by element may go through
/// floating point, whose flags are the guest's.
@inline(__always)
private func shiftInSteps<V: SIMD, C: SIMD>(_ a: V, by counts: C, _ shift: (V, V.Scalar) -> V) -> V
where V.Scalar: FixedWidthInteger, C.Scalar: FixedWidthInteger, V.MaskStorage == C.MaskStorage {
  var result = a
  var step = 1
  while step < V.Scalar.bitWidth {
    let chosen = counts & C(repeating: C.Scalar(truncatingIfNeeded: step)) .!= C(repeating: 0)
    result = result.replacing(
      with: shift(result, V.Scalar(truncatingIfNeeded: step)), where: chosen)
    step &*= 2
  }
  return result
}

@inline(__always)
private func isBeyond<V: SIMD>(_ counts: V) -> SIMDMask<V.MaskStorage>
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  counts .>= V(repeating: V.Scalar(truncatingIfNeeded: V.Scalar.bitWidth))
}

@inline(__always)
func shiftLeft<V: SIMD>(_ a: V, by counts: V) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  shiftInSteps(a, by: counts) { $0 &<< V(repeating: $1) }
    .replacing(with: V(repeating: 0), where: isBeyond(counts))
}

@inline(__always)
func shiftRight<V: SIMD>(_ a: V, by counts: V) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  shiftInSteps(a, by: counts) { $0 &>> V(repeating: $1) }
    .replacing(with: V(repeating: 0), where: isBeyond(counts))
}

/// VPSRAVD.
@inline(__always)
func shiftArithmetic(_ a: Doublewords, by counts: Doublewords) -> SignedDoublewords {
  shiftInSteps(
    cast(a, to: SignedDoublewords.self), by: pointwiseMin(counts, Doublewords(repeating: 31))
  ) { $0 &>> SignedDoublewords(repeating: $1) }
}

enum ElementShifts {
  static let left: [Handler] = [
    { lanes($0, $1) { (a: Doublewords, b) in shiftLeft(a, by: b) } },
    { lanes($0, $1) { (a: Quadwords, b) in shiftLeft(a, by: b) } },
  ]
  static let right: [Handler] = [
    { lanes($0, $1) { (a: Doublewords, b) in shiftRight(a, by: b) } },
    { lanes($0, $1) { (a: Quadwords, b) in shiftRight(a, by: b) } },
  ]
  static let arithmetic: Handler = {
    lanes($0, $1) { (a: Doublewords, b) in shiftArithmetic(a, by: b) }
  }
}

// MARK: - Broadcasts

/// The lowest element in every place, by the element's width.
let broadcasts: [Handler] = [
  { lane($0, $1) { (b: Bytes) in Bytes(repeating: b[0]) } },
  { lane($0, $1) { (b: Words) in Words(repeating: b[0]) } },
  { lane($0, $1) { (b: Doublewords) in Doublewords(repeating: b[0]) } },
  { lane($0, $1) { (b: Quadwords) in Quadwords(repeating: b[0]) } },
]

// MARK: - Blends: the register in `base` chooses

@inline(__always)
private func blendByRegister<V: SIMD>(_ cpu: CPU, _ op: Op, _: V.Type)
where V: BitwiseCopyable, V.Scalar: FixedWidthInteger & SignedInteger {
  lanes(cpu, op) { (a: V, b) in blend(a, b, mask: cpu.vector(op.pointee.base)) }
}

/// VBLENDVPS, VBLENDVPD, VPBLENDVB.
let blendsByRegister: [Handler] = [
  { blendByRegister($0, $1, SignedDoublewords.self) },
  { blendByRegister($0, $1, SignedQuadwords.self) },
  { blendByRegister($0, $1, SignedBytes.self) },
]
