extension CBORItem {
  /// Appends the item's encoding to `bytes`.
  func write(to bytes: inout [UInt8]) {
    switch self {
    case .unsigned(let number):
      Self.writeNumber(number, .unsigned, tag: 2, to: &bytes)
    case .negative(let number):
      Self.writeNumber(number, .negative, tag: 3, to: &bytes)
    case .bytes(let content):
      Self.writeHead(.bytes, UInt64(content.count), to: &bytes)
      bytes += content
    case .text(let text):
      Self.writeHead(.text, UInt64(text.utf8.count), to: &bytes)
      bytes += text.utf8
    case .array(let items):
      Self.writeHead(.array, UInt64(items.count), to: &bytes)
      for item in items { item.write(to: &bytes) }
    case .map(let entries):
      Self.writeHead(.map, UInt64(entries.count), to: &bytes)
      for entry in entries {
        CBORItem.text(entry.key).write(to: &bytes)
        entry.value.write(to: &bytes)
      }
    case .bool(let value):
      bytes.append(value ? 0xF5 : 0xF4)
    case .null:
      bytes.append(0xF6)
    case .single(let value):
      Self.writeFloat(value, to: &bytes)
    case .double(let value):
      Self.writeFloat(value, to: &bytes)
    }
  }

  /// Appends a head: the major type and its argument, in as few bytes as will do.
  ///
  /// - SeeAlso: RFC 8949 §3 and §4.2.1.
  private static func writeHead(
    _ type: CBORMajorType, _ argument: UInt64, to bytes: inout [UInt8]
  ) {
    let type = type.rawValue << 5
    switch argument {
    case ..<24: bytes.append(type | UInt8(argument))
    case ..<0x100: writeWord(UInt8(argument), after: type | 24, to: &bytes)
    case ..<0x1_0000: writeWord(UInt16(argument), after: type | 25, to: &bytes)
    case ..<0x1_0000_0000: writeWord(UInt32(argument), after: type | 26, to: &bytes)
    default: writeWord(argument, after: type | 27, to: &bytes)
    }
  }

  /// Appends a number, as a tagged byte string if it has more than 64 bits.
  ///
  /// - SeeAlso: RFC 8949 §3.4.3 "Bignums".
  private static func writeNumber(
    _ number: UInt128, _ type: CBORMajorType, tag: UInt64, to bytes: inout [UInt8]
  ) {
    if let argument = UInt64(exactly: number) {
      writeHead(type, argument, to: &bytes)
    } else {
      let count = 16 - number.leadingZeroBitCount / 8
      writeHead(.tag, tag, to: &bytes)
      writeHead(.bytes, UInt64(count), to: &bytes)
      writeBigEndian(number, count: count, to: &bytes)
    }
  }

  /// Appends a floating-point number, in the narrowest form that keeps every bit.
  private static func writeFloat(_ value: Double, to bytes: inout [UInt8]) {
    let narrow = Float(value)
    if Double(narrow).bitPattern == value.bitPattern {
      writeFloat(narrow, to: &bytes)
    } else {
      writeWord(value.bitPattern, after: 0xFB, to: &bytes)
    }
  }

  private static func writeFloat(_ value: Float, to bytes: inout [UInt8]) {
    let narrow = Float16(value)
    if Float(narrow).bitPattern == value.bitPattern {
      writeWord(narrow.bitPattern, after: 0xF9, to: &bytes)
    } else {
      writeWord(value.bitPattern, after: 0xFA, to: &bytes)
    }
  }

  private static func writeWord<Word: FixedWidthInteger>(
    _ word: Word, after first: UInt8, to bytes: inout [UInt8]
  ) {
    bytes.append(first)
    writeBigEndian(word, count: Word.bitWidth / 8, to: &bytes)
  }

  private static func writeBigEndian<Word: FixedWidthInteger>(
    _ word: Word, count: Int, to bytes: inout [UInt8]
  ) {
    for index in (0..<count).reversed() {
      bytes.append(UInt8(truncatingIfNeeded: word >> (8 * index)))
    }
  }
}
