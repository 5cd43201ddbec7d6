/// The sizes that follow from an image's header.
struct QCOW2Geometry: Sendable, Equatable {
  let version: UInt32
  /// A cluster is 2 to this power bytes: 9 to 21.
  let clusterBits: Int
  /// A reference count is 2 to this power bits wide: 0 to 6.
  let refcountOrder: Int
  /// Whether L2 entries are 128 bits wide and tell of 32 subclusters (qcow2 "Extended L2 Entries").
  let hasExtendedEntries: Bool

  var clusterSize: Int { 1 << clusterBits }
  var clusterMask: UInt64 { UInt64(clusterSize) &- 1 }
  var entrySize: Int { hasExtendedEntries ? 16 : 8 }
  /// Entries in one L2 table.
  var tableEntryBits: Int { clusterBits - (hasExtendedEntries ? 4 : 3) }
  var subclusterCount: Int { hasExtendedEntries ? 32 : 1 }
  var subclusterBits: Int { clusterBits - (hasExtendedEntries ? 5 : 0) }
  /// Guest bytes that one L2 table maps are 2 to this power.
  var tableSpanBits: Int { clusterBits + tableEntryBits }
  /// A bit for each subcluster.
  var allSubclusters: UInt32 { hasExtendedEntries ? ~0 : 1 }

  /// Reference counts in one block are 2 to this power.
  var refcountsPerBlockBits: Int { clusterBits + 3 - refcountOrder }
  var refcountsPerBlock: UInt64 { 1 << UInt64(refcountsPerBlockBits) }
  var largestRefcount: UInt64 {
    refcountOrder == 6 ? .max : (1 << (1 << UInt64(refcountOrder))) - 1
  }

  /// The unit in which metadata are cached, read and written: it never crosses a cluster.
  var pieceSize: Int { min(clusterSize, 4096) }
  /// Where the length begins in a compressed cluster's descriptor (qcow2 "Compressed Clusters Descriptor").
  var compressedLengthShift: Int { 62 - (clusterBits - 8) }

  /// Clusters that `bytes` take up; `bytes` is below 2^63.
  func clusters(for bytes: UInt64) -> UInt64 { (bytes &+ clusterMask) >> UInt64(clusterBits) }

  /// L1 entries that a disk of `size` bytes needs; `size` is below 2^63.
  func tables(for size: UInt64) -> UInt64 {
    (size &+ ((1 << UInt64(tableSpanBits)) &- 1)) >> UInt64(tableSpanBits)
  }

  /// The bits of the subclusters that `range`, inside a cluster, touches.
  func subclusters(_ range: Range<Int>) -> UInt32 {
    guard hasExtendedEntries else { return 1 }
    let first = range.lowerBound >> subclusterBits
    let last = (range.upperBound - 1) >> subclusterBits
    return (UInt32.max >> UInt32(31 - last)) & (UInt32.max << UInt32(first))
  }
}

/// What Roost takes on, whatever an image's header claims.
enum QCOW2Limits {
  static let clusterBits = 9...21
  /// Bytes of an L1 table, as in QEMU.
  static let tableOfTables: UInt64 = 32 << 20
  /// Bytes of a refcount table, as in QEMU.
  static let refcountTable: UInt64 = 8 << 20
  static let backingName = 1023
  static let snapshots = 65_536
  /// Bytes of a snapshot table.
  static let snapshotTable: UInt64 = 16 << 20
  /// Bytes of metadata that are cached: of an image that is written, and of one that is only read.
  static let cache = (writable: 16 << 20, readOnly: 4 << 20)
  /// Host offsets are below this (qcow2 "Cluster mapping").
  static let hostOffset: UInt64 = 1 << 56
}
