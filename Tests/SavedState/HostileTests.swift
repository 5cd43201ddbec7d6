import SavedState
import Testing

@Suite struct `The decoder and hostile bytes` {
  struct UART: Codable, Equatable {
    var isBusy: Bool
    var fifo: [UInt16]
    var name: String?
  }
  struct Machine: Codable, Equatable { var uart: UART }

  /// What the decoder says to a machine in these bytes.
  private func refusal(_ hex: String) -> RestoreError? {
    do {
      _ = try CBORDecoder().decode(Machine.self, from: bytes(hex))
      return nil
    } catch {
      return error
    }
  }

  // In these bytes, 6475617274 is "uart", 646669666f is "fifo", 66697342757379 is "isBusy".

  @Test func `a sound state is read`() {
    #expect(refusal("a16475617274a2646669666f8066697342757379f4") == nil)
  }

  @Test func `every fault of a value is named by its path`() {
    func refused(_ hex: String, _ part: String, _ reason: String) -> Bool {
      refusal(hex) == .malformed(part: part, reason: reason)
    }
    #expect(
      refused(
        "a16475617274a2646669666f840001021a0001000066697342757379f4", "uart.fifo[3]",
        "65536 does not fit into UInt16"))
    #expect(
      refused(
        "a16475617274a2646669666f812066697342757379f4", "uart.fifo[0]",
        "-1 does not fit into UInt16"))
    #expect(
      refused(
        "a16475617274a2646669666f8066697342757379f6", "uart.isBusy", "found null, expected Bool"))
    #expect(refused("a16475617274a1646669666f80", "uart.isBusy", "it is missing"))
    #expect(refused("80", "", "found an array, expected a map"))
    #expect(
      refused(
        "a16475617274a3646669666f8064747970650166697342757379f4", "uart",
        "the field type is unknown"))
  }

  @Test(arguments: [
    ("", "at byte 0: the end comes too early"),
    ("a0a0", "at byte 1: 1 bytes too many"),
    ("a2616101616102", "at byte 6: the key a twice"),
    ("a2616201616102", "at byte 6: keys out of order"),
    ("a262616101616101", "at byte 7: keys out of order"),
    ("61ff", "at byte 2: a text that is not UTF-8"),
    ("63eda080", "at byte 4: a text that is not UTF-8"),
    ("1817", "at byte 2: a number in more bytes than needed"),
    ("1b00000000ffffffff", "at byte 9: a number in more bytes than needed"),
    ("c24900ffffffffffffffff", "at byte 11: a big number of another length than needed"),
    ("c248ffffffffffffffff", "at byte 10: a big number of another length than needed"),
    (
      "c2510100000000000000000000000000000000",
      "at byte 19: a big number of another length than needed"
    ),
    ("f97c01", "at byte 3: a floating-point number in another form than needed"),
    ("1c", "at byte 1: a length that is not given"),
    ("ff", "at byte 1: the unknown simple value or float 31"),
    ("5bffffffffffffffff", "at byte 9: a string longer than what is left"),
    ("5b7fffffffffffffff", "at byte 9: a string longer than what is left"),
    ("4200", "at byte 1: a string longer than what is left"),
    ("9bffffffffffffffff", "at byte 9: more items announced than there are bytes"),
    ("bb4000000000000000", "at byte 9: more items announced than there are bytes"),
    ("8380", "at byte 1: more items announced than there are bytes"),
    ("83828000", "at byte 2: more items announced than there are bytes"),
  ])
  func `bytes that are no encoding of ours are refused with the reason`(
    hex: String, reason: String
  ) {
    #expect(throws: RestoreError.malformed(part: "", reason: reason)) {
      try CBORDecoder().decode(Anything.self, from: bytes(hex))
    }
  }

  @Test func `a state of too many items is refused before they are read`() {
    let count = 1 << 20 | 1
    let bytes = bytes("9a00100001") + Array(repeating: 0, count: count)
    #expect(throws: RestoreError.malformed(part: "", reason: "at byte 5: more than 1048576 items"))
    {
      try CBORDecoder().decode([UInt8?].self, from: bytes)
    }
  }

  @Test func `arrays that announce the same bytes over and over are refused`() {
    // Each of 60 nested arrays claims all bytes that are left.
    var bytes: [UInt8] = []
    for _ in 0..<60 { bytes += [0x9A, 0, 0x0F, 0, 0] }
    bytes += Array(repeating: 0, count: 1 << 20)
    #expect(throws: RestoreError.self) { try CBORDecoder().decode(Anything.self, from: bytes) }
  }

  @Test func `what damaged bytes decode to encodes to the same bytes`() throws {
    var generator = Generator(seed: 1)
    var accepted = 0
    let seeds = try (0..<50).map { _ in try CBOREncoder().encode(Small(from: &generator)) }
    for _ in 0..<100_000 {
      let bytes = damage(seeds.randomElement(using: &generator) ?? [], &generator)
      guard let read = try? CBORDecoder().decode(Small.self, from: bytes) else { continue }
      accepted += 1
      let again = try CBOREncoder().encode(read)
      guard again != bytes else { continue }
      Issue.record("\(bytes) and \(again) mean the same")
      return
    }
    #expect(accepted > 1000)
  }

  @Test func `damaged states of every shape are read or refused`() throws {
    var generator = Generator(seed: 2)
    for _ in 0..<100 {
      let bytes = try CBOREncoder().encode(Sample(from: &generator))
      for _ in 0..<20 {
        let damaged = damage(bytes, &generator)
        _ = try? CBORDecoder().decode(Sample.self, from: damaged)
        _ = try? CBORDecoder().decode(Anything.self, from: damaged)
      }
    }
  }

  /// Few fields, so that many of them can be damaged in a short time.
  private struct Small: Codable {
    var a: UInt8
    var b: Int16
    var c: [UInt8]
    var d: String
    var e: [Bool]

    init(from generator: inout Generator) {
      a = generator.integer()
      b = generator.integer()
      c = generator.bytes(0..<4)
      d = generator.text()
      e = generator.array { Bool.random(using: &$0) }
    }
  }

  /// One to three changes anywhere: another byte, another bit, a byte less, a byte more, a cut.
  private func damage(_ bytes: [UInt8], _ generator: inout Generator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &generator) where !bytes.isEmpty {
      let index = Int.random(in: bytes.indices, using: &generator)
      switch Int.random(in: 0..<8, using: &generator) {
      case 0..<3: bytes[index] = generator.integer()
      case 3..<6: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 6: bytes.insert(generator.integer(), at: index)
      default:
        if Bool.random(using: &generator) {
          bytes.remove(at: index)
        } else {
          bytes.removeLast(index)
        }
      }
    }
    return bytes
  }
}
