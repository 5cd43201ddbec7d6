/// A little-endian structure of fixed size while it is being filled in. Offsets are ours, never a
/// file's.
struct Structure {
  private(set) var bytes: [UInt8]

  /// A structure of zeroes.
  init(count: Int) { bytes = Array(repeating: 0, count: count) }

  /// Writes one field.
  mutating func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
    for index in 0..<T.bitWidth / 8 {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> T(index * 8))
    }
  }

  /// Writes a run of bytes that fits.
  mutating func store(_ run: some Collection<UInt8>, at offset: Int) {
    bytes.replaceSubrange(offset..<offset + run.count, with: run)
  }
}
