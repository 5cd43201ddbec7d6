import Memory

/// What a new image shall be like.
package struct QCOW2Options: Sendable, Equatable {
  package enum Preallocation: Sendable { case off, metadata }

  /// Bytes.
  package var size: UInt64
  package var version: UInt32 = 3
  package var clusterSize = 65536
  package var refcountBits = 16
  package var hasLazyRefcounts = false
  package var hasExtendedEntries = false
  package var compression = QCOW2Compression.zlib
  package var preallocation = Preallocation.off
  package var backingName: String?
  package var backingFormat: String?

  package init(size: UInt64) { self.size = size }
}

extension QCOW2Image {
  /// Makes a new, empty image in a file that is empty or to be overwritten, and opens it to be written.
  package static func create(
    _ options: QCOW2Options, in file: any ImageFile, depth: Int = 0,
    backing resolver: (any BackingResolver)? = nil
  ) throws(ImageError) -> QCOW2Image {
    var header = try header(for: options)
    let layout = try RefcountLayout(
      using: 1 + header.geometry.clusters(for: UInt64(header.l1Size) * 8), header.geometry)
    let bits = UInt64(header.clusterBits)
    header.refcountTableOffset = 1 << bits
    header.refcountTableClusters = UInt32(layout.tableClusters)
    header.l1Offset = (1 + layout.tableClusters + layout.blocks) << bits
    guard let bytes = header.encoded() else {
      throw .refused("The backing file's name is too long for the image's header.")
    }
    guard file.alignment <= header.geometry.pieceSize else {
      throw .refused(
        "Clusters of \(options.clusterSize) bytes are too small for direct input and output.")
    }
    try passingOn { () throws(DiskError) in
      if try file.length() > 0 { try file.setLength(0) }
      // Of a device, what was there before remains.
      try layout.write(to: file, table: 1 << bits, blocks: (1 + layout.tableClusters) << bits)
      for cluster in 0..<header.geometry.clusters(for: UInt64(header.l1Size) * 8) {
        try file.write(
          ZeroBytes.parts(count: 1 << Int(bits)), at: header.l1Offset + cluster << bits)
      }
      try file.flush()
      let first = HostBuffer(count: 1 << Int(bits))
      first.bytes.copyBytes(from: bytes)
      try file.write(first, at: 0)
      try file.flush()
    }
    let image = try open(file, readOnly: false, depth: depth, backing: resolver)
    if options.preallocation == .metadata {
      try passingOn { () throws(DiskError) in try image.preallocate() }
    }
    return image
  }

  private static func header(for options: QCOW2Options) throws(ImageError) -> QCOW2Header {
    func refuse(_ sentence: String) -> ImageError { .refused(sentence) }
    guard options.version == 2 || options.version == 3 else {
      throw refuse("A qcow2 image has version 2 or 3.")
    }
    let bits = options.clusterSize.trailingZeroBitCount
    guard QCOW2Limits.clusterBits.contains(bits), options.clusterSize == 1 << bits else {
      throw refuse("A cluster's size is a power of two from 512 bytes to 2 MiB.")
    }
    let order = options.refcountBits.trailingZeroBitCount
    guard order <= 6, options.refcountBits == 1 << order else {
      throw refuse("A reference count has 1, 2, 4, 8, 16, 32 or 64 bits.")
    }
    guard
      options.version == 3
        || options.refcountBits == 16 && !options.hasLazyRefcounts && !options.hasExtendedEntries
          && options.compression == .zlib
    else {
      throw refuse(
        "Version 2 has 16-bit reference counts, and neither lazy ones nor subclusters nor zstd.")
    }
    guard !options.hasExtendedEntries || bits >= 14 else {
      throw refuse("Subclusters need clusters of at least 16 KiB.")
    }
    guard options.preallocation == .off || options.backingName == nil else {
      throw refuse("An image with a backing file cannot be preallocated.")
    }
    var header = QCOW2Header()
    header.version = options.version
    header.clusterBits = UInt32(bits)
    header.refcountOrder = UInt32(order)
    header.size = options.size
    header.compression = options.compression
    if options.compression != .zlib { header.incompatible.insert(.compressionType) }
    if options.hasExtendedEntries { header.incompatible.insert(.extendedEntries) }
    if options.hasLazyRefcounts { header.compatible |= QCOW2Header.lazyRefcounts }
    header.backingName = options.backingName
    if options.version >= 3 && bits >= 10 {
      header[extension: QCOW2Header.Extension.featureNames] = QCOW2Header.featureNames
    }
    header.backingFormat = options.backingName == nil ? nil : options.backingFormat
    let tables =
      options.size <= UInt64(Int64.max) ? header.geometry.tables(for: options.size) : .max
    guard tables <= QCOW2Limits.tableOfTables / 8 else {
      throw refuse("A disk of \(options.size) bytes needs larger clusters.")
    }
    // Without one, a program that expects an L1 table to have a place would be surprised.
    header.l1Size = UInt32(max(tables, 1))
    return header
  }

  /// Gives every cluster its storage, without writing to it.
  private func preallocate() throws(DiskError) {
    let end = geometry.clusters(for: size)
    var cluster: UInt64 = 0
    while cluster < end {
      cluster = try withRoomForRefcounts { () throws(Obstacle) in
        let index = cluster >> UInt64(geometry.tableEntryBits)
        let table = try privateTable(index)
        let last = min(end, (index + 1) << UInt64(geometry.tableEntryBits))
        let (clusters, _) = try allocate(upTo: last - cluster)
        for (offset, host) in clusters.enumerated() {
          let entry = ClusterEntry(
            host: host << UInt64(geometry.clusterBits), allocated: geometry.allSubclusters, zero: 0)
          try orObstacle { () throws(DiskError) in
            try setEntry(entry, of: cluster + UInt64(offset), in: table)
          }
        }
        return cluster + UInt64(clusters.count)
      }
      try writeBackIfCrowded()
    }
    try flush()
  }
}

/// A refcount table and its blocks, for a file whose clusters are all in use once.
struct RefcountLayout {
  let geometry: QCOW2Geometry
  let tableClusters: UInt64
  let blocks: UInt64
  /// All clusters: what was asked for, the table and the blocks.
  let total: UInt64

  init(using clusters: UInt64, _ geometry: QCOW2Geometry) throws(ImageError) {
    var table: UInt64 = 1
    var blocks: UInt64 = 1
    while true {
      let total = clusters + table + blocks
      let neededBlocks =
        (total + geometry.refcountsPerBlock - 1) >> UInt64(geometry.refcountsPerBlockBits)
      let neededTable = geometry.clusters(for: neededBlocks * 8)
      if neededBlocks == blocks && neededTable == table { break }
      blocks = max(blocks, neededBlocks)
      table = max(table, neededTable)
    }
    guard table << UInt64(geometry.clusterBits) <= QCOW2Limits.refcountTable else {
      throw .refused("The image's file is too large for its refcount table.")
    }
    self.geometry = geometry
    tableClusters = table
    self.blocks = blocks
    total = clusters + table + blocks
  }

  /// Writes both, all clusters counted once.
  func write(to file: any ImageFile, table: UInt64, blocks start: UInt64) throws(DiskError) {
    let bits = UInt64(geometry.clusterBits)
    let buffer = HostBuffer(count: Int(tableClusters << bits))
    for index in 0..<blocks {
      buffer.address.storeBig(start + index << bits, at: Int(index) * 8)
    }
    try file.write(buffer, at: table)
    let block = HostBuffer(count: geometry.clusterSize)
    for index in 0..<blocks {
      let first = index << UInt64(geometry.refcountsPerBlockBits)
      for entry in 0..<geometry.refcountsPerBlock {
        let bit = Int(entry) << geometry.refcountOrder
        Refcounts.store(
          first + entry < total ? 1 : 0, block.address + bit >> 3, bit: bit & 7,
          order: geometry.refcountOrder)
      }
      try file.write(block, at: start + index << bits)
    }
  }
}
