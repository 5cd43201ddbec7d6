/// A name of the domain name system: labels of up to 63 bytes, 255 together. Compared without regard to the case of
/// letters; kept as it was written.
///
/// - SeeAlso: RFC 1035 §3.1 "Name space definitions", §4.1.4 "Message compression"; RFC 4343 "DNS Case Insensitivity".
package struct DomainName: Sendable {
  /// From the host's to the top's, as written.
  package let labels: [[UInt8]]

  /// The root.
  package static let root = DomainName(labels: [])

  private init(labels: [[UInt8]]) { self.labels = labels }

  /// `nil`: an empty label, one that is too long, or a name that is. One dot at the end is allowed.
  package init?(_ text: String) {
    var bytes = Array(text.utf8)
    if bytes.last == UInt8(ascii: "."), bytes.count > 1 { bytes.removeLast() }
    guard !bytes.isEmpty else { return nil }
    let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard labels.allSatisfy({ (1...Self.longestLabel).contains($0.count) }),
      labels.reduce(1, { $0 + $1.count + 1 }) <= Self.longest
    else { return nil }
    self.labels = labels.map(Array.init)
  }

  private static let longestLabel = 63
  private static let longest = 255
  /// As many as a name has labels: more pointers lead to pointers.
  private static let mostJumps = 127

  /// In a message, without compression.
  package var wire: [UInt8] {
    labels.flatMap { [UInt8($0.count)] + $0 } + [0]
  }

  /// Lower case, for comparison.
  package var key: String {
    String(decoding: labels.joined(separator: [UInt8(ascii: ".")]).map(Self.lowered), as: UTF8.self)
  }

  /// Whether the name ends in all of `other`'s labels; it may be the same.
  package func isInside(_ other: DomainName) -> Bool {
    labels.count >= other.labels.count
      && zip(labels.suffix(other.labels.count), other.labels).allSatisfy {
        $0.map(Self.lowered) == $1.map(Self.lowered)
      }
  }

  private static func lowered(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }
}

extension DomainName: Hashable {
  package static func == (a: Self, b: Self) -> Bool {
    a.labels.count == b.labels.count && a.isInside(b)
  }
  package func hash(into hasher: inout Hasher) {
    for label in labels {
      hasher.combine(label.count)
      for byte in label { hasher.combine(Self.lowered(byte)) }
    }
  }
}

extension DomainName: CustomStringConvertible {
  /// As written; bytes that are no printable ASCII, and dots in labels, as `\DDD` (RFC 1035 §5.1).
  package var description: String {
    labels.map { label in
      label.map { byte -> String in
        if (0x21...0x7e).contains(byte), byte != UInt8(ascii: "."), byte != UInt8(ascii: "\\") {
          return String(UnicodeScalar(byte))
        }
        let digits = String(byte)
        return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
      }.joined()
    }.joined(separator: ".")
  }
}

// MARK: - In a message

extension DomainName {
  /// Reads a name that begins at `offset`, and answers where the message goes on behind it. `nil`: it leaves the
  /// message, is too long, or leads in circles.
  static func read(from message: [UInt8], at offset: Int) -> (name: DomainName, end: Int)? {
    var labels: [[UInt8]] = []
    var length = 1
    var position = offset
    var end: Int?
    // A pointer may only lead back to before where it was found, so that no chain of them is endless.
    var limit = offset
    var jumps = 0
    while position >= 0, position < message.count {
      let count = Int(message[position])
      switch count &>> 6 {
      case 0 where count == 0:
        return (DomainName(labels: labels), end ?? position + 1)
      case 0:
        guard position + 1 + count <= message.count else { return nil }
        length += count + 1
        guard length <= longest else { return nil }
        labels.append(Array(message[position + 1..<position + 1 + count]))
        position += 1 + count
      case 3:
        guard position + 1 < message.count else { return nil }
        let target = (count & 0x3f) &<< 8 | Int(message[position + 1])
        if end == nil { end = position + 2 }
        jumps += 1
        guard target < limit, jumps <= mostJumps else { return nil }
        limit = target
        position = target
      default: return nil
      }
    }
    return nil
  }
}
