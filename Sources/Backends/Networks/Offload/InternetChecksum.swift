/// The ones' complement sum of 16-bit words that IP, TCP and UDP are checked with.
///
/// - SeeAlso: RFC 1071 "Computing the Internet Checksum".
package struct InternetChecksum: Sendable {
  /// Not yet folded; words as they lie in memory, so that no byte is swapped on the way (RFC 1071 2 (B)).
  private var sum: UInt64 = 0

  package init() {}

  /// Adds bytes, of which all but the last to be added are an even number. `range` lies inside.
  package mutating func add(_ bytes: [UInt8], _ range: Range<Int>) {
    bytes.withUnsafeBytes { add(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }

  /// Adds a 16-bit word.
  package mutating func add(_ word: UInt16) { addWords(UInt64(word.bigEndian)) }

  /// Adds a 32-bit number: a length of the pseudo header.
  package mutating func add(_ number: UInt32) { addWords(UInt64(number.bigEndian)) }

  private mutating func addWords(_ words: UInt64) {
    let (total, carry) = sum.addingReportingOverflow(words)
    sum = carry ? total &+ 1 : total
  }

  private mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var index = 0
    // Two sums without a chain of carries: halves of eight bytes each.
    var low: UInt64 = 0
    var high: UInt64 = 0
    while index &+ 8 <= bytes.count {
      let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
      low &+= word & 0xffff_ffff
      high &+= word &>> 32
      index &+= 8
    }
    addWords(low)
    addWords(high)
    while index &+ 2 <= bytes.count {
      addWords(UInt64(bytes.loadUnaligned(fromByteOffset: index, as: UInt16.self)))
      index &+= 2
    }
    if index < bytes.count {
      addWords(UInt64(UInt16(bytes[index]).littleEndian))
    }
  }

  /// The field that makes the sum right, complemented, as the 16-bit number that goes out first byte first.
  package var field: UInt16 {
    var folded = (sum &>> 32) &+ (sum & 0xffff_ffff)
    folded = (folded &>> 32) &+ (folded & 0xffff_ffff)
    folded = (folded &>> 16) &+ (folded & 0xffff)
    folded = (folded &>> 16) &+ (folded & 0xffff)
    folded = (folded &>> 16) &+ (folded & 0xffff)
    return ~UInt16(truncatingIfNeeded: folded).bigEndian
  }
}

extension [UInt8] {
  /// The 16-bit number at `offset`, first byte first; `offset + 1` lies inside.
  func word(at offset: Int) -> UInt16 { UInt16(self[offset]) &<< 8 | UInt16(self[offset + 1]) }

  mutating func setWord(_ value: UInt16, at offset: Int) {
    self[offset] = UInt8(truncatingIfNeeded: value &>> 8)
    self[offset + 1] = UInt8(truncatingIfNeeded: value)
  }
}
