import CProcessor

// Packing, unpacking, shuffling, insertion and extraction: SDM Vol. 1 §9.4.4, §9.4.5, §11.4.2, §12.6, §12.10.

// MARK: - Interleaving

@inline(__always)
func interleaveLow(_ a: Bytes, _ b: Bytes) -> Bytes { zip(a.lowHalf, b.lowHalf) }
@inline(__always)
func interleaveHigh(_ a: Bytes, _ b: Bytes) -> Bytes { zip(a.highHalf, b.highHalf) }
@inline(__always)
func interleaveLow(_ a: Words, _ b: Words) -> Words { zip(a.lowHalf, b.lowHalf) }
@inline(__always)
func interleaveHigh(_ a: Words, _ b: Words) -> Words { zip(a.highHalf, b.highHalf) }
@inline(__always)
func interleaveLow(_ a: Doublewords, _ b: Doublewords) -> Doublewords {
  Doublewords(a.x, b.x, a.y, b.y)
}
@inline(__always)
func interleaveHigh(_ a: Doublewords, _ b: Doublewords) -> Doublewords {
  Doublewords(a.z, b.z, a.w, b.w)
}

@inline(__always)
private func zip(_ a: SIMD8<UInt8>, _ b: SIMD8<UInt8>) -> Bytes {
  var result = Bytes()
  result.evenHalf = a
  result.oddHalf = b
  return result
}
@inline(__always)
private func zip(_ a: SIMD4<UInt16>, _ b: SIMD4<UInt16>) -> Words {
  var result = Words()
  result.evenHalf = a
  result.oddHalf = b
  return result
}

// MARK: - Packing with saturation

/// PACKSSWB.
@inline(__always)
func packSigned(_ a: SignedWords, _ b: SignedWords) -> SignedBytes {
  let (low, high) = (SignedWords(repeating: -128), SignedWords(repeating: 127))
  return SignedBytes(
    lowHalf: .init(truncatingIfNeeded: a.clamped(lowerBound: low, upperBound: high)),
    highHalf: .init(truncatingIfNeeded: b.clamped(lowerBound: low, upperBound: high)))
}

/// PACKUSWB.
@inline(__always)
func packUnsigned(_ a: SignedWords, _ b: SignedWords) -> Bytes {
  let (low, high) = (SignedWords(repeating: 0), SignedWords(repeating: 255))
  return Bytes(
    lowHalf: .init(truncatingIfNeeded: a.clamped(lowerBound: low, upperBound: high)),
    highHalf: .init(truncatingIfNeeded: b.clamped(lowerBound: low, upperBound: high)))
}

/// PACKSSDW.
@inline(__always)
func packSigned(_ a: SignedDoublewords, _ b: SignedDoublewords) -> SignedWords {
  let low = SignedDoublewords(repeating: -0x8000)
  let high = SignedDoublewords(repeating: 0x7fff)
  return SignedWords(
    lowHalf: .init(truncatingIfNeeded: a.clamped(lowerBound: low, upperBound: high)),
    highHalf: .init(truncatingIfNeeded: b.clamped(lowerBound: low, upperBound: high)))
}

/// PACKUSDW.
@inline(__always)
func packUnsigned(_ a: SignedDoublewords, _ b: SignedDoublewords) -> Words {
  let low = SignedDoublewords(repeating: 0)
  let high = SignedDoublewords(repeating: 0xffff)
  return Words(
    lowHalf: .init(truncatingIfNeeded: a.clamped(lowerBound: low, upperBound: high)),
    highHalf: .init(truncatingIfNeeded: b.clamped(lowerBound: low, upperBound: high)))
}

// MARK: - Shuffling by an immediate

/// The element that a field of two bits in an order byte names.
@inline(__always)
private func field(_ order: UInt8, _ index: Int) -> Int {
  Int(order &>> UInt8(truncatingIfNeeded: 2 &* index)) & 3
}

/// PSHUFD.
@inline(__always)
func shuffle(_ b: Doublewords, _ order: UInt8) -> Doublewords {
  Doublewords(b[field(order, 0)], b[field(order, 1)], b[field(order, 2)], b[field(order, 3)])
}

/// PSHUFLW (and PSHUFW) on the low half of a register.
@inline(__always)
func shuffleWords(_ b: UInt64, _ order: UInt8) -> UInt64 {
  let words = unsafeBitCast(b, to: SIMD4<UInt16>.self)
  return unsafeBitCast(
    SIMD4<UInt16>(
      words[field(order, 0)], words[field(order, 1)], words[field(order, 2)],
      words[field(order, 3)]), to: UInt64.self)
}

/// SHUFPS: the lower two elements from `a`, the upper two from `b`.
@inline(__always)
func shuffle(_ a: Doublewords, _ b: Doublewords, _ order: UInt8) -> Doublewords {
  Doublewords(a[field(order, 0)], a[field(order, 1)], b[field(order, 2)], b[field(order, 3)])
}

/// SHUFPD.
@inline(__always)
func shuffle(_ a: Quadwords, _ b: Quadwords, _ order: UInt8) -> Quadwords {
  Quadwords(order & 1 == 0 ? a.x : a.y, order & 2 == 0 ? b.x : b.y)
}

// MARK: - Shuffling by bytes (SSSE3)

/// PSHUFB.
@inline(__always)
func shuffleBytes(_ a: Bytes, _ order: Bytes) -> Bytes {
  var result = Bytes(repeating: 0)
  for index in 0..<16 {
    let place = order[index]
    result[index] = place & 0x80 != 0 ? 0 : a[Int(place & 15)]
  }
  return result
}

/// PALIGNR: 16 of the 32 bytes of `a` and `b`, `b` the lower.
@inline(__always)
func align(_ a: UInt128, _ b: UInt128, _ count: UInt8) -> UInt128 {
  let bits = UInt128(count &* 8)
  if count == 0 { return b }
  if count < 16 { return b &>> bits | a &<< (128 &- bits) }
  return count < 32 ? a &>> (bits &- 128) : 0
}

// MARK: - Blending (SSE4.1)

/// Takes an element from `b` where the mask's top bit is set.
@inline(__always)
func blend<V: SIMD>(_ a: V, _ b: V, mask: V) -> V
where V.Scalar: FixedWidthInteger & SignedInteger {
  a.replacing(with: b, where: mask .< V(repeating: 0))
}

/// Takes an element from `b` where the mask's bit of that number is set.
@inline(__always)
func blend<V: SIMD>(_ a: V, _ b: V, bits: UInt8) -> V {
  var result = a
  for index in 0..<V.scalarCount where bits &>> UInt8(truncatingIfNeeded: index) & 1 != 0 {
    result[index] = b[index]
  }
  return result
}

// MARK: - Elements to and from general registers

/// A byte, word, doubleword or quadword into the place that the immediate names.
@inline(__always)
func insertElement<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let place = elementOffset(op, T.self)
  cpu.vectorBytes(op.pointee.destination).storeBytes(
    of: cpu.get(op.pointee.source, T.self), toByteOffset: place, as: T.self)
  return next(cpu, op)
}

/// An element to a register, zero-extended.
@inline(__always)
func extractElement<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let value = cpu.vectorBytes(op.pointee.source).load(
    fromByteOffset: elementOffset(op, T.self), as: T.self)
  cpu.set(op.pointee.destination, UInt64(truncatingIfNeeded: value))
  return next(cpu, op)
}

@inline(__always)
private func elementOffset<T: Width>(_ op: Op, _: T.Type) -> Int {
  Int(truncatingIfNeeded: op.pointee.immediate) &* MemoryLayout<T>.size & 15
}

/// By width.
let elementInsertions: [Handler] = [
  { insertElement(UInt8.self, $0, $1) }, { insertElement(UInt16.self, $0, $1) },
  { insertElement(UInt32.self, $0, $1) }, { insertElement(UInt64.self, $0, $1) },
]
let elementExtractions: [Handler] = [
  { extractElement(UInt8.self, $0, $1) }, { extractElement(UInt16.self, $0, $1) },
  { extractElement(UInt32.self, $0, $1) }, { extractElement(UInt64.self, $0, $1) },
]
