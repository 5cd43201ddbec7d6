/// Bytes that are stored alike, one after the other.
struct StoredRun {
  enum Storage: Equatable {
    /// In the file, from this offset on.
    case data(UInt64)
    case zero
    case absent
    /// In a compressed cluster with this descriptor.
    case compressed(UInt64)
  }
  var storage: Storage
  var count: UInt64
}

// All of this is called with the lock held.
extension QCOW2Image {
  /// An L1 entry: where the L2 table is, 0 for none, and whether the active disk is its only user.
  func table(_ index: UInt64) throws(DiskError) -> (offset: UInt64, isExclusive: Bool) {
    guard index < l1Size else { return (0, false) }
    let entry = try cache.number(UInt64.self, at: l1Offset + index * 8)
    let offset = entry & 0x00ff_ffff_ffff_fe00
    guard offset & geometry.clusterMask == 0 else {
      throw .damaged("L1 entry \(index) points between two clusters, to \(offset).")
    }
    return (offset, entry >> 63 != 0)
  }

  /// Where the entry of a guest cluster stands in the L2 table at `table`.
  func place(of cluster: UInt64, in table: UInt64) -> UInt64 {
    let index = cluster & ((1 << UInt64(geometry.tableEntryBits)) - 1)
    return table + index * UInt64(geometry.entrySize)
  }

  func entry(of cluster: UInt64, in table: UInt64) throws(DiskError) -> ClusterEntry {
    let place = place(of: cluster, in: table)
    let piece = try cache.piece(at: place)
    let offset = Int(place & UInt64(cache.pieceSize - 1))
    let bitmap =
      geometry.hasExtendedEntries ? piece.memory.big(UInt64.self, at: offset + 8) : 0
    return try ClusterEntry(piece.memory.big(UInt64.self, at: offset), bitmap, geometry)
  }

  func entry(of cluster: UInt64) throws(DiskError) -> ClusterEntry {
    let table = try table(cluster >> UInt64(geometry.tableEntryBits)).offset
    return table == 0 ? .absent : try entry(of: cluster, in: table)
  }

  /// Writes an entry into an L2 table that has one user.
  func setEntry(
    _ entry: ClusterEntry, of cluster: UInt64, in table: UInt64
  ) throws(DiskError) {
    let place = place(of: cluster, in: table)
    let piece = try cache.piece(at: place)
    let offset = Int(place & UInt64(cache.pieceSize - 1))
    let (word, bitmap) = entry.encoded(geometry)
    piece.memory.storeBig(word, at: offset)
    if geometry.hasExtendedEntries { piece.memory.storeBig(bitmap, at: offset + 8) }
    cache.markDirty(piece, .mapping)
  }

  /// How the bytes from `position` on are stored, as far as the same holds and at most up to `limit` bytes.
  func run(at position: UInt64, limit: UInt64) throws(DiskError) -> StoredRun {
    var run: StoredRun?
    var position = position
    let end = position + limit
    while position < end {
      let next = try storedRun(at: position, upTo: end)
      guard var joined = run else {
        run = next
        position += next.count
        if case .compressed = next.storage { break }
        continue
      }
      switch (joined.storage, next.storage) {
      case (.data(let first), .data(let second)) where first &+ joined.count == second: break
      case (.zero, .zero), (.absent, .absent): break
      default: return joined
      }
      joined.count += next.count
      run = joined
      position += next.count
    }
    return run ?? StoredRun(storage: .absent, count: 0)
  }

  /// How the bytes from `position` on are stored, within one cluster or one table that is not there.
  private func storedRun(at position: UInt64, upTo end: UInt64) throws(DiskError) -> StoredRun {
    let tableIndex = position >> UInt64(geometry.tableSpanBits)
    let table = try table(tableIndex).offset
    guard table != 0 else {
      let tableEnd = (tableIndex + 1) << UInt64(geometry.tableSpanBits)
      return StoredRun(storage: .absent, count: min(end, tableEnd) - position)
    }
    let entry = try entry(of: position >> UInt64(geometry.clusterBits), in: table)
    let offset = position & geometry.clusterMask
    let rest = min(end - position, UInt64(geometry.clusterSize) - offset)
    if entry.isCompressed { return StoredRun(storage: .compressed(entry.host), count: rest) }
    let first = UInt32(offset >> UInt64(geometry.subclusterBits))
    let bit: UInt32 = 1 << first
    let storage: StoredRun.Storage
    let mask: UInt32  // of the subclusters that are like the first
    if entry.allocated & bit != 0 {
      storage = .data(entry.host + offset)
      mask = entry.allocated
    } else if entry.zero & bit != 0 {
      storage = .zero
      mask = entry.zero
    } else {
      storage = .absent
      mask = ~(entry.allocated | entry.zero)
    }
    let alike = UInt64((~(mask >> first)).trailingZeroBitCount)
    let alikeEnd = (UInt64(first) + alike) << UInt64(geometry.subclusterBits)
    return StoredRun(storage: storage, count: min(rest, alikeEnd - offset))
  }
}
