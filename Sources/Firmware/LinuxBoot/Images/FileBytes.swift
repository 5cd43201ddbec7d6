/// The bytes of a file that is not trusted, read little-endian at offsets that are not trusted
/// either.
struct FileBytes: Sendable {
  private let bytes: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }
  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  /// The file's size.
  var count: UInt64 { UInt64(bytes.count) }

  /// Reads a number; `nil` outside the file.
  func load<T: FixedWidthInteger & UnsignedInteger>(
    _ type: T.Type = T.self, ifPresentAt offset: UInt64
  ) -> T? {
    slice(ifPresentAt: offset, count: UInt64(T.bitWidth / 8))?.reversed().reduce(0) {
      $0 << 8 | T($1)
    }
  }

  /// Reads a number that belongs to `part` of the file.
  func load<T: FixedWidthInteger & UnsignedInteger>(
    _ type: T.Type = T.self, at offset: UInt64, of part: String
  ) throws(BootError) -> T {
    guard let value = load(type, ifPresentAt: offset) else {
      throw cutShort(part, offset, UInt64(T.bitWidth / 8))
    }
    return value
  }

  /// A run of bytes; `nil` if it is not all in the file.
  func slice(ifPresentAt offset: UInt64, count: UInt64) -> ArraySlice<UInt8>? {
    guard let range = Range(at: offset, size: count), range.upperBound <= self.count else {
      return nil
    }
    // Both are at most `bytes.count` now, hence fit in `Int`.
    let start = bytes.startIndex + Int(offset)
    return bytes[start..<start + Int(count)]
  }

  /// A run of bytes that belongs to `part` of the file.
  func slice(
    at offset: UInt64, count: UInt64, of part: String
  ) throws(BootError) -> ArraySlice<UInt8> {
    guard let slice = slice(ifPresentAt: offset, count: count) else {
      throw cutShort(part, offset, count)
    }
    return slice
  }

  /// Whether the file holds these bytes at this offset.
  func has(_ signature: [UInt8], at offset: UInt64) -> Bool {
    slice(ifPresentAt: offset, count: UInt64(signature.count))?.elementsEqual(signature) ?? false
  }

  /// Whether the file holds this text at this offset.
  func has(_ signature: StaticString, at offset: UInt64) -> Bool {
    has(Array(signature.description.utf8), at: offset)
  }

  private func cutShort(_ part: String, _ offset: UInt64, _ wanted: UInt64) -> BootError {
    .damaged(
      "The kernel is cut short or damaged: its \(part) takes \(hex(wanted)) bytes at offset "
        + "\(hex(offset)), but the file has only \(hex(count)).")
  }
}
