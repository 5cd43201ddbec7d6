/// Reads data items from bytes that nobody vouches for.
///
/// Nothing is allocated before the bytes that fill it are known to be there, and nothing is
/// accepted that `CBORItem.write` would not have written.
struct CBORReader {
  private let bytes: [UInt8]
  private var offset = 0
  /// Items that arrays and maps have announced and that are still to come. Each takes a byte or
  /// more, so that there can never be more of them than bytes left.
  private var announced = 1
  /// Items that may still be announced.
  private var allowance = CBORItem.maximumCount

  /// Reads the one item that `bytes` consist of.
  static func item(of bytes: [UInt8]) throws(RestoreError) -> CBORItem {
    var reader = CBORReader(bytes: bytes)
    let item = try reader.item(depth: 0)
    guard reader.left == 0 else { throw reader.refuse("\(reader.left) bytes too many") }
    return item
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private var left: Int { bytes.count - offset }

  private func refuse(_ reason: String) -> RestoreError {
    .malformed(part: "", reason: "at byte \(offset): \(reason)")
  }
}

// MARK: - Items of each major type

extension CBORReader {
  private mutating func item(depth: Int) throws(RestoreError) -> CBORItem {
    announced -= 1
    let first = try byte()
    let type = CBORMajorType(rawValue: first >> 5) ?? .simple
    let information = first & 0x1F
    switch type {
    case .unsigned: return .unsigned(UInt128(try argument(information)))
    case .negative: return .negative(UInt128(try argument(information)))
    case .bytes: return .bytes(Array(try string(information)))
    case .text: return .text(try text(information))
    case .array: return try array(information, depth: depth)
    case .map: return try map(information, depth: depth)
    case .tag: return try bigNumber(information)
    case .simple: return try simple(information)
    }
  }

  private mutating func array(
    _ information: UInt8, depth: Int
  ) throws(RestoreError) -> CBORItem {
    let count = try announce(argument(information), each: 1, depth: depth)
    var items: [CBORItem] = []
    items.reserveCapacity(count)
    for _ in 0..<count { items.append(try item(depth: depth + 1)) }
    return .array(items)
  }

  private mutating func map(
    _ information: UInt8, depth: Int
  ) throws(RestoreError) -> CBORItem {
    let count = try announce(argument(information), each: 2, depth: depth)
    var entries: [CBORItem.Entry] = []
    entries.reserveCapacity(count)
    for _ in 0..<count {
      guard case .text(let key) = try item(depth: depth + 1) else {
        throw refuse("a key that is not a text")
      }
      if let last = entries.last, !precedes(last.key, key) {
        throw refuse(precedes(key, last.key) ? "keys out of order" : "the key \(key) twice")
      }
      entries.append(.init(key: key, value: try item(depth: depth + 1)))
    }
    return .map(entries)
  }

  /// Checks the items that an array or a map announces; returns how many times `each` there are.
  private mutating func announce(
    _ count: UInt64, each: Int, depth: Int
  ) throws(RestoreError) -> Int {
    guard depth < CBORItem.maximumDepth else {
      throw refuse("nested deeper than \(CBORItem.maximumDepth)")
    }
    guard let count = Int(exactly: count), count <= (left - announced) / each else {
      throw refuse("more items announced than there are bytes")
    }
    guard count * each <= allowance else {
      throw refuse("more than \(CBORItem.maximumCount) items")
    }
    announced += count * each
    allowance -= count * each
    return count
  }

  private mutating func text(_ information: UInt8) throws(RestoreError) -> String {
    guard let text = String(validating: try string(information), as: UTF8.self) else {
      throw refuse("a text that is not UTF-8")
    }
    return text
  }

  /// A number of more than 64 bits.
  ///
  /// - SeeAlso: RFC 8949 §3.4.3 "Bignums".
  private mutating func bigNumber(_ information: UInt8) throws(RestoreError) -> CBORItem {
    let tag = try argument(information)
    guard tag == 2 || tag == 3 else { throw refuse("the unknown tag \(tag)") }
    let first = try byte()
    guard first >> 5 == CBORMajorType.bytes.rawValue else {
      throw refuse("a big number that is not a byte string")
    }
    let content = try string(first & 0x1F)
    guard (9...16).contains(content.count), content.first != 0 else {
      throw refuse("a big number of another length than needed")
    }
    let number = content.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    return tag == 2 ? .unsigned(number) : .negative(number)
  }

  /// A truth value, null, or a floating-point number.
  ///
  /// - SeeAlso: RFC 8949 §3.3 "Floating-Point Numbers and Values with No Content".
  private mutating func simple(_ information: UInt8) throws(RestoreError) -> CBORItem {
    let start = offset - 1
    let item: CBORItem
    switch information {
    case 20: item = .bool(false)
    case 21: item = .bool(true)
    case 22: item = .null
    case 25: item = .single(Float(Float16(bitPattern: try word())))
    case 26: item = .single(Float(bitPattern: try word()))
    case 27: item = .double(Double(bitPattern: try word()))
    default: throw refuse("the unknown simple value or float \(information)")
    }
    var written: [UInt8] = []
    item.write(to: &written)
    guard written[...] == bytes[start..<offset] else {
      throw refuse("a floating-point number in another form than needed")
    }
    return item
  }
}

// MARK: - Bytes, words and heads

extension CBORReader {
  private mutating func byte() throws(RestoreError) -> UInt8 {
    guard left > 0 else { throw refuse("the end comes too early") }
    defer { offset += 1 }
    return bytes[offset]
  }

  /// The next bytes, as a big-endian number.
  private mutating func word<Word: FixedWidthInteger>() throws(RestoreError) -> Word {
    var word: Word = 0
    for _ in 0..<(Word.bitWidth / 8) {
      word = try (word << 8 as Word) | Word(truncatingIfNeeded: byte())
    }
    return word
  }

  /// The argument of a head. It must be written in as few bytes as will do.
  private mutating func argument(_ information: UInt8) throws(RestoreError) -> UInt64 {
    let (argument, least): (UInt64, UInt64)
    switch information {
    case ..<24: (argument, least) = (UInt64(information), 0)
    case 24: (argument, least) = (UInt64(try byte()), 24)
    case 25: (argument, least) = (UInt64(try word() as UInt16), 0x100)
    case 26: (argument, least) = (UInt64(try word() as UInt32), 0x1_0000)
    case 27: (argument, least) = (try word(), 0x1_0000_0000)
    default: throw refuse("a length that is not given")
    }
    guard argument >= least else { throw refuse("a number in more bytes than needed") }
    return argument
  }

  /// The content of a byte or text string.
  private mutating func string(_ information: UInt8) throws(RestoreError) -> ArraySlice<UInt8> {
    guard let count = Int(exactly: try argument(information)), count <= left else {
      throw refuse("a string longer than what is left")
    }
    defer { offset += count }
    return bytes[offset..<(offset + count)]
  }
}
