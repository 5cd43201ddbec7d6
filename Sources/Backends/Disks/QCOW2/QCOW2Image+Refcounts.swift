/// What keeps an operation under the lock from going on.
enum Obstacle: Error {
  case disk(DiskError)
  /// The refcount table must grow first, which cannot be done under the lock.
  case refcountTableIsFull
}

func orObstacle<R>(_ body: () throws(DiskError) -> R) throws(Obstacle) -> R {
  do throws(DiskError) { return try body() } catch { throw .disk(error) }
}

// How clusters are counted, found and given up. All of this is called with the lock held.
// - SeeAlso: qcow2 "Host cluster management".
extension QCOW2Image {
  var refcountTableEntries: UInt64 {
    UInt64(header.refcountTableClusters) << UInt64(geometry.clusterBits - 3)
  }

  /// Where the refcount block of a cluster lies; 0: there is none, and the cluster is free.
  func refcountBlock(of cluster: UInt64) throws(DiskError) -> UInt64 {
    let index = cluster >> UInt64(geometry.refcountsPerBlockBits)
    guard index < refcountTableEntries else { return 0 }
    let offset =
      try cache.number(UInt64.self, at: header.refcountTableOffset + index * 8) & ~UInt64(0x1ff)
    guard offset & geometry.clusterMask == 0, offset < QCOW2Limits.hostOffset else {
      throw .damaged("Refcount table entry \(index) points to an impossible place, \(offset).")
    }
    return offset
  }

  func refcount(of cluster: UInt64) throws(DiskError) -> UInt64 {
    let block = try refcountBlock(of: cluster)
    return block == 0 ? 0 : try refcount(of: cluster, in: block)
  }

  private func refcount(of cluster: UInt64, in block: UInt64) throws(DiskError) -> UInt64 {
    let bits = (cluster & (geometry.refcountsPerBlock - 1)) << UInt64(geometry.refcountOrder)
    let piece = try cache.piece(at: block + bits >> 3)
    return Refcounts.load(
      piece.memory + Int((block + bits >> 3) & UInt64(cache.pieceSize - 1)),
      bit: Int(bits & 7), order: geometry.refcountOrder)
  }

  /// Sets a count that has a block.
  func setRefcount(_ value: UInt64, of cluster: UInt64) throws(DiskError) {
    let block = try refcountBlock(of: cluster)
    guard block != 0, value <= geometry.largestRefcount else {
      throw .damaged("Cluster \(cluster) cannot be counted.")
    }
    let bits = (cluster & (geometry.refcountsPerBlock - 1)) << UInt64(geometry.refcountOrder)
    let piece = try cache.piece(at: block + bits >> 3)
    Refcounts.store(
      value, piece.memory + Int((block + bits >> 3) & UInt64(cache.pieceSize - 1)),
      bit: Int(bits & 7), order: geometry.refcountOrder)
    cache.markDirty(piece, .refcounts)
  }

  // MARK: - Finding clusters

  /// Takes up to `count` free clusters that lie side by side: as many as there are at the first free place.
  /// - Returns: their numbers, and whether they are known to read as zeroes.
  func allocate(upTo count: UInt64) throws(Obstacle) -> (clusters: Range<UInt64>, isVirgin: Bool) {
    let first = try findFree()
    var end = first
    do throws(DiskError) {
      // Only as far as the block of the first one goes.
      let blockEnd =
        (first >> UInt64(geometry.refcountsPerBlockBits) + 1)
        << UInt64(geometry.refcountsPerBlockBits)
      let block = try refcountBlock(of: first)
      while end < min(blockEnd, first + count), try refcount(of: end, in: block) == 0 {
        try checkUnused(end)
        try setRefcount(1, of: end)
        end += 1
      }
      try makeRoom(to: end)
    } catch {
      for cluster in first..<end { try? setRefcount(0, of: cluster) }
      throw .disk(error)
    }
    searchStart = end
    let isVirgin = first >= virginStart
    if end > virginStart { virginStart = end }
    return (first..<end, isVirgin)
  }

  private func findFree() throws(Obstacle) -> UInt64 {
    let fileEnd = geometry.clusters(for: fileLength)
    var cluster = searchStart
    while true {
      guard cluster < QCOW2Limits.hostOffset >> UInt64(geometry.clusterBits) else {
        throw .disk(.noSpace)
      }
      guard cluster >> UInt64(geometry.refcountsPerBlockBits) < refcountTableEntries else {
        searchStart = cluster
        throw .refcountTableIsFull
      }
      var block = try orObstacle { () throws(DiskError) in try refcountBlock(of: cluster) }
      if block == 0 {
        try orObstacle { () throws(DiskError) in try makeRefcountBlock(of: cluster) }
        block = try orObstacle { () throws(DiskError) in try refcountBlock(of: cluster) }
      }
      let blockEnd =
        (cluster >> UInt64(geometry.refcountsPerBlockBits) + 1)
        << UInt64(geometry.refcountsPerBlockBits)
      let found = try orObstacle { () throws(DiskError) -> UInt64? in
        while cluster < blockEnd {
          if try refcount(of: cluster, in: block) == 0 { return cluster }
          cluster += 1
          // Counts of what was never written: somebody's joke, which may go on for ever.
          if cluster > fileEnd &+ (1 << 22) {
            throw .damaged("Clusters far beyond the end of the file are counted as used.")
          }
        }
        return nil
      }
      if let found { return found }
    }
  }

  /// Makes the refcount block of a cluster. It lies at the start of the clusters that it counts: those have no
  /// block, so that they are free, and it can count itself.
  private func makeRefcountBlock(of cluster: UInt64) throws(DiskError) {
    let index = cluster >> UInt64(geometry.refcountsPerBlockBits)
    let home = index << UInt64(geometry.refcountsPerBlockBits)
    try checkUnused(home)
    try makeRoom(to: home + 1)
    let offset = home << UInt64(geometry.clusterBits)
    cache.forget(offset..<offset + UInt64(geometry.clusterSize))
    if home < virginStart { try clearCluster(at: offset) }
    try cache.store(offset, at: header.refcountTableOffset + index * 8, .refcountTable)
    try setRefcount(1, of: home)
    metadata.insert(home)
    if home + 1 > virginStart { virginStart = home + 1 }
  }

  /// Lengthens the file so that it holds all clusters before `end`, and some more.
  func makeRoom(to end: UInt64) throws(DiskError) {
    let needed = end << UInt64(geometry.clusterBits)
    guard needed > fileLength else { return }
    let step = UInt64(max(geometry.clusterSize, 1 << 20))
    let length = (needed + step - 1) & ~(step - 1)
    try file.setLength(length)
    fileLength = length
  }

  /// Writes zeroes over a cluster.
  func clearCluster(at offset: UInt64) throws(DiskError) {
    try file.write(ZeroBytes.parts(count: geometry.clusterSize), at: offset)
  }

  /// Gives clusters back that no table has ever referred to.
  func abandon(_ clusters: Range<UInt64>) {
    for cluster in clusters { try? setRefcount(0, of: cluster) }
    searchStart = min(searchStart, clusters.lowerBound)
  }

  /// Counts clusters down by one when the tables in the file do not refer to them any more.
  func release(_ clusters: Range<UInt64>) {
    if let last = releases.last, last.upperBound == clusters.lowerBound {
      releases[releases.count - 1] = last.lowerBound..<clusters.upperBound
    } else {
      releases.append(clusters)
    }
  }

  /// Gives up what an entry refers to.
  func release(_ entry: ClusterEntry) {
    if entry.isCompressed {
      let touched = CompressedRange(entry.host, geometry).clusters(geometry)
      release(touched.lowerBound..<touched.upperBound + 1)
    } else if entry.host != 0 {
      let cluster = entry.host >> UInt64(geometry.clusterBits)
      release(cluster..<cluster + 1)
    }
  }

  // MARK: - Never over metadata

  /// Refuses to use a cluster that holds metadata, and marks the image as corrupt if it was about to be.
  func checkUnused(_ cluster: UInt64) throws(DiskError) {
    guard metadata.mayContain(cluster), try holdsMetadata(cluster) else { return }
    throw declareCorrupt(
      "Cluster \(cluster) holds metadata and is also counted as free or mapped as data.")
  }

  func checkNoMetadata(_ offset: UInt64, _ count: UInt64) throws(DiskError) {
    let first = offset >> UInt64(geometry.clusterBits)
    let last = (offset + max(count, 1) - 1) >> UInt64(geometry.clusterBits)
    for cluster in first...last { try checkUnused(cluster) }
  }

  private func holdsMetadata(_ cluster: UInt64) throws(DiskError) -> Bool {
    if isFixedMetadata(cluster) { return true }
    let offset = cluster << UInt64(geometry.clusterBits)
    for index in 0..<l1Size where try table(index).offset == offset { return true }
    for index in 0..<refcountTableEntries {
      let entry = try cache.number(UInt64.self, at: header.refcountTableOffset + index * 8)
      if entry & ~UInt64(0x1ff) == offset { return true }
    }
    return false
  }

  func isFixedMetadata(_ cluster: UInt64) -> Bool {
    fixedMetadata.contains { $0.contains(cluster) }
  }

  /// From now on the image is not written any more; version 3 images say so in their header.
  func declareCorrupt(_ sentence: String) -> DiskError {
    let error = DiskError.damaged(sentence)
    failure = failure ?? error
    if header.version >= 3 && !isReadOnly {
      header.incompatible.insert(.corrupt)
      try? writeHeader()
    }
    return error
  }
}

/// Reference counts of 1 to 64 bits in a row.
enum Refcounts {
  /// - Parameters:
  ///   - bit: where in the first byte it begins, for widths below 8 bits.
  @inline(__always)
  static func load(_ memory: UnsafeMutableRawPointer, bit: Int, order: Int) -> UInt64 {
    switch order {
    case 0...2:
      UInt64(memory.load(as: UInt8.self) >> UInt8(bit)) & ((1 << (1 << UInt64(order))) - 1)
    case 3: UInt64(memory.load(as: UInt8.self))
    case 4: UInt64(memory.big(UInt16.self, at: 0))
    case 5: UInt64(memory.big(UInt32.self, at: 0))
    default: memory.big(UInt64.self, at: 0)
    }
  }

  static func store(_ value: UInt64, _ memory: UnsafeMutableRawPointer, bit: Int, order: Int) {
    switch order {
    case 0...2:
      let mask: UInt8 = ((1 << (1 << UInt8(order))) - 1) << UInt8(bit)
      let old = memory.load(as: UInt8.self)
      memory.storeBytes(
        of: old & ~mask | UInt8(truncatingIfNeeded: value) << UInt8(bit) & mask, as: UInt8.self)
    case 3: memory.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
    case 4: memory.storeBig(UInt16(truncatingIfNeeded: value), at: 0)
    case 5: memory.storeBig(UInt32(truncatingIfNeeded: value), at: 0)
    default: memory.storeBig(value, at: 0)
    }
  }
}
