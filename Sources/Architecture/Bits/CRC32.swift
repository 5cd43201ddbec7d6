/// The cyclic redundancy check of gzip, Ethernet and partition tables.
///
/// - SeeAlso: RFC 1952 §8 "Appendix: Sample CRC Code"; UEFI 2.10 §4.2 "EFI Table Header".
package enum CRC32 {
  package static func checksum(of bytes: [UInt8]) -> UInt32 {
    var sum: UInt32 = .max
    let table = table
    for byte in bytes {
      sum = table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ (sum >> 8)
    }
    return ~sum
  }

  private static let table: [UInt32] = (0..<256).map { (byte: UInt32) in
    (0..<8).reduce(byte) { sum, _ in sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0xEDB8_8320 }
  }
}
