/// A set of host clusters that may hold metadata: small whatever the image, never wrong when it says no.
struct MetadataFilter {
  private var words: [UInt64]
  private let shift: UInt64

  /// - Parameter expected: how many clusters it will hold, roughly.
  init(expected: Int) {
    var bits = 16
    while bits < 26 && 1 << bits < expected * 16 { bits += 1 }
    words = Array(repeating: 0, count: 1 << (bits - 6))
    shift = UInt64(64 - bits)
  }

  @inline(__always)
  private func place(_ cluster: UInt64) -> UInt64 {
    (cluster &* 0x9e37_79b9_7f4a_7c15) >> shift
  }

  mutating func insert(_ cluster: UInt64) {
    let place = place(cluster)
    words[Int(place >> 6)] |= 1 << (place & 63)
  }

  @inline(__always)
  func mayContain(_ cluster: UInt64) -> Bool {
    let place = place(cluster)
    return words[Int(place >> 6)] & (1 << (place & 63)) != 0
  }
}
