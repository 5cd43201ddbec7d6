/// The three-byte maps: SSSE3 and SSE4, of which there is nothing yet.
extension Translator {
  mutating func vectorThreeByte38() -> Flow? { nil }
  mutating func vectorThreeByte3A() -> Flow? { nil }
}
