/// Frames as they follow each other in a stream of bytes: each behind its length, four bytes, first byte first.
///
/// passt and QEMU's `-netdev stream` speak it.
package struct FrameStream {
  /// Bytes that have come in and make no whole frame yet.
  private var bytes: [UInt8] = []
  private var taken = 0

  package init() {}

  /// A length that no frame can have: whoever sends it does not speak the protocol, or has lost its place.
  package struct Lost: Error {}

  /// Takes in a part of the stream, and gives the frames that it completes. Empty ones are left out.
  package mutating func take(_ new: [UInt8]) throws(Lost) -> [[UInt8]] {
    bytes += new
    var frames: [[UInt8]] = []
    while bytes.count - taken >= 4 {
      let length = bytes[taken..<taken + 4].reduce(0) { $0 &<< 8 | Int($1) }
      guard length <= Frame.maximumLength else { throw Lost() }
      let start = taken + 4
      guard bytes.count - start >= length else { break }
      if length > 0 { frames.append(Array(bytes[start..<start + length])) }
      taken = start + length
    }
    if taken > 0 {
      bytes.removeFirst(taken)
      taken = 0
    }
    return frames
  }
}

extension [UInt8] {
  /// Appends a frame to a stream.
  mutating func append(inStream frame: [UInt8]) {
    let length = UInt32(truncatingIfNeeded: frame.count)
    for shift: UInt32 in [24, 16, 8, 0] { append(UInt8(truncatingIfNeeded: length &>> shift)) }
    self += frame
  }
}
