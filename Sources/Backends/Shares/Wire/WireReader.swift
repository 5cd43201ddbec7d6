import HostOS

/// Takes a message apart, front to back. What is not there is an error, never a trap.
struct WireReader {
  private let bytes: [UInt8]
  private var position: Int
  private let end: Int

  /// Reads from `start` to `end` of a message; both are brought into its bounds.
  init(_ bytes: [UInt8], from start: Int = 0, to end: Int = .max) {
    self.bytes = bytes
    self.end = max(0, min(end, bytes.count))
    position = max(0, min(start, self.end))
  }

  var count: Int { end - position }

  /// The next number, its low byte first.
  mutating func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self)
    throws(LinuxError) -> T
  {
    let size = T.bitWidth / 8
    guard count >= size else { throw .invalid }
    var value: T = 0
    for index in 0..<size {
      value |= T(truncatingIfNeeded: bytes[position + index]) << T(truncatingIfNeeded: index * 8)
    }
    position += size
    return value
  }

  mutating func skip(_ size: Int) throws(LinuxError) { _ = try take(size) }

  mutating func take(_ size: Int) throws(LinuxError) -> ArraySlice<UInt8> {
    guard size >= 0, count >= size else { throw .invalid }
    defer { position += size }
    return bytes[position..<position + size]
  }

  /// All that is left.
  mutating func rest() -> ArraySlice<UInt8> {
    defer { position = end }
    return bytes[position..<end]
  }

  /// A string with its length in front: 9P's form.
  mutating func countedString() throws(LinuxError) -> ArraySlice<UInt8> {
    try take(Int(try number(UInt16.self)))
  }

  /// A string with a zero byte behind it: FUSE's form.
  mutating func terminatedString() throws(LinuxError) -> ArraySlice<UInt8> {
    guard let zero = bytes[position..<end].firstIndex(of: 0) else { throw .invalid }
    defer { position = zero + 1 }
    return bytes[position..<zero]
  }
}

extension HostName {
  /// The name of a directory's entry, from a message.
  init(checking bytes: ArraySlice<UInt8>) throws(LinuxError) {
    guard bytes.count <= HostName.longest else { throw .nameTooLong }
    guard let name = HostName(bytes) else { throw .invalid }
    self = name
  }
}
