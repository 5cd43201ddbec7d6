import Memory
import Synchronization

/// What an image says about the file beneath it.
package struct BackingReference: Sendable, Equatable {
  /// As it stands in the image: a path, relative to the image's own folder.
  package let name: String
  /// As it stands in the image: `raw`, `qcow2`, ….
  package let format: String?
  /// How many images lie above it in the chain; to be handed on when it is opened.
  package let depth: Int

  package init(name: String, format: String?, depth: Int) {
    self.name = name
    self.format = format
    self.depth = depth
  }
}

/// Whoever opens backing files: decides which may be opened, and as what.
package protocol BackingResolver {
  /// Opens the file, to be read only.
  func open(_ reference: BackingReference) throws(ImageError) -> any DiskImage
}

extension QCOW2Image {
  /// Opens an image.
  ///
  /// - Parameters:
  ///   - snapshot: the ID or name of an internal snapshot, which is read instead of the active disk.
  ///   - depth: how many images lie above it in its chain.
  ///   - resolver: opens the backing file. Without one the image can be examined, but not read where it has no data.
  package static func open(
    _ file: any ImageFile, readOnly: Bool, snapshot: String? = nil, depth: Int = 0,
    backing resolver: (any BackingResolver)?
  ) throws(ImageError) -> QCOW2Image {
    let header = try readHeader(file)
    let isReadOnly = readOnly || file.isReadOnly || snapshot != nil
    guard file.alignment <= header.geometry.pieceSize else {
      throw .refused(
        "The image's clusters of \(header.geometry.clusterSize) bytes are too small for direct input and output."
      )
    }
    guard isReadOnly || !header.incompatible.contains(.corrupt) else {
      throw .refused(
        "The image is marked as corrupt: repair it with a check, or open it to read only.")
    }
    guard depth < BackingChain.limit else {
      throw .refused("The chain of backing files is longer than \(BackingChain.limit) images.")
    }
    var backing: (any DiskImage)?
    if let name = header.backingName, let resolver {
      backing = try resolver.open(
        BackingReference(name: name, format: header.backingFormat, depth: depth + 1))
    }
    let image = QCOW2Image(file, header, isReadOnly: isReadOnly, backing: backing, depth: depth)
    if let snapshot { try image.choose(snapshot) }
    if !isReadOnly { try image.prepareToWrite() }
    return image
  }

  static func readHeader(_ file: any ImageFile) throws(ImageError) -> QCOW2Header {
    let length = try passingOn { () throws(DiskError) in try file.length() }
    // The largest cluster holds any header.
    let count = Int(min(length, 2 << 20))
    guard count > 0 else { throw .refused("This is not a qcow2 image: the file is empty.") }
    let buffer = HostBuffer(count: (count + 4095) / 4096 * 4096)
    try passingOn { () throws(DiskError) in try file.read(buffer, at: 0) }
    var bytes = Array(buffer.bytes[0..<count])
    if bytes.count >= 24 {
      let bits = UnsafeRawPointer(buffer.address).big(UInt32.self, at: 20)
      if bits < 21 { bytes.removeLast(max(0, bytes.count - 1 << bits)) }
    }
    return try QCOW2Header(bytes)
  }

  private func choose(_ name: String) throws(ImageError) {
    let snapshots = try self.snapshots()
    guard
      let snapshot = snapshots.first(where: { $0.id == name })
        ?? snapshots.first(where: { $0.name == name })
    else { throw .refused("The image has no snapshot \"\(name)\".") }
    l1Offset = snapshot.l1Offset
    l1Size = UInt64(snapshot.l1Size)
    byteCount.store(snapshot.size ?? header.size, ordering: .relaxed)
  }

  func prepareToWrite() throws(ImageError) {
    if header.incompatible.contains(.dirty) {
      let report = try repairUnopened()
      guard report.corruptions == 0, report.checkErrors == 0 else {
        throw .refused("The image was not closed, and cannot be repaired: a check says more.")
      }
    }
    try noteMetadata()
    if header.autoclear != 0 {
      // What they vouch for will not be kept up to date (qcow2 "autoclear_features").
      header.autoclear = 0
      try passingOn { () throws(DiskError) in
        try writeHeader()
        try sync()
      }
    }
  }

  /// So many of a table's entries, of eight bytes each, as lie in the file: those behind its end are zero. So a small
  /// image makes little work, whatever it says of its tables.
  func entriesInFile(_ count: UInt64, at offset: UInt64) throws(ImageError) -> UInt64 {
    let length = try passingOn { () throws(DiskError) in try file.length() }
    return offset < length ? min(count, (length - offset + 7) / 8) : 0
  }

  /// Finds out where metadata lie, and where free space begins.
  func noteMetadata() throws(ImageError) {
    let bits = UInt64(geometry.clusterBits)
    func clusters(_ offset: UInt64, _ bytes: UInt64) -> Range<UInt64> {
      offset >> bits..<offset >> bits + geometry.clusters(for: bytes)
    }
    let length = try passingOn { () throws(DiskError) in try file.length() }
    let snapshots = try self.snapshots()
    // Each has a table of its own, so that all of them fit into the file.
    guard snapshots.reduce(0, { $0 + UInt64($1.l1Size) * 8 }) <= length else {
      throw .refused("The L1 tables of the image's snapshots are larger than its file.")
    }
    fixedMetadata = [0..<1, clusters(header.l1Offset, UInt64(header.l1Size) * 8)]
    fixedMetadata.append(
      clusters(header.refcountTableOffset, UInt64(header.refcountTableClusters) << bits))
    if header.snapshotCount > 0 {
      fixedMetadata.append(clusters(header.snapshotsOffset, try snapshotTableLength()))
      fixedMetadata += snapshots.map { clusters($0.l1Offset, UInt64($0.l1Size) * 8) }
    }
    searchStart = 0
    virginStart = geometry.clusters(for: length)
    fileLength = length
    let tables = try entriesInFile(UInt64(header.l1Size), at: header.l1Offset)
    let blocks = try entriesInFile(refcountTableEntries, at: header.refcountTableOffset)
    metadata = MetadataFilter(expected: Int(header.l1Size) + Int(refcountTableEntries))
    for cluster in fixedMetadata.joined() { metadata.insert(cluster) }
    try passingOn { () throws(DiskError) in
      for index in 0..<tables {
        let entry = try cache.number(UInt64.self, at: header.l1Offset + index * 8)
        metadata.insert((entry & 0x00ff_ffff_ffff_fe00) >> bits)
      }
      for index in 0..<blocks {
        let entry = try cache.number(UInt64.self, at: header.refcountTableOffset + index * 8)
        metadata.insert((entry & ~UInt64(0x1ff)) >> bits)
      }
    }
  }
}
