import HostOS
import Memory

extension QCOW2Image {
  /// Checks an image that nobody uses, and repairs what `repair` allows.
  package static func check(
    _ file: any ImageFile, repair: QCOW2Repair = .none
  ) throws(ImageError) -> QCOW2CheckReport {
    let header = try readHeader(file)
    guard repair == .none || !file.isReadOnly else { throw .disk(.readOnly) }
    guard file.alignment <= header.geometry.pieceSize else {
      throw .refused("The image's clusters are too small for direct input and output.")
    }
    let image = QCOW2Image(file, header, isReadOnly: true, backing: nil, depth: 0)
    return try image.check(repair)
  }

  /// Checks an image in use, between two requests.
  package func check() throws(ImageError) -> QCOW2CheckReport {
    if !isReadOnly { try passingOn { () throws(DiskError) in try flush() } }
    structureLock.lock()
    defer { structureLock.unlock() }
    lock.lock()
    defer { lock.unlock() }
    while !allocations.isEmpty { lock.wait() }
    return try scan().report
  }

  /// Repairs an image that is being opened to be written and that was not closed.
  func repairUnopened() throws(ImageError) -> QCOW2CheckReport { try check(.all) }

  private func check(_ repair: QCOW2Repair) throws(ImageError) -> QCOW2CheckReport {
    let before = try scan()
    guard repair != .none else { return before.report }
    if repair == .all && before.needsRebuild {
      try rebuildRefcounts()
    } else {
      try fixRefcounts(onlyLeaks: repair == .leaks)
    }
    if repair == .all { try fixExclusiveBits() }
    var after = try scan().report
    if after.corruptions == 0 && after.checkErrors == 0 {
      let marks: QCOW2Header.Incompatible = repair == .all ? [.dirty, .corrupt] : []
      if !header.incompatible.isDisjoint(with: marks) {
        header.incompatible.subtract(marks)
        try passingOn { () throws(DiskError) in
          try writeHeader()
          try file.flush()
        }
      }
    }
    let first = before.report
    after.corruptionsFixed = first.corruptions - min(first.corruptions, after.corruptions)
    after.leaksFixed = first.leaks - min(first.leaks, after.leaks)
    return after
  }

  // MARK: - Looking

  private var fileClusters: UInt64 {
    get throws(ImageError) {
      geometry.clusters(for: try passingOn { () throws(DiskError) in try file.length() })
    }
  }

  private func windows(_ count: UInt64) -> [Range<UInt64>] {
    stride(from: 0, to: max(count, 1), by: Int(ReferenceWalk.windowSize)).map {
      $0..<min(max(count, 1), $0 + ReferenceWalk.windowSize)
    }
  }

  private func scan() throws(ImageError) -> (report: QCOW2CheckReport, needsRebuild: Bool) {
    let count = try fileClusters
    var report: QCOW2CheckReport?
    var needsRebuild = false
    for window in windows(count) {
      var walk = ReferenceWalk(self, window: window, clusterCount: count)
      try walk.run()
      var found = report ?? walk.report
      needsRebuild = needsRebuild || walk.needsRebuild
      for (index, cluster) in window.enumerated() {
        let used = UInt64(walk.counts[index])
        guard let counted = try? refcount(of: cluster) else {
          needsRebuild = true
          if used > 0 {
            found.corruption("Cluster \(cluster) is used \(used) times and not counted.")
          }
          continue
        }
        if counted > used {
          found.leak("Cluster \(cluster) is used \(used) times and counted \(counted) times.")
        } else if counted < used {
          found.corruption("Cluster \(cluster) is used \(used) times and counted \(counted) times.")
          if (try? refcountBlock(of: cluster)) == 0 { needsRebuild = true }
        }
      }
      report = found
    }
    return (report ?? QCOW2CheckReport(), needsRebuild)
  }

  // MARK: - Repairing

  private func fixRefcounts(onlyLeaks: Bool) throws(ImageError) {
    let count = try fileClusters
    for window in windows(count) {
      var walk = ReferenceWalk(self, window: window, clusterCount: count)
      try walk.run()
      for (index, cluster) in window.enumerated() {
        let used = min(UInt64(walk.counts[index]), geometry.largestRefcount)
        guard let counted = try? refcount(of: cluster), counted != used else { continue }
        if counted < used && onlyLeaks { continue }
        try passingOn { () throws(DiskError) in try setRefcount(used, of: cluster) }
        if cache.isCrowded { try writeRefcounts() }
      }
    }
    try writeRefcounts()
  }

  private func writeRefcounts() throws(ImageError) {
    let changes = cache.takeChanges(onlyRefcounts: true)
    try passingOn { () throws(DiskError) in
      let buffer = HostBuffer(count: geometry.pieceSize)
      for copy in changes.refcounts {
        buffer.bytes.copyBytes(from: copy.bytes)
        try file.write(buffer, at: copy.offset)
      }
      try file.flush()
    }
    cache.finish(changes, written: true)
  }

  /// Writes a new refcount table and new blocks behind the end of the file.
  private func rebuildRefcounts() throws(ImageError) {
    let bits = UInt64(geometry.clusterBits)
    let count = try fileClusters
    let layout = try RefcountLayout(using: count, geometry)
    let blocks = count
    let table = blocks + layout.blocks
    try passingOn { () throws(DiskError) in
      try layout.write(to: file, table: table << bits, blocks: blocks << bits)
    }
    // Now all is counted once; what is used otherwise is counted anew, block by block.
    let block = HostBuffer(count: geometry.clusterSize)
    for window in windows(count) {
      var walk = ReferenceWalk(
        self, window: window, clusterCount: count, countsRefcounts: false)
      try walk.run()
      for start in stride(
        from: window.lowerBound, to: window.upperBound, by: Int(geometry.refcountsPerBlock))
      {
        let offset = (blocks + start >> UInt64(geometry.refcountsPerBlockBits)) << bits
        try passingOn { () throws(DiskError) in
          try file.read(block, at: offset)
          for cluster in start..<min(window.upperBound, start + geometry.refcountsPerBlock) {
            let used = UInt64(walk.counts[Int(cluster - window.lowerBound)])
            let bit = Int(cluster - start) << geometry.refcountOrder
            Refcounts.store(
              min(used, geometry.largestRefcount), block.address + bit >> 3,
              bit: bit & 7, order: geometry.refcountOrder)
          }
          try file.write(block, at: offset)
        }
      }
    }
    try passingOn { () throws(DiskError) in
      try file.flush()
      header.refcountTableOffset = table << bits
      header.refcountTableClusters = UInt32(layout.tableClusters)
      try writeHeader()
      try file.flush()
    }
    cache.forgetAll()
  }

  /// Makes the bits that allow writing in place say what the reference counts do.
  private func fixExclusiveBits() throws(ImageError) {
    let buffer = HostBuffer(count: geometry.clusterSize)
    let bits = UInt64(geometry.clusterBits)
    let end = try fileClusters
    let tables = try entriesInFile(UInt64(header.l1Size), at: header.l1Offset)
    try passingOn { () throws(DiskError) in
      for index in 0..<tables {
        let place = header.l1Offset + index * 8
        let word = try cache.number(UInt64.self, at: place)
        let offset = word & 0x00ff_ffff_ffff_fe00
        guard offset != 0, offset & geometry.clusterMask == 0, offset >> bits < end else {
          continue
        }
        let wanted = offset | (try refcount(of: offset >> bits) == 1 ? 1 << 63 : 0)
        if word != wanted { try cache.store(wanted, at: place, .mapping) }
        try file.read(buffer, at: offset)
        if try fixEntries(buffer.bytes) { try file.write(buffer, at: offset) }
      }
      let changes = cache.takeChanges()
      let piece = HostBuffer(count: geometry.pieceSize)
      for copy in changes.refcounts + changes.mapping {
        piece.bytes.copyBytes(from: copy.bytes)
        try file.write(piece, at: copy.offset)
      }
      cache.finish(changes, written: true)
      try file.flush()
    }
    cache.forgetAll()
  }

  private func fixEntries(_ table: UnsafeMutableRawBufferPointer) throws(DiskError) -> Bool {
    let base = table.baseAddress!
    var isChanged = false
    for place in stride(from: 0, to: table.count, by: geometry.entrySize) {
      let word = base.big(UInt64.self, at: place)
      let bitmap = geometry.hasExtendedEntries ? base.big(UInt64.self, at: place + 8) : 0
      guard word != 0, let entry = try? ClusterEntry(word, bitmap, geometry) else { continue }
      var wanted = word & ~(1 << 63)
      if !entry.isCompressed && entry.host != 0,
        try refcount(of: entry.host >> UInt64(geometry.clusterBits)) == 1
      {
        wanted |= 1 << 63
      }
      if wanted != word {
        base.storeBig(wanted, at: place)
        isChanged = true
      }
    }
    return isChanged
  }
}
