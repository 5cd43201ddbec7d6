/// The name of one entry of a directory, and nothing more: it has no slash, is not `.` or `..`, and so cannot lead
/// out of its directory. There is no other way to name a file of a `HostDirectory`.
package struct HostName: Sendable, Hashable {
  /// The longest that Linux file systems take.
  package static let longest = 255

  /// The name, and a zero byte behind it.
  let terminated: [UInt8]

  /// `nil` if the bytes are no such name, or longer than one can be.
  package init?(_ bytes: ArraySlice<UInt8>) {
    guard !bytes.isEmpty, bytes.count <= HostName.longest else { return nil }
    let dot = UInt8(ascii: ".")
    if bytes.first == dot, bytes.count == 1 || bytes.count == 2 && bytes.last == dot { return nil }
    var terminated: [UInt8] = []
    terminated.reserveCapacity(bytes.count + 1)
    for byte in bytes {
      if byte == 0 || byte == UInt8(ascii: "/") { return nil }
      terminated.append(byte)
    }
    terminated.append(0)
    self.terminated = terminated
  }

  package init?(_ bytes: [UInt8]) { self.init(bytes[...]) }

  /// The name without the zero.
  package var bytes: ArraySlice<UInt8> { terminated.dropLast() }
}

/// Bytes that the host takes as a string which names no file to us: a link's target, an attribute's name.
package struct HostText: Sendable, Hashable {
  /// The longest target of a symbolic link, without its zero.
  package static let longestTarget = 4095
  /// The longest name of an extended attribute.
  package static let longestAttributeName = 255

  /// The text, and a zero byte behind it.
  let terminated: [UInt8]

  /// `nil` if there is nothing, a zero byte within, or more than `longest` bytes.
  package init?(_ bytes: ArraySlice<UInt8>, longest: Int) {
    guard !bytes.isEmpty, bytes.count <= longest, !bytes.contains(0) else { return nil }
    terminated = bytes + [0]
  }

  package var bytes: ArraySlice<UInt8> { terminated.dropLast() }
}
