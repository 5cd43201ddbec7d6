/// Takes numbers and runs of bytes off the front of a message. What is not there is `nil`, and nothing is taken.
struct MessageReader {
  private let bytes: [UInt8]
  /// Where the next byte is taken from.
  private(set) var position: Int
  private let end: Int

  init(_ bytes: [UInt8]) { self.init(bytes, 0..<bytes.count) }

  /// Reads a part, which lies inside.
  init(_ bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  var remaining: Int { end - position }
  var isAtEnd: Bool { position == end }

  mutating func byte() -> UInt8? {
    guard remaining >= 1 else { return nil }
    defer { position += 1 }
    return bytes[position]
  }

  /// A number, most significant byte first.
  mutating func word16() -> UInt16? {
    guard remaining >= 2 else { return nil }
    defer { position += 2 }
    return UInt16(bytes[position]) &<< 8 | UInt16(bytes[position + 1])
  }

  mutating func word32() -> UInt32? {
    guard remaining >= 4, let high = word16(), let low = word16() else { return nil }
    return UInt32(high) &<< 16 | UInt32(low)
  }

  mutating func take(_ count: Int) -> [UInt8]? {
    guard count >= 0, remaining >= count else { return nil }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  /// Passes over bytes; `false` if there are not that many.
  mutating func skip(_ count: Int) -> Bool {
    guard count >= 0, remaining >= count else { return false }
    position += count
    return true
  }

  /// The bytes up to the next zero, which is taken too.
  mutating func takeUntilZero() -> [UInt8]? {
    guard let zero = bytes[position..<end].firstIndex(of: 0) else { return nil }
    defer { position = zero + 1 }
    return Array(bytes[position..<zero])
  }
}

extension [UInt8] {
  /// Appends a number, most significant byte first.
  mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
    for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: value &>> T(truncatingIfNeeded: shift)))
    }
  }
}
