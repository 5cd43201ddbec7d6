import HostOS
package import Memory

/// Guest clusters that get new storage, or storage that was only set aside.
private struct Allocation {
  let clusters: Range<UInt64>
  let table: UInt64
  /// Where the first cluster's data will lie.
  let host: UInt64
  /// The host clusters that were taken for it; none if those are used that are there.
  let fresh: Range<UInt64>?
  let old: [ClusterEntry]
  /// The bytes that are written.
  let bytes: Range<UInt64>
  /// What must be written before and behind them, with the old content.
  let head: Filling
  let tail: Filling
}

private struct Filling {
  var range: Range<UInt64>
  var isZero: Bool
}

private enum WritePlan {
  /// To clusters that are the disk's alone.
  case inPlace(host: UInt64, count: Int, ticket: Int)
  case allocate(Allocation)
}

extension QCOW2Image {
  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    guard !isReadOnly else { throw .readOnly }
    try checkRange(offset, buffers.count)
    var done = 0
    while done < buffers.count {
      let start = offset + UInt64(done)
      switch try planWrite(start..<offset + UInt64(buffers.count)) {
      case .inPlace(let host, let count, let ticket):
        defer { operations.end(ticket) }
        try file.write(buffers.slice(done..<done + count).parts, at: host)
        done += count
      case .allocate(let allocation):
        let count = allocation.bytes.count
        try perform(allocation, buffers.slice(done..<done + count))
        done += count
      }
    }
    try writeBackIfCrowded()
  }

  private func planWrite(_ bytes: Range<UInt64>) throws(DiskError) -> WritePlan {
    try withRoomForRefcounts { () throws(Obstacle) -> WritePlan in
      let first = bytes.lowerBound >> UInt64(geometry.clusterBits)
      let end = awaitAllocations(from: first)
      let limit = min(bytes.upperBound, end << UInt64(geometry.clusterBits))
      return try planWriteLocked(bytes.lowerBound..<limit)
    }
  }

  /// Runs `body` with the lock held, again after the refcount table has grown if that was in its way.
  func withRoomForRefcounts<R>(_ body: () throws(Obstacle) -> R) throws(DiskError) -> R {
    while true {
      do throws(Obstacle) {
        lock.lock()
        defer { lock.unlock() }
        if let failure { throw .disk(failure) }
        return try body()
      } catch {
        switch error {
        case .disk(let error): throw error
        case .refcountTableIsFull: try growRefcountTable()
        }
      }
    }
  }

  /// Waits until a guest cluster is not being allocated. Answers the first one behind it that is.
  func awaitAllocations(from cluster: UInt64) -> UInt64 {
    while allocations.contains(where: { $0.contains(cluster) }) { lock.wait() }
    var end = UInt64.max >> UInt64(geometry.clusterBits)
    for range in allocations where range.lowerBound > cluster { end = min(end, range.lowerBound) }
    return end
  }

  private func planWriteLocked(_ bytes: Range<UInt64>) throws(Obstacle) -> WritePlan {
    if let plan = try orObstacle({ () throws(DiskError) in try planInPlace(bytes) }) { return plan }
    let first = bytes.lowerBound >> UInt64(geometry.clusterBits)
    let table = try privateTable(first >> UInt64(geometry.tableEntryBits))
    let entry = try orObstacle { () throws(DiskError) in try self.entry(of: first, in: table) }
    if entry.host != 0 && entry.isExclusive && !entry.isCompressed {
      return .allocate(try planReuse(bytes, first, table, entry))
    }
    return .allocate(try planFresh(bytes, first, table, entry))
  }

  /// How far the bytes are the disk's own, side by side in the file; nil: not even the first.
  private func planInPlace(_ bytes: Range<UInt64>) throws(DiskError) -> WritePlan? {
    var position = bytes.lowerBound
    var start: UInt64 = 0
    while position < bytes.upperBound {
      let cluster = position >> UInt64(geometry.clusterBits)
      let (table, isExclusive) = try table(cluster >> UInt64(geometry.tableEntryBits))
      guard table != 0, isExclusive else { break }
      let entry = try self.entry(of: cluster, in: table)
      let inside = part(of: bytes, in: cluster)
      let touched = geometry.subclusters(inside)
      guard entry.isExclusive, !entry.isCompressed, entry.allocated & touched == touched else {
        break
      }
      let host = entry.host + UInt64(inside.lowerBound)
      if position == bytes.lowerBound {
        start = host
      } else if host != start + (position - bytes.lowerBound) {
        break
      }
      try checkUnused(entry.host >> UInt64(geometry.clusterBits))
      position += UInt64(inside.count)
    }
    guard position > bytes.lowerBound else { return nil }
    return .inPlace(
      host: start, count: Int(position - bytes.lowerBound), ticket: operations.begin())
  }

  /// The part of a guest cluster that `bytes` covers.
  private func part(of bytes: Range<UInt64>, in cluster: UInt64) -> Range<Int> {
    let start = cluster << UInt64(geometry.clusterBits)
    let end = start + UInt64(geometry.clusterSize)
    return Int(max(bytes.lowerBound, start) - start)..<Int(min(bytes.upperBound, end) - start)
  }

  /// The cluster has storage of its own, but not all of it is in use.
  private func planReuse(
    _ bytes: Range<UInt64>, _ cluster: UInt64, _ table: UInt64, _ entry: ClusterEntry
  ) throws(Obstacle) -> Allocation {
    try orObstacle { () throws(DiskError) in
      try checkUnused(entry.host >> UInt64(geometry.clusterBits))
    }
    let start = cluster << UInt64(geometry.clusterBits)
    let bytes = bytes.clamped(to: start..<start + UInt64(geometry.clusterSize))
    let unit = UInt64(1) << UInt64(geometry.subclusterBits)
    func isInUse(_ position: UInt64) -> Bool {
      let offset = Int(position - start)
      return entry.allocated & geometry.subclusters(offset..<offset + 1) != 0
    }
    let headStart = isInUse(bytes.lowerBound) ? bytes.lowerBound : bytes.lowerBound & ~(unit - 1)
    let end = bytes.upperBound
    let tailEnd = isInUse(end - 1) ? end : (end + unit - 1) & ~(unit - 1)
    return begin(
      Allocation(
        clusters: cluster..<cluster + 1, table: table, host: entry.host, fresh: nil, old: [entry],
        bytes: bytes, head: filling(headStart..<bytes.lowerBound, entry),
        tail: filling(end..<tailEnd, entry)))
  }

  /// The cluster, and maybe others behind it, needs storage.
  private func planFresh(
    _ bytes: Range<UInt64>, _ first: UInt64, _ table: UInt64, _ entry: ClusterEntry
  ) throws(Obstacle) -> Allocation {
    let bits = UInt64(geometry.clusterBits)
    var old = [entry]
    let tableEnd =
      (first >> UInt64(geometry.tableEntryBits) + 1) << UInt64(geometry.tableEntryBits)
    let wanted = min(tableEnd, (bytes.upperBound - 1) >> bits + 1)
    for cluster in first + 1..<max(first + 1, wanted) {
      let next = try orObstacle { () throws(DiskError) in try self.entry(of: cluster, in: table) }
      if next.host != 0 && next.isExclusive && !next.isCompressed { break }
      old.append(next)
    }
    let (fresh, isVirgin) = try allocate(upTo: UInt64(old.count))
    old.removeLast(old.count - fresh.count)
    let clusters = first..<first + UInt64(fresh.count)
    let bytes = bytes.clamped(to: first << bits..<clusters.upperBound << bits)

    let unit = UInt64(1) << UInt64(geometry.subclusterBits)
    let firstUnit = fillsWhole(old[0]) ? UInt64(geometry.clusterSize) : unit
    let lastUnit = fillsWhole(old[old.count - 1]) ? UInt64(geometry.clusterSize) : unit
    let end = bytes.upperBound
    var head = filling(bytes.lowerBound & ~(firstUnit - 1)..<bytes.lowerBound, old[0])
    var tail = filling(end..<(end + lastUnit - 1) & ~(lastUnit - 1), old[old.count - 1])
    if isVirgin && head.isZero { head.range = bytes.lowerBound..<bytes.lowerBound }
    if isVirgin && tail.isZero { tail.range = end..<end }
    return begin(
      Allocation(
        clusters: clusters, table: table, host: fresh.lowerBound << bits, fresh: fresh, old: old,
        bytes: bytes, head: head, tail: tail))
  }

  /// All of a cluster's old content moves with it.
  private func fillsWhole(_ old: ClusterEntry) -> Bool {
    !geometry.hasExtendedEntries || old.isCompressed || old.allocated != 0
  }

  private func filling(_ range: Range<UInt64>, _ entry: ClusterEntry) -> Filling {
    guard !range.isEmpty else { return Filling(range: range, isZero: true) }
    let start = Int(range.lowerBound & geometry.clusterMask)
    let touched = geometry.subclusters(start..<start + range.count)
    let isZero =
      !entry.isCompressed && entry.allocated & touched == 0
      && (entry.zero & touched == touched || isZeroBeneath(range.lowerBound))
    return Filling(range: range, isZero: isZero)
  }

  /// Nothing shows through from `offset` on.
  func isZeroBeneath(_ offset: UInt64) -> Bool {
    guard let backing else { return !lacksBacking }
    return backing.size <= offset
  }

  private func begin(_ allocation: Allocation) -> Allocation {
    allocations.append(allocation.clusters)
    return allocation
  }

  // MARK: - Outside the lock

  private func perform(_ allocation: Allocation, _ data: GuestBuffers) throws(DiskError) {
    do throws(DiskError) {
      let start = allocation.head.range.lowerBound
      let offset = start - allocation.clusters.lowerBound << UInt64(geometry.clusterBits)
      if allocation.head.range.isEmpty && allocation.tail.range.isEmpty {
        try file.write(data.parts, at: allocation.host + offset)
      } else {
        let scratch = scratch.take()
        defer { self.scratch.give(scratch) }
        let split = allocation.head.range.count
        let head = try content(of: allocation.head, in: scratch, at: 0)
        let tail = try content(of: allocation.tail, in: scratch, at: split)
        try file.write(head + data.parts + tail, at: allocation.host + offset)
      }
    } catch {
      finish(allocation)
      throw error
    }
    try install(allocation)
  }

  /// The old content of a range, in `scratch` if it is not zeroes.
  private func content(
    of filling: Filling, in scratch: HostBuffer, at place: Int
  ) throws(DiskError) -> [UnsafeMutableRawBufferPointer] {
    let count = filling.range.count
    if count == 0 { return [] }
    if filling.isZero { return ZeroBytes.parts(count: count) }
    let part = scratch.buffers.slice(place..<place + count)
    try fill(part, at: filling.range.lowerBound)
    return part.parts
  }

  /// The data are in the file: now the tables may refer to them.
  private func install(_ allocation: Allocation) throws(DiskError) {
    lock.lock()
    var installed: UInt64 = 0
    do throws(DiskError) {
      for (index, old) in allocation.old.enumerated() {
        let cluster = allocation.clusters.lowerBound + UInt64(index)
        let host = allocation.host + UInt64(index) << UInt64(geometry.clusterBits)
        let new = entry(of: cluster, old, host, allocation)
        try setEntry(new, of: cluster, in: allocation.table)
        if allocation.fresh != nil { release(old) }
        installed += 1
      }
    } catch {
      lock.unlock()
      finish(allocation, installed: installed)
      throw error
    }
    lock.unlock()
    finish(allocation, installed: installed)
  }

  private func entry(
    of cluster: UInt64, _ old: ClusterEntry, _ host: UInt64, _ allocation: Allocation
  ) -> ClusterEntry {
    if allocation.fresh != nil && fillsWhole(old) {
      return ClusterEntry(host: host, allocated: geometry.allSubclusters, zero: 0)
    }
    let touched = geometry.subclusters(part(of: allocation.bytes, in: cluster))
    return ClusterEntry(host: host, allocated: old.allocated | touched, zero: old.zero & ~touched)
  }

  private func finish(_ allocation: Allocation, installed: UInt64 = 0) {
    lock.withLock {
      if let fresh = allocation.fresh, installed < UInt64(fresh.count) {
        abandon(fresh.lowerBound + installed..<fresh.upperBound)
      }
      allocations.removeAll { $0 == allocation.clusters }
      lock.wakeAll()
    }
  }

  // MARK: - L2 tables

  /// An L2 table that only the active disk uses: the one that is there, a copy of it, or a new one.
  func privateTable(_ index: UInt64) throws(Obstacle) -> UInt64 {
    let (old, isExclusive) = try orObstacle { () throws(DiskError) in try table(index) }
    let bits = UInt64(geometry.clusterBits)
    if old != 0 && isExclusive {
      if isFixedMetadata(old >> bits) {
        throw .disk(declareCorrupt("The L2 table at \(old) lies over other metadata."))
      }
      return old
    }
    let (clusters, isVirgin) = try allocate(upTo: 1)
    let new = clusters.lowerBound << bits
    do throws(DiskError) {
      cache.forget(new..<new + UInt64(geometry.clusterSize))
      if old != 0 {
        try copyTable(from: old, to: new)
      } else if !isVirgin {
        try clearCluster(at: new)
      }
      try cache.store(new | 1 << 63, at: l1Offset + index * 8, .mapping)
    } catch {
      abandon(clusters)
      throw .disk(error)
    }
    metadata.insert(clusters.lowerBound)
    if old != 0 { release(old >> bits..<old >> bits + 1) }
    return new
  }

  private func copyTable(from old: UInt64, to new: UInt64) throws(DiskError) {
    let buffer = HostBuffer(count: geometry.clusterSize)
    try file.read(buffer, at: old)
    try file.write(buffer, at: new)
  }
}
