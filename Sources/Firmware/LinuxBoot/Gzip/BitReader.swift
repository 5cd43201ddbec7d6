/// Reads DEFLATE's bit stream: bytes in order, each from its lowest bit (RFC 1951 §3.1.1).
struct BitReader {
  private let data: ArraySlice<UInt8>
  private var next: Int
  /// Bits that have been taken from the data but not been used, the next one lowest.
  private var held: UInt32 = 0
  private var heldCount = 0

  init(_ data: ArraySlice<UInt8>) {
    self.data = data
    next = data.startIndex
  }

  /// The bytes used so far; one that is used in part counts whole.
  var consumed: Int { next - data.startIndex - heldCount / 8 }

  /// Uses up to 16 bits.
  mutating func bits(_ count: Int) throws(Inflater.Failure) -> UInt32 {
    fill(to: count)
    guard heldCount >= count else { throw .truncated }
    defer { drop(count) }
    return held & ((1 << UInt32(count)) - 1)
  }

  /// The next 15 bits without using them, with zeroes past the end of the data.
  mutating func peek() -> UInt32 {
    fill(to: 15)
    return held & 0x7FFF
  }

  /// Uses bits that were peeked at.
  mutating func use(_ count: Int) throws(Inflater.Failure) {
    guard heldCount >= count else { throw .truncated }
    drop(count)
  }

  /// Drops what is left of a byte that is used in part.
  mutating func skipToByte() { drop(heldCount % 8) }

  private mutating func fill(to count: Int) {
    while heldCount < count, next < data.endIndex {
      held |= UInt32(data[next]) << UInt32(heldCount)
      heldCount += 8
      next += 1
    }
  }

  private mutating func drop(_ count: Int) {
    held >>= UInt32(count)
    heldCount -= count
  }
}
