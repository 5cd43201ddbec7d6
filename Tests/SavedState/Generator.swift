/// A repeatable source of random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Generator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
    return word ^ word >> 31
  }

  /// Half the time a value from the edge of the type's range, else any.
  mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) -> Number {
    let edges: [Number] = [.min, .min &+ 1, 0, 1, 23, 24, .max / 2, .max &- 1, .max]
    let random = Number(truncatingIfNeeded: next()) << (Number.bitWidth / 2)
    return Bool.random(using: &self)
      ? edges[Int.random(in: 0..<edges.count, using: &self)]
      : random ^ Number(truncatingIfNeeded: next())
  }

  mutating func bytes(_ counts: Range<Int>) -> [UInt8] {
    (0..<Int.random(in: counts, using: &self)).map { _ in integer() }
  }

  mutating func text() -> String {
    let scalars: [Unicode.Scalar] = [
      "a", "Z", "0", "\"", "\\", "\n", "\0", "ü", "水", "𐅑", "\u{301}",
    ]
    return (0..<Int.random(in: 0..<30, using: &self)).reduce(into: "") { text, _ in
      text.unicodeScalars.append(scalars[Int.random(in: 0..<scalars.count, using: &self)])
    }
  }

  mutating func array<Element>(_ element: (inout Generator) -> Element) -> [Element] {
    (0..<Int.random(in: 0..<6, using: &self)).map { _ in element(&self) }
  }

  mutating func optional<Value>(_ value: (inout Generator) -> Value) -> Value? {
    Bool.random(using: &self) ? value(&self) : nil
  }
}
