/// Finds the messages in a stream, in which each stands behind its length (RFC 1035 §4.2.2), however the stream is cut.
struct DNSMessageAssembler {
  /// The length and what has come of its message: never more than one message.
  private var bytes: [UInt8] = []

  private static let prefix = 2

  /// Takes bytes from `at` on until a message is whole, which it answers; `nil`: all are taken, and one is not.
  mutating func take(_ input: [UInt8], _ at: inout Int, _ end: Int) -> [UInt8]? {
    append(input, &at, end, upTo: Self.prefix)
    guard bytes.count >= Self.prefix else { return nil }
    let length = Self.prefix + (Int(bytes[0]) &<< 8 | Int(bytes[1]))
    append(input, &at, end, upTo: length)
    guard bytes.count == length else { return nil }
    defer { bytes = [] }
    return Array(bytes[Self.prefix...])
  }

  private mutating func append(_ input: [UInt8], _ at: inout Int, _ end: Int, upTo length: Int) {
    let count = min(max(0, length - bytes.count), end - at)
    bytes += input[at..<at + count]
    at += count
  }
}
