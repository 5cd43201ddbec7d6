/// A prefix code given by the lengths of its words (RFC 1951 §3.2.2), as a table over the next 15
/// bits' lower part and, for the few longer words, a search.
struct HuffmanCode {
  /// For every value of the next `tableBits` bits: symbol and word length; length 0 if the word is
  /// longer, or is none.
  private var table: [Entry]
  /// Words by length: the number of them, and all symbols ordered by length, then value.
  private var counts = [Int](repeating: 0, count: maximumLength + 1)
  private var symbols: [UInt16]

  private struct Entry {
    var symbol: UInt16 = 0
    var length: UInt8 = 0
  }

  private static let maximumLength = 15
  private static let tableBits = 10

  /// The code in which symbol `n` has a word of `lengths[n]` bits, 0 for none. It may be
  /// incomplete, as a code of one distance is, but not oversubscribed.
  init(_ lengths: some Collection<UInt8>) throws(Inflater.Failure) {
    self.init(fixed: Array(lengths))
    var left = 1
    for length in 1...Self.maximumLength {
      left = left * 2 - counts[length]
      guard left >= 0 else { throw .invalid }
    }
  }

  /// A code from lengths at most 15 each.
  init(fixed lengths: [UInt8]) {
    for length in lengths where length > 0 { counts[Int(length)] += 1 }
    var offsets = [Int](repeating: 0, count: Self.maximumLength + 2)
    var words = [UInt32](repeating: 0, count: Self.maximumLength + 2)
    for length in 1...Self.maximumLength {
      offsets[length + 1] = offsets[length] + counts[length]
      words[length + 1] = (words[length] &+ UInt32(counts[length])) << 1
    }
    symbols = Array(repeating: 0, count: offsets[Self.maximumLength + 1])
    table = Array(repeating: Entry(), count: 1 << Self.tableBits)
    for (symbol, length) in lengths.enumerated() where length > 0 {
      symbols[offsets[Int(length)]] = UInt16(symbol)
      offsets[Int(length)] += 1
      enter(UInt16(symbol), word: words[Int(length)], length: Int(length))
      words[Int(length)] &+= 1
    }
  }

  /// Reads one symbol.
  func decode(_ input: inout BitReader) throws(Inflater.Failure) -> UInt16 {
    let bits = input.peek()
    let entry = table[Int(bits & UInt32(table.count - 1))]
    if entry.length > 0 {
      try input.use(Int(entry.length))
      return entry.symbol
    }
    return try search(bits, &input)
  }

  /// Fills in the table wherever the lower bits are this word, whose first bit is its highest.
  private mutating func enter(_ symbol: UInt16, word: UInt32, length: Int) {
    guard length <= Self.tableBits, word < 1 << UInt32(length) else { return }
    var reversed = 0
    for bit in 0..<length where word & (1 << UInt32(bit)) != 0 {
      reversed |= 1 << (length - 1 - bit)
    }
    for index in stride(from: reversed, to: table.count, by: 1 << length) {
      table[index] = Entry(symbol: symbol, length: UInt8(length))
    }
  }

  /// Compares bit by bit with the range of words of each length.
  private func search(_ bits: UInt32, _ input: inout BitReader) throws(Inflater.Failure) -> UInt16 {
    var (word, first, index) = (0, 0, 0)
    for length in 1...Self.maximumLength {
      word |= Int(bits >> UInt32(length - 1) & 1)
      let count = counts[length]
      if word - first < count {
        try input.use(length)
        return symbols[index + word - first]
      }
      index += count
      first = (first + count) << 1
      word <<= 1
    }
    throw .invalid
  }
}
