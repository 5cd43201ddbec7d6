import HostOS
import Memory

// How changes of the tables get into the file, so that it is whole at every moment.
extension QCOW2Image {
  package func flush() throws(DiskError) {
    if isReadOnly { return }
    lock.lock()
    let failure = self.failure
    let isClean = cache.dirtyCount == 0 && releases.isEmpty && !isWritingBack
    lock.unlock()
    if let failure { throw failure }
    if isClean { try sync() } else { try writeBack() }
  }

  /// Writes changes back if there are so many that memory or the next flush would suffer.
  func writeBackIfCrowded() throws(DiskError) {
    lock.lock()
    let isCrowded = cache.isCrowded || releases.count > 4096
    lock.unlock()
    if isCrowded { try writeBack() }
  }

  func writeBack() throws(DiskError) {
    structureLock.lock()
    defer { structureLock.unlock() }
    try writeBackInStructure()
  }

  /// The same for who holds `structureLock`.
  func writeBackInStructure() throws(DiskError) {
    let (changes, released) = try takeChanges()
    do throws(DiskError) {
      try write(changes.refcounts)
      try sync()
      if !changes.refcountTable.isEmpty {
        try write(changes.refcountTable)
        try sync()
      }
      if !changes.mapping.isEmpty {
        try write(changes.mapping)
        try sync()
      }
    } catch {
      lock.withLock {
        cache.finish(changes, written: false)
        releases = released + releases
        isWritingBack = false
      }
      throw error
    }
    lock.withLock { cache.finish(changes, written: true) }
    defer { lock.withLock { isWritingBack = false } }
    if !released.isEmpty { try countDown(released) }
  }

  private func takeChanges() throws(DiskError) -> (MetadataCache.Changes, [Range<UInt64>]) {
    lock.lock()
    defer { lock.unlock() }
    if let failure { throw failure }
    let released = releases
    releases = []
    isWritingBack = true
    return (cache.takeChanges(), released)
  }

  /// Counts down what no table in the file refers to any more. A crash before this is written leaves leaks.
  private func countDown(_ released: [Range<UInt64>]) throws(DiskError) {
    operations.awaitOthers()
    decompressed.forget()
    for range in lock.withLock({ lastUses(released) }) {
      let bits = UInt64(geometry.clusterBits)
      _ = file.punch(range.lowerBound << bits..<range.upperBound << bits)
    }
    let changes = try countDownLocked(released)
    do throws(DiskError) {
      try write(changes.refcounts)
    } catch {
      lock.withLock { cache.finish(changes, written: false) }
      throw error
    }
    lock.withLock { cache.finish(changes, written: true) }
  }

  private func countDownLocked(
    _ released: [Range<UInt64>]
  ) throws(DiskError) -> MetadataCache.Changes {
    lock.lock()
    defer { lock.unlock() }
    for cluster in released.joined() {
      let count = try refcount(of: cluster)
      guard count > 0 else { continue }  // the image had counted wrong
      try setRefcount(count - 1, of: cluster)
      if count == 1 { searchStart = min(searchStart, cluster) }
    }
    return cache.takeChanges(onlyRefcounts: true)
  }

  /// Those of the clusters that will have no user; compressed data are not put into them any more.
  private func lastUses(_ released: [Range<UInt64>]) -> [Range<UInt64>] {
    var unused: [Range<UInt64>] = []
    for cluster in released.joined() {
      if let end = compressedEnd, end >> UInt64(geometry.clusterBits) == cluster {
        compressedEnd = nil
      }
      guard (try? refcount(of: cluster)) == 1 else { continue }
      if let last = unused.last, last.upperBound == cluster {
        unused[unused.count - 1] = last.lowerBound..<cluster + 1
      } else {
        unused.append(cluster..<cluster + 1)
      }
    }
    return unused
  }

  private func write(_ copies: [MetadataCache.Copy]) throws(DiskError) {
    guard !copies.isEmpty else { return }
    let buffer = HostBuffer(count: cache.pieceSize)
    for copy in copies {
      buffer.bytes.copyBytes(from: copy.bytes)
      try file.write(buffer, at: copy.offset)
    }
  }

  /// Makes what was written durable. After it has failed, nobody knows what is: the image is not changed any more.
  func sync() throws(DiskError) {
    do throws(DiskError) {
      try file.flush()
    } catch {
      lock.withLock { failure = failure ?? error }
      throw error
    }
  }

  /// Writes the fields of the header that may change. They share a sector, so that all change or none.
  func writeHeader() throws(DiskError) {
    let buffer = HostBuffer(count: geometry.pieceSize)
    let bytes = buffer.address
    try file.read(buffer, at: 0)
    bytes.storeBig(header.size, at: 24)
    bytes.storeBig(header.l1Size, at: 36)
    bytes.storeBig(header.l1Offset, at: 40)
    bytes.storeBig(header.refcountTableOffset, at: 48)
    bytes.storeBig(header.refcountTableClusters, at: 56)
    if header.version >= 3 {
      bytes.storeBig(header.incompatible.rawValue, at: 72)
      bytes.storeBig(header.autoclear, at: 88)
    }
    try file.write(buffer, at: 0)
  }

  // MARK: - A larger refcount table

  /// Moves the refcount table to a larger place, right behind the clusters that it counted so far, together with
  /// the blocks that count that place.
  func growRefcountTable() throws(DiskError) {
    structureLock.lock()
    defer { structureLock.unlock() }
    try writeBackInStructure()
    lock.lock()
    defer { lock.unlock() }
    if let failure { throw failure }
    let bits = UInt64(geometry.clusterBits)
    let oldEntries = refcountTableEntries
    guard searchStart >> UInt64(geometry.refcountsPerBlockBits) >= oldEntries else {
      return  // somebody else has done it
    }
    let home = oldEntries << UInt64(geometry.refcountsPerBlockBits)
    var blocks: UInt64 = 1
    var tableClusters: UInt64 = 0
    repeat {
      tableClusters = geometry.clusters(for: max(oldEntries * 3 / 2, oldEntries + blocks) * 8)
      if blocks << UInt64(geometry.refcountsPerBlockBits) >= tableClusters + blocks { break }
      blocks += 1
    } while true
    guard tableClusters << bits <= QCOW2Limits.refcountTable,
      home + tableClusters + blocks <= QCOW2Limits.hostOffset >> bits
    else { throw .noSpace }
    for cluster in home..<home + tableClusters + blocks { try checkUnused(cluster) }
    try makeRoom(to: home + tableClusters + blocks)

    let firstBlock = (home + tableClusters) << bits
    let table = HostBuffer(count: Int(tableClusters << bits))
    try file.read(
      [UnsafeMutableRawBufferPointer(rebasing: table.bytes[0..<Int(oldEntries) * 8])],
      at: header.refcountTableOffset)
    let block = HostBuffer(count: geometry.clusterSize)
    for index in 0..<blocks {
      table.address.storeBig(
        firstBlock + index << bits, at: Int(oldEntries + index) * 8)
      let start = index << UInt64(geometry.refcountsPerBlockBits)
      for entry in 0..<geometry.refcountsPerBlock {
        let isUsed = start + entry < tableClusters + blocks
        let bit = Int(entry) << geometry.refcountOrder
        Refcounts.store(
          isUsed ? 1 : 0, block.address + bit >> 3, bit: bit & 7,
          order: geometry.refcountOrder)
      }
      try file.write(block, at: firstBlock + index << bits)
      metadata.insert(home + tableClusters + index)
    }
    try file.write(table, at: home << bits)
    cache.forget(home << bits..<(home + tableClusters + blocks) << bits)
    virginStart = max(virginStart, home + tableClusters + blocks)
    do throws(DiskError) {
      try file.flush()
      let old = header
      header.refcountTableOffset = home << bits
      header.refcountTableClusters = UInt32(tableClusters)
      do throws(DiskError) {
        try writeHeader()
      } catch {
        header = old
        throw error
      }
      try file.flush()
      let oldFirst = old.refcountTableOffset >> bits
      moveFixedMetadata(
        from: oldFirst..<oldFirst + UInt64(old.refcountTableClusters),
        to: home..<home + tableClusters)
    } catch {
      failure = failure ?? error
      throw error
    }
  }

  /// A table has moved: its old place may be given up.
  func moveFixedMetadata(from old: Range<UInt64>, to new: Range<UInt64>) {
    let bits = UInt64(geometry.clusterBits)
    fixedMetadata.removeAll { $0 == old }
    fixedMetadata.append(new)
    for cluster in new { metadata.insert(cluster) }
    cache.forget(old.lowerBound << bits..<old.upperBound << bits)
    release(old)
  }
}
