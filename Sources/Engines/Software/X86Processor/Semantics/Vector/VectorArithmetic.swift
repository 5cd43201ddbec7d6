// Arithmetic on packed integers: SDM Vol. 1 §9.4.2, §11.4.2, §12.6, §12.10.

// MARK: - Saturation

@inline(__always)
func addSaturated<V: SIMD>(_ a: V, _ b: V) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  let sum = a &+ b
  return sum.replacing(with: V(repeating: .max), where: sum .< a)
}

@inline(__always)
func subtractSaturated<V: SIMD>(_ a: V, _ b: V) -> V
where V.Scalar: FixedWidthInteger & UnsignedInteger {
  (a &- b).replacing(with: V(repeating: 0), where: a .< b)
}

@inline(__always)
func addSaturated<V: SIMD>(_ a: V, _ b: V) -> V
where V.Scalar: FixedWidthInteger & SignedInteger {
  let sum = a &+ b
  return sum.replacing(with: limit(a), where: ~(a ^ b) & (a ^ sum) .< V(repeating: 0))
}

@inline(__always)
func subtractSaturated<V: SIMD>(_ a: V, _ b: V) -> V
where V.Scalar: FixedWidthInteger & SignedInteger {
  let difference = a &- b
  return difference.replacing(
    with: limit(a), where: (a ^ b) & (a ^ difference) .< V(repeating: 0))
}

/// The largest number where `a` is not negative, the smallest where it is.
@inline(__always)
private func limit<V: SIMD>(_ a: V) -> V where V.Scalar: FixedWidthInteger & SignedInteger {
  (a &>> V.Scalar(truncatingIfNeeded: V.Scalar.bitWidth &- 1)) ^ V(repeating: .max)
}

// MARK: - Averages, differences, magnitudes

/// PAVG: rounded up.
@inline(__always)
func average<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FixedWidthInteger & UnsignedInteger {
  (a | b) &- ((a ^ b) &>> 1)
}

/// PSADBW: in each half, the sum of the bytes' distances.
@inline(__always)
func sumOfDistances(_ a: Bytes, _ b: Bytes) -> Quadwords {
  let distances = pointwiseMax(a, b) &- pointwiseMin(a, b)
  return Quadwords(
    UInt64(Words(truncatingIfNeeded: distances.lowHalf).wrappedSum()),
    UInt64(Words(truncatingIfNeeded: distances.highHalf).wrappedSum()))
}

@inline(__always)
func magnitude<V: SIMD>(_ b: V) -> V where V.Scalar: FixedWidthInteger & SignedInteger {
  b.replacing(with: V(repeating: 0) &- b, where: b .< V(repeating: 0))
}

/// PSIGN: `a` with its sign changed where `b` is negative, zero where `b` is.
@inline(__always)
func applySign<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FixedWidthInteger & SignedInteger {
  let zero = V(repeating: 0)
  return a.replacing(with: zero &- a, where: b .< zero).replacing(with: zero, where: b .== zero)
}

// MARK: - Products

/// Bits 16 to 31 of the products of signed words.
@inline(__always)
func multiplyHigh(_ a: SignedWords, _ b: SignedWords) -> Doublewords {
  let (low, high) = products(a, b)
  return cast(low, to: Doublewords.self) &>> 16
    | cast(high, to: Doublewords.self) & Doublewords(repeating: 0xffff_0000)
}

/// PMULHUW.
@inline(__always)
func multiplyHighUnsigned(_ a: Words, _ b: Words) -> Doublewords {
  let (x, y) = (cast(a, to: Doublewords.self), cast(b, to: Doublewords.self))
  let mask = Doublewords(repeating: 0xffff)
  let low = (x & mask) &* (y & mask)
  let high = (x &>> 16) &* (y &>> 16)
  return low &>> 16 | high & ~mask
}

/// PMULHRSW: bits 15 to 30, rounded.
@inline(__always)
func multiplyRounded(_ a: SignedWords, _ b: SignedWords) -> Doublewords {
  let (low, high) = products(a, b)
  let half = SignedDoublewords(repeating: 0x4000)
  let mask = Doublewords(repeating: 0xffff)
  return cast((low &+ half) &>> 15, to: Doublewords.self) & mask
    | cast((high &+ half) &<< 1, to: Doublewords.self) & ~mask
}

/// PMADDWD.
@inline(__always)
func multiplyAndAdd(_ a: SignedWords, _ b: SignedWords) -> SignedDoublewords {
  let (low, high) = products(a, b)
  return low &+ high
}

/// PMADDUBSW: unsigned bytes of `a` by signed bytes of `b`.
@inline(__always)
func multiplyAndAddBytes(_ a: Words, _ b: SignedWords) -> SignedWords {
  let x = cast(a, to: SignedWords.self) & SignedWords(repeating: 0xff)
  let y = cast(a &>> 8, to: SignedWords.self)
  return addSaturated(x &* ((b &<< 8) &>> 8), y &* (b &>> 8))
}

/// Products of the words at even places, and of those at odd ones.
@inline(__always)
private func products(
  _ a: SignedWords, _ b: SignedWords
) -> (SignedDoublewords, SignedDoublewords) {
  let (x, y) = (cast(a, to: SignedDoublewords.self), cast(b, to: SignedDoublewords.self))
  return (((x &<< 16) &>> 16) &* ((y &<< 16) &>> 16), (x &>> 16) &* (y &>> 16))
}

/// PMULUDQ.
@inline(__always)
func multiplyEven(_ a: Quadwords, _ b: Quadwords) -> Quadwords {
  let mask = Quadwords(repeating: 0xffff_ffff)
  return (a & mask) &* (b & mask)
}

/// PMULDQ.
@inline(__always)
func multiplyEvenSigned(_ a: SignedQuadwords, _ b: SignedQuadwords) -> SignedQuadwords {
  ((a &<< 32) &>> 32) &* ((b &<< 32) &>> 32)
}

// MARK: - Neighbouring elements (SSSE3)

/// Even and odd words of two operands side by side.
@inline(__always)
func neighbours(_ a: SignedWords, _ b: SignedWords) -> (SignedWords, SignedWords) {
  (
    SignedWords(lowHalf: a.evenHalf, highHalf: b.evenHalf),
    SignedWords(lowHalf: a.oddHalf, highHalf: b.oddHalf)
  )
}

@inline(__always)
func neighbours(
  _ a: SignedDoublewords, _ b: SignedDoublewords
) -> (SignedDoublewords, SignedDoublewords) {
  (
    SignedDoublewords(lowHalf: a.evenHalf, highHalf: b.evenHalf),
    SignedDoublewords(lowHalf: a.oddHalf, highHalf: b.oddHalf)
  )
}
