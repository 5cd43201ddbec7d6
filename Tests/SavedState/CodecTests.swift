import SavedState
import Testing

@Suite struct `The codec` {
  @Test(arguments: 0..<500)
  func `random states read back as they were, from the same bytes each time`(
    seed: UInt64
  ) throws {
    var generator = Generator(seed: seed)
    let sample = Sample(from: &generator)
    let bytes = try CBOREncoder().encode(sample)
    let read = try CBORDecoder().decode(Sample.self, from: bytes)
    #expect(read == sample)
    let shapeless = try CBORDecoder().decode(Anything.self, from: bytes)
    #expect(try CBOREncoder().encode(shapeless) == bytes)
  }

  @Test func `the order of a dictionary does not show`() throws {
    let keys = (0..<100).map { "\($0)" }
    let dictionary = Dictionary(uniqueKeysWithValues: keys.map { ($0, 0) })
    let reversed = Dictionary(uniqueKeysWithValues: keys.reversed().map { ($0, 0) })
    #expect(try CBOREncoder().encode(dictionary) == CBOREncoder().encode(reversed))
  }

  @Test func `keys that look alike stay two keys`() throws {
    // "é" in one scalar and in two: equal as Swift strings, different as bytes.
    struct State: Codable {
      enum CodingKeys: String, CodingKey { case one = "\u{E9}", two = "e\u{301}" }
      var one: Int, two: Int
    }
    let bytes = try CBOREncoder().encode(State(one: 1, two: 2))
    let read = try CBORDecoder().decode(State.self, from: bytes)
    #expect(read.one == 1 && read.two == 2)
    #expect(throws: Never.self) { try CBORDecoder().decode([String: Int].self, from: bytes) }
  }

  @Test func `subclasses save what their superclass saves`() throws {
    class Port: Codable { var base = 0x3f8 }
    final class Serial: Port {
      var divisor = 12
      enum CodingKeys: CodingKey { case divisor }
      override init() { super.init() }
      required init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        divisor = try container.decode(Int.self, forKey: .divisor)
        try super.init(from: container.superDecoder())
      }
      override func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(divisor, forKey: .divisor)
        try super.encode(to: container.superEncoder())
      }
    }
    let serial = Serial()
    (serial.base, serial.divisor) = (0x2f8, 3)
    let bytes = try CBOREncoder().encode(serial)
    let read = try CBORDecoder().decode(Serial.self, from: bytes)
    #expect(read.base == 0x2f8 && read.divisor == 3)
  }

  @Test func `values nest to the limit, and no further`() throws {
    let bytes = try CBOREncoder().encode(Nest(depth: 64))
    #expect(bytes == Array(repeating: 0x81, count: 63) + [0x80])
    #expect(try CBORDecoder().decode(Nest.self, from: bytes) == Nest(depth: 64))
    #expect(throws: SaveError.self) { try CBOREncoder().encode(Nest(depth: 65)) }
    #expect(throws: RestoreError.malformed(part: "", reason: "at byte 65: nested deeper than 64")) {
      try CBORDecoder().decode(Nest.self, from: [0x81] + bytes)
    }
    #expect(throws: RestoreError.self) {
      try CBORDecoder().decode(Nest.self, from: Array(repeating: 0x81, count: 1_000_000))
    }
  }

  @Test func `a field of two values is not saved`() throws {
    struct State: Encodable {
      enum CodingKeys: CodingKey { case a }
      func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(1, forKey: .a)
        try container.encode(2, forKey: .a)
      }
    }
    #expect(throws: SaveError.failed("[0]: the key a is encoded twice")) {
      try CBOREncoder().encode([State()])
    }
  }
}
