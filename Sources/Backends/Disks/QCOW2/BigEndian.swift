/// Numbers as qcow2 stores them: most significant byte first (qcow2 "General").
extension UnsafeRawPointer {
  @inline(__always)
  func big<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T {
    T(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }
}

extension UnsafeMutableRawPointer {
  @inline(__always)
  func big<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T {
    T(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }

  @inline(__always)
  func storeBig<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
}

/// A reader of bytes that somebody else wrote: nothing beyond the end is read, and nothing traps.
struct ByteReader {
  private let bytes: [UInt8]
  private(set) var position: Int

  init(_ bytes: [UInt8], at position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  mutating func number<T: FixedWidthInteger>(_ type: T.Type) -> T? {
    guard let field = take(MemoryLayout<T>.size) else { return nil }
    return field.reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
  }

  mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count >= 0, position >= 0, position <= bytes.count, count <= bytes.count - position
    else { return nil }
    defer { position += count }
    return bytes[position..<position + count]
  }

  /// Moves on to a multiple of `unit`.
  mutating func align(to unit: Int) { position += (unit - position % unit) % unit }
}

extension [UInt8] {
  mutating func appendBig<T: FixedWidthInteger>(_ value: T) {
    for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: value >> T(shift)))
    }
  }

  mutating func pad(to unit: Int) {
    while count % unit != 0 { append(0) }
  }
}
