/// What an L2 entry says of one guest cluster.
///
/// Clusters without subclusters are held as if they had one, so that whoever reads an entry need not tell the two
/// formats apart.
/// - SeeAlso: qcow2 "Cluster mapping", "Extended L2 Entries".
struct ClusterEntry: Equatable {
  /// Where its data lie; 0: nowhere. Of a compressed cluster, the descriptor.
  var host: UInt64 = 0
  /// The host cluster has one user, so that it may be written in place (bit 63).
  var isExclusive = false
  var isCompressed = false
  /// A bit for each subcluster whose data are at `host`.
  var allocated: UInt32 = 0
  /// A bit for each subcluster that reads as zeroes.
  var zero: UInt32 = 0

  static let absent = ClusterEntry()

  private static let exclusiveBit: UInt64 = 1 << 63
  private static let compressedBit: UInt64 = 1 << 62
  private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

  init() {}

  /// - Parameters:
  ///   - host: cluster-aligned.
  init(host: UInt64, allocated: UInt32, zero: UInt32) {
    self.host = host
    isExclusive = host != 0
    self.allocated = allocated
    self.zero = zero
  }

  init(compressed descriptor: UInt64) {
    host = descriptor
    isCompressed = true
  }

  init(_ entry: UInt64, _ bitmap: UInt64, _ geometry: QCOW2Geometry) throws(DiskError) {
    if entry & Self.compressedBit != 0 {
      host = entry & (Self.compressedBit - 1)
      isCompressed = true
      return
    }
    isExclusive = entry & Self.exclusiveBit != 0
    host = entry & Self.offsetMask
    guard host & geometry.clusterMask == 0 else {
      throw .damaged("An L2 entry points between two clusters, to \(host).")
    }
    if geometry.hasExtendedEntries {
      allocated = UInt32(truncatingIfNeeded: bitmap)
      zero = UInt32(truncatingIfNeeded: bitmap >> 32)
      guard allocated & zero == 0, allocated == 0 || host != 0 else {
        throw .damaged("An L2 entry's subclusters contradict each other.")
      }
    } else if entry & 1 != 0 {
      guard geometry.version >= 3 else {
        throw .damaged("A cluster of a version 2 image is marked as zeroes.")
      }
      zero = 1
    } else if host != 0 {
      allocated = 1
    }
  }

  /// The entry as it is stored, and the bitmap behind it where entries are extended.
  func encoded(_ geometry: QCOW2Geometry) -> (UInt64, UInt64) {
    if isCompressed { return (host | Self.compressedBit, 0) }
    var entry = host
    if isExclusive && host != 0 { entry |= Self.exclusiveBit }
    if geometry.hasExtendedEntries { return (entry, UInt64(zero) << 32 | UInt64(allocated)) }
    return (entry | UInt64(zero), 0)
  }
}

/// Where a compressed cluster's bytes lie.
/// - SeeAlso: qcow2 "Compressed Clusters Descriptor".
struct CompressedRange: Equatable {
  let offset: UInt64
  /// To the end of the last sector; the data may end before.
  let count: Int

  init(_ descriptor: UInt64, _ geometry: QCOW2Geometry) {
    let shift = UInt64(geometry.compressedLengthShift)
    offset = descriptor & ((1 << shift) - 1)
    let sectors = (descriptor >> shift) & ((1 << (62 - shift)) - 1)
    count = Int(sectors + 1) * 512 - Int(offset & 511)
  }

  /// The descriptor of `count` bytes at `offset`; nil if they lie too far back for it.
  static func descriptor(offset: UInt64, count: Int, _ geometry: QCOW2Geometry) -> UInt64? {
    let shift = UInt64(geometry.compressedLengthShift)
    guard offset < min(1 << shift, QCOW2Limits.hostOffset) else { return nil }
    let sectors = (offset + UInt64(count) - 1) / 512 - offset / 512
    return offset | sectors << shift
  }

  /// Host clusters that the range touches.
  func clusters(_ geometry: QCOW2Geometry) -> ClosedRange<UInt64> {
    let bits = UInt64(geometry.clusterBits)
    return (offset >> bits)...((offset + UInt64(count) - 1) >> bits)
  }
}
