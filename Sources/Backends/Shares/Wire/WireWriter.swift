/// Puts a message together, front to back, low bytes first.
struct WireWriter {
  private(set) var bytes: [UInt8]

  /// Leaves `prefix` bytes for a header.
  init(after prefix: Int = 0, expecting count: Int = 0) {
    bytes = []
    bytes.reserveCapacity(prefix + count)
    bytes.append(contentsOf: repeatElement(0, count: prefix))
  }

  var count: Int { bytes.count }

  mutating func number<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
    for index in 0..<T.bitWidth / 8 {
      bytes.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: index * 8)))
    }
  }

  mutating func number<T: FixedWidthInteger & SignedInteger>(_ value: T)
  where T.Magnitude: UnsignedInteger {
    number(T.Magnitude(truncatingIfNeeded: value))
  }

  mutating func raw(_ some: some Collection<UInt8>) { bytes.append(contentsOf: some) }

  mutating func zeroes(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }

  /// A string with its length in front. Longer ones than the length can say do not come from a host.
  mutating func countedString(_ text: some Collection<UInt8>) {
    let text = text.prefix(Int(UInt16.max))
    number(UInt16(text.count))
    raw(text)
  }
}

extension [UInt8] {
  /// Overwrites bytes from `index` on, low byte first.
  mutating func set<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at index: Int) {
    for offset in 0..<T.bitWidth / 8 where index + offset < count {
      self[index + offset] = UInt8(
        truncatingIfNeeded: value >> T(truncatingIfNeeded: offset * 8))
    }
  }
}
