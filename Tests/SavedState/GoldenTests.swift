import SavedState
import Testing

/// The examples of RFC 8949 Appendix A "Examples of Encoded CBOR Data Items".
@Suite struct `RFC 8949 Appendix A` {
  static let examples: [(Anything, String)] = [
    (.number(0), "00"), (.number(1), "01"), (.number(10), "0a"), (.number(23), "17"),
    (.number(24), "1818"), (.number(25), "1819"), (.number(100), "1864"),
    (.number(1000), "1903e8"), (.number(1_000_000), "1a000f4240"),
    (.number(1_000_000_000_000), "1b000000e8d4a51000"),
    (.number(18_446_744_073_709_551_615), "1bffffffffffffffff"),
    (.number(18_446_744_073_709_551_616), "c249010000000000000000"),
    (.number(-18_446_744_073_709_551_616), "3bffffffffffffffff"),
    (.number(-18_446_744_073_709_551_617), "c349010000000000000000"),
    (.number(-1), "20"), (.number(-10), "29"), (.number(-100), "3863"),
    (.number(-1000), "3903e7"),
    (.real(0.0), "f90000"), (.real(-0.0), "f98000"), (.real(1.0), "f93c00"),
    (.real(1.1), "fb3ff199999999999a"), (.real(1.5), "f93e00"), (.real(65504.0), "f97bff"),
    (.real(100000.0), "fa47c35000"), (.real(3.4028234663852886e+38), "fa7f7fffff"),
    (.real(1.0e+300), "fb7e37e43c8800759c"), (.real(5.960464477539063e-8), "f90001"),
    (.real(0.00006103515625), "f90400"), (.real(-4.0), "f9c400"),
    (.real(-4.1), "fbc010666666666666"), (.real(.infinity), "f97c00"),
    (.real(-.infinity), "f9fc00"),
    (.bool(false), "f4"), (.bool(true), "f5"), (.nothing, "f6"),
    (.bytes([]), "40"), (.bytes([1, 2, 3, 4]), "4401020304"),
    (.text(""), "60"), (.text("a"), "6161"), (.text("IETF"), "6449455446"),
    (.text("\"\\"), "62225c"), (.text("\u{fc}"), "62c3bc"), (.text("\u{6c34}"), "63e6b0b4"),
    (.text("\u{10151}"), "64f0908591"),
    (.array([]), "80"), (.array([.number(1), .number(2), .number(3)]), "83010203"),
    (
      .array([
        .number(1), .array([.number(2), .number(3)]), .array([.number(4), .number(5)]),
      ]), "8301820203820405"
    ),
    (
      .array((1...25).map { .number($0) }),
      "98190102030405060708090a0b0c0d0e0f101112131415161718181819"
    ),
    (.map([:]), "a0"),
    (.map(["a": .number(1), "b": .array([.number(2), .number(3)])]), "a26161016162820203"),
    (.array([.text("a"), .map(["b": .text("c")])]), "826161a161626163"),
    (
      .map(["a": .text("A"), "b": .text("B"), "c": .text("C"), "d": .text("D"), "e": .text("E")]),
      "a56161614161626142616361436164614461656145"
    ),
  ]

  @Test(arguments: examples.indices)
  func `examples are written and read as printed`(index: Int) throws {
    let (value, hex) = Self.examples[index]
    #expect(try CBOREncoder().encode(value) == bytes(hex))
    #expect(try CBORDecoder().decode(Anything.self, from: bytes(hex)) == value)
  }

  @Test func `the example of not-a-number keeps its bits`() throws {
    #expect(try CBOREncoder().encode(Double.nan) == bytes("f97e00"))
    let read = try CBORDecoder().decode(Double.self, from: bytes("f97e00"))
    #expect(read.bitPattern == Double.nan.bitPattern)
  }

  /// Well-formed, but outside the deterministic encoding of §4.2.1, or without use in saved states.
  @Test(arguments: [
    // Infinities and not-a-number in more bytes than needed.
    "fa7f800000", "fa7fc00000", "faff800000", "fb7ff0000000000000", "fb7ff8000000000000",
    "fbfff0000000000000",
    // Undefined, and simple values without a meaning.
    "f7", "f0", "f8ff",
    // Tags.
    "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "c1fb41d452d9ec200000",
    "d74401020304", "d818456449455446", "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
    // Keys that are numbers.
    "a201020304",
    // Indefinite lengths.
    "5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff",
    "9f01820203820405ff", "83018202039f0405ff", "83019f0203ff820405",
    "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", "bf61610161629f0203ffff",
    "826161bf61626163ff", "bf6346756ef563416d7421ff",
  ])
  func `examples of other encodings are refused`(hex: String) throws {
    #expect(throws: RestoreError.self) {
      try CBORDecoder().decode(Anything.self, from: bytes(hex))
    }
  }
}

/// The bytes that pairs of hexadecimal digits stand for.
func bytes(_ hex: String) -> [UInt8] {
  var digits = hex.utf8.makeIterator()
  var bytes: [UInt8] = []
  while let high = digits.next(), let low = digits.next() {
    bytes.append(UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16) ?? 0)
  }
  return bytes
}
