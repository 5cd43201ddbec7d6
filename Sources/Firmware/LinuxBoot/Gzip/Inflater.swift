/// Unpacks DEFLATE data (RFC 1951) into an array that never exceeds a limit.
struct Inflater {
  /// Why data cannot be unpacked.
  enum Failure: Error { case truncated, invalid, tooLarge }

  /// What has been unpacked.
  private(set) var output: [UInt8] = []
  /// The number of bytes taken from the input, whole ones that are still unused not counted.
  var consumed: Int { input.consumed }

  private var input: BitReader
  private let limit: Int

  init(_ data: ArraySlice<UInt8>, limit: Int) {
    input = BitReader(data)
    self.limit = limit
  }

  /// Unpacks all blocks, up to and including the last (§3.2.3).
  mutating func run() throws(Failure) {
    var isLast = false
    while !isLast {
      isLast = try input.bits(1) == 1
      switch try input.bits(2) {
      case 0: try copyStored()
      case 1: try decode(Self.fixedCodes)
      case 2: try decode(readCodes())
      default: throw .invalid
      }
    }
  }

  // MARK: - Blocks

  /// A block that is not compressed (§3.2.4).
  private mutating func copyStored() throws(Failure) {
    input.skipToByte()
    let count = try input.bits(16)
    guard try input.bits(16) == ~count & 0xFFFF else { throw .invalid }
    for _ in 0..<count { try append(UInt8(truncatingIfNeeded: input.bits(8))) }
  }

  /// A compressed block: literals, and repetitions of what came before (§3.2.5).
  private mutating func decode(_ codes: Codes) throws(Failure) {
    while true {
      let symbol = try codes.literals.decode(&input)
      if symbol < 256 {
        try append(UInt8(symbol))
      } else if symbol == 256 {
        return
      } else {
        let length = try Self.lengths.value(Int(symbol) - 257, &input)
        let distance = try Self.distances.value(Int(codes.distances.decode(&input)), &input)
        try repeatBytes(length, from: distance)
      }
    }
  }

  private mutating func append(_ byte: UInt8) throws(Failure) {
    guard output.count < limit else { throw .tooLarge }
    output.append(byte)
  }

  private mutating func repeatBytes(_ length: Int, from distance: Int) throws(Failure) {
    let start = output.count - distance
    guard start >= 0 else { throw .invalid }
    guard output.count + length <= limit else { throw .tooLarge }
    for index in start..<start + length { output.append(output[index]) }
  }

  // MARK: - Codes

  /// The two codes of a compressed block.
  private struct Codes {
    let literals, distances: HuffmanCode
  }

  /// The codes of §3.2.6.
  private static let fixedCodes = Codes(
    literals: HuffmanCode(
      fixed: Array(repeating: 8, count: 144) + Array(repeating: 9, count: 112)
        + Array(repeating: 7, count: 24) + Array(repeating: 8, count: 8)),
    distances: HuffmanCode(fixed: Array(repeating: 5, count: 30)))

  /// Reads the codes of a block that brings its own (§3.2.7).
  private mutating func readCodes() throws(Failure) -> Codes {
    let literalCount = Int(try input.bits(5)) + 257
    let distanceCount = Int(try input.bits(5)) + 1
    let lengthCount = Int(try input.bits(4)) + 4
    var codeLengths = [UInt8](repeating: 0, count: 19)
    for index in 0..<lengthCount {
      codeLengths[Self.codeLengthOrder[index]] = UInt8(truncatingIfNeeded: try input.bits(3))
    }
    let lengthCode = try HuffmanCode(codeLengths)
    let lengths = try readLengths(literalCount + distanceCount, lengthCode)
    guard lengths[256] != 0 else { throw .invalid }
    return Codes(
      literals: try HuffmanCode(lengths[..<literalCount]),
      distances: try HuffmanCode(lengths[literalCount...]))
  }

  /// Reads code lengths, themselves compressed: 16 repeats the last, 17 and 18 repeat zero.
  private mutating func readLengths(
    _ count: Int, _ code: HuffmanCode
  ) throws(Failure) -> [UInt8] {
    var lengths: [UInt8] = []
    while lengths.count < count {
      let symbol = try code.decode(&input)
      let value: UInt8
      let times: UInt32
      switch symbol {
      case ..<16: (value, times) = (UInt8(symbol), 1)
      case 16:
        guard let last = lengths.last else { throw .invalid }
        (value, times) = (last, try input.bits(2) + 3)
      case 17: (value, times) = (0, try input.bits(3) + 3)
      default: (value, times) = (0, try input.bits(7) + 11)
      }
      guard lengths.count + Int(times) <= count else { throw .invalid }
      lengths.append(contentsOf: repeatElement(value, count: Int(times)))
    }
    return lengths
  }

  private static let codeLengthOrder = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
  ]

  /// A table of §3.2.5: what a symbol stands for, with some bits read after it.
  private struct Extended {
    let bases: [Int]
    let extraBits: [Int]

    func value(_ symbol: Int, _ input: inout BitReader) throws(Failure) -> Int {
      guard symbol < bases.count else { throw .invalid }
      return bases[symbol] + Int(try input.bits(extraBits[symbol]))
    }
  }

  private static let lengths = Extended(
    bases: [
      3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
      163, 195, 227, 258,
    ],
    extraBits: [
      0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ])
  private static let distances = Extended(
    bases: [
      1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
      2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
    ],
    extraBits: [
      0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
      13,
    ])
}
