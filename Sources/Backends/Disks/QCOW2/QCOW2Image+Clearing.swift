import HostOS
import Memory

extension QCOW2Image {
  /// What becomes of whole clusters whose content is not wanted.
  enum Clearing {
    /// They read as zeroes or as before; storage is given back.
    case discard
    case zero(mayUnmap: Bool)
    /// They are not stored here any more: what lies beneath shows through.
    case drop
  }

  package func discard(_ range: Range<UInt64>) throws(DiskError) {
    guard !isReadOnly else { throw .readOnly }
    guard range.upperBound <= size else { throw .outOfRange }
    try clear(wholeClusters(range), .discard)
    try writeBackIfCrowded()
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    guard !isReadOnly else { throw .readOnly }
    guard range.upperBound <= size else { throw .outOfRange }
    guard !range.isEmpty else { return }
    let bits = UInt64(geometry.clusterBits)
    let whole = wholeClusters(range)
    if whole.isEmpty {
      try writeZeroBytes(range)
    } else {
      try writeZeroBytes(range.lowerBound..<whole.lowerBound << bits)
      try clear(whole, .zero(mayUnmap: mayUnmap))
      let end = min(range.upperBound, whole.upperBound << bits)
      try writeZeroBytes(end..<range.upperBound)
    }
    try writeBackIfCrowded()
  }

  /// The clusters that lie in `range` as far as the disk goes.
  private func wholeClusters(_ range: Range<UInt64>) -> Range<UInt64> {
    let bits = UInt64(geometry.clusterBits)
    let first = geometry.clusters(for: range.lowerBound)
    let end =
      range.upperBound == size ? geometry.clusters(for: size) : range.upperBound >> bits
    return first..<max(first, end)
  }

  /// Zeroes that are written, save where they are already.
  private func writeZeroBytes(_ range: Range<UInt64>) throws(DiskError) {
    var position = range.lowerBound
    var zeroes: HostBuffer?
    while position < range.upperBound {
      let isZero: Bool
      let count: UInt64
      do {
        lock.lock()
        defer { lock.unlock() }
        let run = try self.run(at: position, limit: range.upperBound - position)
        count = min(run.count, 256 << 10)
        isZero = run.storage == .zero || run.storage == .absent && isZeroBeneath(position)
      }
      if !isZero {
        let buffer = zeroes ?? HostBuffer(count: 256 << 10)
        zeroes = buffer
        try write(buffer.buffers.slice(0..<Int(count)), at: position)
      }
      position += count
    }
  }

  // MARK: - Whole clusters

  func clear(_ clusters: Range<UInt64>, _ clearing: Clearing) throws(DiskError) {
    var cluster = clusters.lowerBound
    while cluster < clusters.upperBound {
      let step = try withRoomForRefcounts { () throws(Obstacle) in
        try clearSome(cluster..<clusters.upperBound, clearing)
      }
      cluster = step.next
      if step.mustWrite {
        let start = cluster << UInt64(geometry.clusterBits)
        let end = min(start + UInt64(geometry.clusterSize), size)
        try writeZeroBytes(start..<end)
        cluster += 1
      }
      try writeBackIfCrowded()
    }
  }

  /// Clears clusters of one L2 table, with the lock held: up to which, and whether that one's zeroes must be written.
  private func clearSome(
    _ clusters: Range<UInt64>, _ clearing: Clearing
  ) throws(Obstacle) -> (next: UInt64, mustWrite: Bool) {
    let index = clusters.lowerBound >> UInt64(geometry.tableEntryBits)
    let end = min(
      awaitAllocations(from: clusters.lowerBound),
      min(clusters.upperBound, (index + 1) << UInt64(geometry.tableEntryBits)))
    let there = try orObstacle { () throws(DiskError) in try table(index).offset }
    if there == 0 {
      guard let fate = outcome(.absent, clearing, clusters.lowerBound) else { return (end, false) }
      if case .write = fate { return (clusters.lowerBound, true) }
    }
    var home: UInt64?
    for cluster in clusters.lowerBound..<end {
      let old =
        there == 0 && home == nil
        ? .absent
        : try orObstacle { () throws(DiskError) in try entry(of: cluster, in: home ?? there) }
      switch outcome(old, clearing, cluster) {
      case nil: continue
      case .write: return (cluster, true)
      case .become(let new):
        let table: UInt64
        if let home { table = home } else { table = try privateTable(index) }
        home = table
        try orObstacle { () throws(DiskError) in try setEntry(new, of: cluster, in: table) }
        if old.host != new.host { release(old) }
      }
    }
    return (end, false)
  }

  private enum Outcome {
    case become(ClusterEntry)
    /// The format cannot say zero: it must be written.
    case write
  }

  /// What becomes of one cluster; nil: it may stay.
  private func outcome(
    _ old: ClusterEntry, _ clearing: Clearing, _ cluster: UInt64
  ) -> Outcome? {
    let start = cluster << UInt64(geometry.clusterBits)
    let isAbsent = !old.isCompressed && old.host == 0 && old.zero == 0
    let zero = ClusterEntry(host: 0, allocated: 0, zero: geometry.allSubclusters)
    switch clearing {
    case .drop: return isAbsent ? nil : .become(.absent)
    case .discard:
      if isAbsent || old == zero { return nil }
      if isZeroBeneath(start) { return .become(.absent) }
      return geometry.version >= 3 ? .become(zero) : nil
    case .zero(let mayUnmap):
      if isAbsent && isZeroBeneath(start) { return nil }
      let keepsStorage = !mayUnmap && !old.isCompressed && old.host != 0 && old.isExclusive
      if geometry.version >= 3 {
        if old == zero { return nil }
        if keepsStorage {
          let kept = ClusterEntry(host: old.host, allocated: 0, zero: geometry.allSubclusters)
          return old == kept ? nil : .become(kept)
        }
        return isZeroBeneath(start) ? .become(.absent) : .become(zero)
      }
      return isZeroBeneath(start) && !keepsStorage ? .become(.absent) : .write
    }
  }
}
