/// The Castagnoli cyclic redundancy check, which guards a saved machine against damage.
///
/// - SeeAlso: RFC 3720 §12.1 "HeaderDigest and DataDigest", and its test vectors in §B.4.
package enum CRC32C {
  /// The polynomial 0x1EDC6F41, its bits reversed.
  private static let polynomial: UInt32 = 0x82F6_3B78

  /// What eight steps of the division do to each value of the low byte.
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { remainder, _ in
      remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ polynomial
    }
  }

  /// The checksum of a run of bytes.
  package static func checksum(of bytes: ArraySlice<UInt8>) -> UInt32 {
    let table = table
    return ~bytes.reduce(UInt32.max) { remainder, byte in
      remainder >> 8 ^ table[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)]
    }
  }
}
