/// A set of host clusters that may hold metadata: small whatever the image, never wrong when it says no, and seldom
/// when it says yes.
struct MetadataFilter {
  private var words: [UInt64]
  private let shift: UInt64

  /// - Parameter expected: how many clusters it will hold, roughly.
  init(expected: Int) {
    var bits = 16
    while bits < 26 && 1 << bits < expected * 64 { bits += 1 }
    words = Array(repeating: 0, count: 1 << (bits - 6))
    shift = UInt64(64 - bits)
  }

  mutating func insert(_ cluster: UInt64) {
    for multiplier in Self.multipliers {
      let place = (cluster &* multiplier) >> shift
      words[Int(place >> 6)] |= 1 << (place & 63)
    }
  }

  @inline(__always)
  func mayContain(_ cluster: UInt64) -> Bool {
    contains((cluster &* 0x9e37_79b9_7f4a_7c15) >> shift)
      && contains((cluster &* 0xc2b2_ae3d_27d4_eb4f) >> shift)
  }

  private func contains(_ place: UInt64) -> Bool {
    words[Int(place >> 6)] & (1 << (place & 63)) != 0
  }

  /// Two hashes: a cluster that is not in the set must meet others in both.
  private static let multipliers: [UInt64] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f]
}
