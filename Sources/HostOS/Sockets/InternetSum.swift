import CHostOS

/// The ones' complement sum that IP, TCP, UDP and ICMP are checked by (RFC 1071).
package enum InternetSum {
  /// The sum of 16-bit words in network order over `bytes[range]`, which starts at an even place; not complemented.
  package static func of(_ bytes: [UInt8], _ range: Range<Int>) -> UInt16 {
    bytes.withUnsafeBytes { buffer in
      let part = UnsafeRawBufferPointer(rebasing: buffer[range])
      return roost_internet_sum(part.baseAddress, part.count)
    }
  }

  /// The same over a part of a span.
  package static func of(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt16 {
    bytes.extracting(range).withUnsafeBufferPointer {
      roost_internet_sum($0.baseAddress, $0.count)
    }
  }

  /// The sum of two sums.
  package static func add(_ a: UInt16, _ b: UInt16) -> UInt16 {
    let sum = UInt32(a) &+ UInt32(b)
    return UInt16(truncatingIfNeeded: (sum & 0xffff) &+ (sum &>> 16))
  }
}
