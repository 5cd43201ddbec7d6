extension Array where Element == UInt8 {
  /// Appends an integer's bytes, the least significant first.
  package mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    for shift in stride(from: 0, to: T.bitWidth, by: 8) {
      append(UInt8(truncatingIfNeeded: value &>> T(truncatingIfNeeded: shift)))
    }
  }

  /// The integer whose least significant byte is at `offset`; `nil` if it does not lie wholly inside.
  package func integer<T: FixedWidthInteger>(_ type: T.Type, littleEndianAt offset: Int) -> T? {
    let size = T.bitWidth / 8
    guard offset >= 0, count >= size, offset <= count - size else { return nil }
    var value: T = 0
    for index in 0..<size {
      value |= T(truncatingIfNeeded: self[offset + index]) &<< T(truncatingIfNeeded: index * 8)
    }
    return value
  }
}
