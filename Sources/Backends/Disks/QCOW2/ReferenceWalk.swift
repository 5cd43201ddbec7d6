import Memory

/// Goes through all that an image refers to and counts how often each host cluster is used.
///
/// Counts are kept for one window of host clusters at a time, so that memory stays bounded whatever the file's size;
/// findings are noted in the first window only.
struct ReferenceWalk {
  let image: QCOW2Image
  /// Clusters of the file.
  let clusterCount: UInt64
  let window: Range<UInt64>
  private(set) var counts: [UInt32]
  private(set) var report = QCOW2CheckReport()
  private let isFirst: Bool
  private let countsRefcounts: Bool
  /// The refcount table or its blocks are not where they can be used.
  private(set) var needsRebuild = false
  private var nextExpected: UInt64 = 0

  /// Clusters counted at a time: 64 MiB of counts.
  static let windowSize: UInt64 = 16 << 20

  /// - Parameter countsRefcounts: whether the refcount table and its blocks count as used.
  init(
    _ image: QCOW2Image, window: Range<UInt64>, clusterCount: UInt64, countsRefcounts: Bool = true
  ) {
    self.image = image
    self.window = window
    self.clusterCount = clusterCount
    self.countsRefcounts = countsRefcounts
    isFirst = window.lowerBound == 0
    counts = Array(repeating: 0, count: window.count)
  }

  private var geometry: QCOW2Geometry { image.geometry }
  private var bits: UInt64 { UInt64(geometry.clusterBits) }

  mutating func run() throws(ImageError) {
    let header = image.header
    report.totalClusters = geometry.clusters(for: header.size)
    note(0, 1, 1, "The header")
    note(header.l1Offset, UInt64(header.l1Size) * 8, 1, "The L1 table")
    try countActive()
    try countSnapshots()
    try countBitmaps()
    if countsRefcounts { try countRefcounts() }
  }

  /// Counts the clusters of `bytes` bytes at `offset`. Answers `false` if they are not in the file.
  @discardableResult
  private mutating func note(
    _ offset: UInt64, _ bytes: UInt64, _ times: UInt32, _ what: @autoclosure () -> String
  ) -> Bool {
    guard bytes > 0 else { return true }
    let first = offset >> bits
    let (end, overflow) = offset.addingReportingOverflow(bytes - 1)
    let last = end >> bits
    guard !overflow, last < clusterCount else {
      if isFirst { report.corruption("\(what()) is at \(offset), beyond the end of the file.") }
      return false
    }
    report.imageEnd = max(report.imageEnd, (last + 1) << bits)
    for cluster in (first..<last + 1).clamped(to: window) {
      let index = Int(cluster - window.lowerBound)
      let (sum, overflow) = counts[index].addingReportingOverflow(times)
      counts[index] = overflow ? .max : sum
    }
    return true
  }

  // MARK: - Tables of clusters

  private mutating func countActive() throws(ImageError) {
    let (offset, count) = (image.header.l1Offset, UInt64(image.header.l1Size))
    let entries = try readNumbers(offset, try image.entriesInFile(count, at: offset))
    try countTables(entries, isActive: true)
  }

  private mutating func countSnapshots() throws(ImageError) {
    guard image.header.snapshotCount > 0 else { return }
    let snapshots: [QCOW2Snapshot]
    do throws(ImageError) {
      snapshots = try image.snapshots()
      note(image.header.snapshotsOffset, try image.snapshotTableLength(), 1, "The snapshot table")
    } catch {
      if isFirst { report.failed(error.description) }
      return
    }
    // Each has an L1 table of its own. All entries are sorted, so that tables which many share are read once.
    var waiting: [UInt64] = []
    var total: UInt64 = 0
    for snapshot in snapshots {
      total += UInt64(snapshot.l1Size) * 8
      guard total <= clusterCount << bits else {
        if isFirst { report.failed("The snapshots' L1 tables are larger than the file.") }
        break
      }
      let name = snapshot.name
      if note(
        snapshot.l1Offset, UInt64(snapshot.l1Size) * 8, 1, "The L1 table of snapshot \"\(name)\"")
      {
        waiting += try readNumbers(snapshot.l1Offset, UInt64(snapshot.l1Size))
      }
      if waiting.count >= 1 << 21 {
        try countTables(waiting, isActive: false)
        waiting = []
      }
    }
    try countTables(waiting, isActive: false)
  }

  private mutating func countTables(_ entries: [UInt64], isActive: Bool) throws(ImageError) {
    var sorted = entries.filter { $0 & 0x00ff_ffff_ffff_fe00 != 0 }
    sorted.sort { $0 & 0x00ff_ffff_ffff_fe00 < $1 & 0x00ff_ffff_ffff_fe00 }
    let buffer = HostBuffer(count: geometry.clusterSize)
    var index = 0
    while index < sorted.count {
      let offset = sorted[index] & 0x00ff_ffff_ffff_fe00
      var times: UInt32 = 0
      let isExclusive = sorted[index] >> 63 != 0
      while index < sorted.count, sorted[index] & 0x00ff_ffff_ffff_fe00 == offset {
        times += 1
        index += 1
      }
      guard offset & geometry.clusterMask == 0 else {
        if isFirst { report.corruption("An L2 table is between two clusters, at \(offset).") }
        continue
      }
      guard note(offset, UInt64(geometry.clusterSize), times, "An L2 table") else { continue }
      if isActive { checkExclusive(isExclusive, offset, "L2 table") }
      do throws(DiskError) {
        try image.file.read(buffer, at: offset)
      } catch {
        if isFirst { report.failed("The L2 table at \(offset) cannot be read.") }
        continue
      }
      countEntries(buffer.bytes, times, isActive: isActive)
    }
  }

  private mutating func countEntries(
    _ table: UnsafeMutableRawBufferPointer, _ times: UInt32, isActive: Bool
  ) {
    let base = table.baseAddress!
    for place in stride(from: 0, to: table.count, by: geometry.entrySize) {
      let word = base.big(UInt64.self, at: place)
      let bitmap = geometry.hasExtendedEntries ? base.big(UInt64.self, at: place + 8) : 0
      if word == 0 && bitmap == 0 { continue }
      let entry: ClusterEntry
      do throws(DiskError) {
        entry = try ClusterEntry(word, bitmap, geometry)
      } catch {
        if isFirst, case .damaged(let sentence) = error { report.corruption(sentence) }
        continue
      }
      if entry.isCompressed {
        let range = CompressedRange(entry.host, geometry)
        if isFirst && isActive {
          report.compressedClusters += 1
          report.allocatedClusters += 1
          report.fragmentedClusters += 1
        }
        if isFirst && word >> 63 != 0 {
          report.corruption("The compressed cluster at \(range.offset) is marked as exclusive.")
        }
        note(range.offset, UInt64(range.count), times, "A compressed cluster")
      } else if entry.host != 0 {
        if isFirst && isActive && entry.allocated != 0 {
          report.allocatedClusters += 1
          if nextExpected != 0 && entry.host != nextExpected { report.fragmentedClusters += 1 }
          nextExpected = entry.host + UInt64(geometry.clusterSize)
        }
        guard note(entry.host, UInt64(geometry.clusterSize), times, "A data cluster") else {
          continue
        }
        if isActive { checkExclusive(entry.isExclusive, entry.host, "data cluster") }
      }
    }
  }

  /// The exclusive bit must say what the reference count does.
  private mutating func checkExclusive(_ isExclusive: Bool, _ offset: UInt64, _ what: String) {
    guard isFirst, let count = try? image.refcount(of: offset >> bits) else { return }
    if isExclusive != (count == 1) {
      report.corruption(
        "The \(what) at \(offset) is marked as \(isExclusive ? "" : "not ")exclusive but counted \(count) times."
      )
    }
  }

  // MARK: - The refcounts' own clusters

  private mutating func countRefcounts() throws(ImageError) {
    let header = image.header
    let tableBytes = UInt64(header.refcountTableClusters) << bits
    if !note(header.refcountTableOffset, tableBytes, 1, "The refcount table") {
      needsRebuild = true
      return
    }
    var blocks: [UInt64] = []
    let entries = try image.entriesInFile(
      image.refcountTableEntries, at: header.refcountTableOffset)
    for entry in try readNumbers(header.refcountTableOffset, entries) {
      let offset = entry & ~UInt64(0x1ff)
      guard offset != 0 else { continue }
      guard offset & geometry.clusterMask == 0 else {
        if isFirst { report.corruption("A refcount block is between two clusters, at \(offset).") }
        needsRebuild = true
        continue
      }
      if note(offset, UInt64(geometry.clusterSize), 1, "A refcount block") {
        blocks.append(offset)
      } else {
        needsRebuild = true
      }
    }
    // A block or a piece of the table that something else uses too cannot be repaired in place.
    let table = header.refcountTableOffset >> bits
    for cluster in table..<table + UInt64(header.refcountTableClusters) {
      noteOverlap(of: cluster)
    }
    for block in blocks { noteOverlap(of: block >> bits) }
  }

  private mutating func noteOverlap(of cluster: UInt64) {
    guard window.contains(cluster) else { return }
    if counts[Int(cluster - window.lowerBound)] > 1 { needsRebuild = true }
  }

  // MARK: - Bitmaps

  /// - SeeAlso: qcow2 "Bitmaps extension", "Bitmap directory", "Bitmap table".
  private mutating func countBitmaps() throws(ImageError) {
    guard image.header.autoclear & QCOW2Header.consistentBitmaps != 0,
      let data = image.header[extension: QCOW2Header.Extension.bitmaps]
    else { return }
    var reader = ByteReader(data)
    guard let count = reader.number(UInt32.self), reader.number(UInt32.self) != nil,
      let size = reader.number(UInt64.self), let offset = reader.number(UInt64.self),
      count <= 65_535, size <= 16 << 20, offset & geometry.clusterMask == 0
    else {
      if isFirst { report.failed("The image's bitmaps cannot be checked: their directory is odd.") }
      return
    }
    guard note(offset, size, 1, "The bitmap directory") else { return }
    let words = try readNumbers(offset, (size + 7) / 8)
    var directory: [UInt8] = []
    for word in words { directory.appendBig(word) }
    var entries = ByteReader(directory)
    for _ in 0..<count {
      guard let table = entries.number(UInt64.self), let tableSize = entries.number(UInt32.self),
        entries.take(6) != nil, let nameSize = entries.number(UInt16.self),
        let extraSize = entries.number(UInt32.self),
        entries.take(Int(nameSize) + Int(extraSize)) != nil
      else {
        if isFirst { report.failed("The image's bitmap directory is cut off.") }
        return
      }
      entries.align(to: 8)
      guard note(table, UInt64(tableSize) * 8, 1, "A bitmap table") else { continue }
      for start in stride(from: UInt64(0), to: UInt64(tableSize), by: 1 << 16) {
        let part = try readNumbers(
          table + start * 8, min(1 << 16, UInt64(tableSize) - start))
        for entry in part where entry & 0x00ff_ffff_ffff_fe00 != 0 {
          note(
            entry & 0x00ff_ffff_ffff_fe00, UInt64(geometry.clusterSize), 1, "A bitmap's cluster")
        }
      }
    }
  }

  /// Big-endian numbers in the file. At most as many as the largest L1 table has.
  private func readNumbers(_ offset: UInt64, _ count: UInt64) throws(ImageError) -> [UInt64] {
    guard count > 0 else { return [] }
    let unit = UInt64(geometry.pieceSize)
    let start = offset / unit * unit
    var numbers: [UInt64] = []
    numbers.reserveCapacity(Int(count))
    let buffer = HostBuffer(count: 64 << 10)
    var position = start
    while numbers.count < Int(count) {
      try passingOn { () throws(DiskError) in try image.file.read(buffer, at: position) }
      let base = buffer.address
      var place = position == start ? Int(offset - start) : 0
      while place < buffer.bytes.count && numbers.count < Int(count) {
        numbers.append(base.big(UInt64.self, at: place))
        place += 8
      }
      position += UInt64(buffer.bytes.count)
    }
    return numbers
  }
}
