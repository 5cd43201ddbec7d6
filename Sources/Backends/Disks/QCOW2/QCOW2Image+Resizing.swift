import HostOS
import Memory
import Synchronization

/// An image whose disk can become larger or smaller.
package protocol ResizableImage: DiskImage {
  /// - Parameter mayShrink: content may be cut off.
  func resize(to size: UInt64, mayShrink: Bool) throws(ImageError)
}

extension QCOW2Image: ResizableImage {
  /// Changes the size of the disk. What is new reads as zeroes. No request may be under way.
  package func resize(to newSize: UInt64, mayShrink: Bool) throws(ImageError) {
    guard !isReadOnly else { throw .disk(.readOnly) }
    guard header.version >= 3 || header.snapshotCount == 0 else {
      throw .refused(
        "A version 2 image with snapshots cannot be resized: they do not know their size.")
    }
    guard newSize % 512 == 0 else {
      throw .refused("A disk's size is a multiple of 512 bytes.")
    }
    let oldSize = size
    if newSize < oldSize {
      guard mayShrink else {
        throw .refused("The new size is smaller: what lies behind it would be lost.")
      }
      try passingOn { () throws(DiskError) in try shrink(from: oldSize, to: newSize) }
    } else if newSize > oldSize {
      let tables = newSize <= UInt64(Int64.max) ? geometry.tables(for: newSize) : .max
      guard tables <= QCOW2Limits.tableOfTables / 8 else {
        throw .refused("A disk of \(newSize) bytes needs larger clusters.")
      }
      try passingOn { () throws(DiskError) in try grow(from: oldSize, to: newSize, tables) }
    }
  }

  private func shrink(from oldSize: UInt64, to newSize: UInt64) throws(DiskError) {
    let lastCluster = geometry.clusters(for: newSize) << UInt64(geometry.clusterBits)
    try writeZeroes(newSize..<min(oldSize, lastCluster), mayUnmap: false)
    try setSize(newSize)
    try clear(geometry.clusters(for: newSize)..<geometry.clusters(for: oldSize), .drop)
    try flush()
  }

  private func grow(
    from oldSize: UInt64, to newSize: UInt64, _ tables: UInt64
  ) throws(DiskError) {
    if tables > l1Size { try growL1(to: tables) }
    // The rest of the last cluster may hold anything, and a longer backing file must not show through.
    let lastCluster = geometry.clusters(for: oldSize) << UInt64(geometry.clusterBits)
    byteCount.store(newSize, ordering: .relaxed)
    do throws(DiskError) {
      try writeZeroes(
        oldSize..<min(newSize, max(lastCluster, backing?.size ?? 0)), mayUnmap: true)
      try setSize(newSize)
    } catch {
      byteCount.store(oldSize, ordering: .relaxed)
      throw error
    }
  }

  private func setSize(_ size: UInt64) throws(DiskError) {
    structureLock.lock()
    defer { structureLock.unlock() }
    try writeBackInStructure()
    lock.lock()
    defer { lock.unlock() }
    let old = header.size
    header.size = size
    do throws(DiskError) {
      try writeHeader()
      try file.flush()
    } catch {
      header.size = old
      failure = failure ?? error
      throw error
    }
    byteCount.store(size, ordering: .relaxed)
  }

  // MARK: - A larger L1 table

  private func growL1(to entries: UInt64) throws(DiskError) {
    let clusters = geometry.clusters(for: entries * 8)
    let home = try placeForTable(clusters)
    structureLock.lock()
    defer { structureLock.unlock() }
    try writeBackInStructure()
    lock.lock()
    defer { lock.unlock() }
    let bits = UInt64(geometry.clusterBits)
    let table = HostBuffer(count: Int(clusters << bits))
    let there = (Int(l1Size) * 8 + geometry.pieceSize - 1) / geometry.pieceSize * geometry.pieceSize
    try file.read([UnsafeMutableRawBufferPointer(rebasing: table.bytes[0..<there])], at: l1Offset)
    // What stands behind the old table in its last piece is not part of it.
    for index in Int(l1Size)..<max(Int(l1Size), there / 8) {
      table.address.storeBig(UInt64(0), at: index * 8)
    }
    cache.forget(home << bits..<(home + clusters) << bits)
    do throws(DiskError) {
      try file.write(table, at: home << bits)
      try file.flush()
      let old = header
      header.l1Offset = home << bits
      header.l1Size = UInt32(entries)
      do throws(DiskError) {
        try writeHeader()
      } catch {
        header = old
        throw error
      }
      try file.flush()
      let oldFirst = old.l1Offset >> bits
      let oldCount = geometry.clusters(for: UInt64(old.l1Size) * 8)
      moveFixedMetadata(from: oldFirst..<oldFirst + oldCount, to: home..<home + clusters)
      l1Offset = header.l1Offset
      l1Size = entries
    } catch {
      failure = failure ?? error
      throw error
    }
  }

  /// Takes clusters that lie side by side, and makes sure that the file counts them.
  private func placeForTable(_ count: UInt64) throws(DiskError) -> UInt64 {
    var parts: [Range<UInt64>] = []
    defer { lock.withLock { for part in parts { abandon(part) } } }
    for _ in 0..<16 where count < geometry.refcountsPerBlock {
      let run = try withRoomForRefcounts { () throws(Obstacle) -> Range<UInt64> in
        try allocate(upTo: count).clusters
      }
      if UInt64(run.count) == count { return run.lowerBound }
      parts.append(run)
    }
    while true {
      if let home = try placeBehindEverything(count) { return home }
      lock.withLock {
        searchStart = max(
          searchStart, refcountTableEntries << UInt64(geometry.refcountsPerBlockBits))
      }
      try growRefcountTable()
    }
  }

  /// Takes clusters behind all that are counted, and makes the blocks that count them right behind those; nil if the
  /// refcount table is too small.
  private func placeBehindEverything(_ count: UInt64) throws(DiskError) -> UInt64? {
    lock.lock()
    defer { lock.unlock() }
    if let failure { throw failure }
    let bits = UInt64(geometry.clusterBits)
    let blockBits = UInt64(geometry.refcountsPerBlockBits)
    var index =
      (geometry.clusters(for: fileLength) + geometry.refcountsPerBlock - 1) >> blockBits
    for later in index..<max(index, refcountTableEntries)
    where try cache.number(UInt64.self, at: header.refcountTableOffset + later * 8) != 0 {
      index = later + 1
    }
    var blocks: UInt64 = 1
    while blocks << blockBits < count + blocks { blocks += 1 }
    guard index + blocks <= refcountTableEntries else { return nil }
    let home = index << blockBits
    let firstBlock = home + count
    for cluster in home..<firstBlock + blocks { try checkUnused(cluster) }
    try makeRoom(to: firstBlock + blocks)
    cache.forget(firstBlock << bits..<(firstBlock + blocks) << bits)
    for block in 0..<blocks {
      try clearCluster(at: (firstBlock + block) << bits)
      try cache.store(
        (firstBlock + block) << bits, at: header.refcountTableOffset + (index + block) * 8,
        .refcountTable)
      metadata.insert(firstBlock + block)
    }
    for cluster in home..<firstBlock + blocks { try setRefcount(1, of: cluster) }
    virginStart = max(virginStart, firstBlock + blocks)
    return home
  }
}
