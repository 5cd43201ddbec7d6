extension QCOW2Header {
  /// Reads a header.
  /// - Parameter bytes: the beginning of the file: a cluster of it, or all if it is shorter.
  init(_ bytes: [UInt8]) throws(ImageError) {
    var reader = ByteReader(bytes)
    guard reader.number(UInt32.self) == Self.magic else {
      throw .refused("This is not a qcow2 image: it does not begin with the format's four letters.")
    }
    guard let version = reader.number(UInt32.self), let backingOffset = reader.number(UInt64.self),
      let backingLength = reader.number(UInt32.self), let clusterBits = reader.number(UInt32.self),
      let size = reader.number(UInt64.self), let encryption = reader.number(UInt32.self),
      let l1Size = reader.number(UInt32.self), let l1Offset = reader.number(UInt64.self),
      let refcountTableOffset = reader.number(UInt64.self),
      let refcountTableClusters = reader.number(UInt32.self),
      let snapshotCount = reader.number(UInt32.self),
      let snapshotsOffset = reader.number(UInt64.self)
    else { throw .refused("The qcow2 image ends inside its header.") }
    self.version = version
    self.clusterBits = clusterBits
    self.size = size
    self.l1Size = l1Size
    self.l1Offset = l1Offset
    self.refcountTableOffset = refcountTableOffset
    self.refcountTableClusters = refcountTableClusters
    self.snapshotCount = snapshotCount
    self.snapshotsOffset = snapshotsOffset
    guard version == 2 || version == 3 else {
      throw .refused("The qcow2 image has version \(version): Roost knows versions 2 and 3.")
    }
    guard QCOW2Limits.clusterBits.contains(Int(clusterBits)) else {
      throw .refused(
        "The qcow2 image has clusters of 2^\(clusterBits) bytes: they may have 2^9 to 2^21.")
    }
    try readVersion3(&reader, bytes)
    switch encryption {
    case 0: break
    case 1: throw .refused("The qcow2 image is encrypted with AES, which Roost does not support.")
    case 2: throw .refused("The qcow2 image is encrypted with LUKS, which Roost does not support.")
    default: throw .refused("The qcow2 image is encrypted in a way that is unknown.")
    }
    try readExtensions(from: reader.position, bytes)
    try checkFeatures()
    try readBackingName(at: backingOffset, count: backingLength, bytes)
    try checkTables()
  }

  private mutating func readVersion3(
    _ reader: inout ByteReader, _ bytes: [UInt8]
  ) throws(ImageError) {
    guard version >= 3 else { return }
    guard let incompatible = reader.number(UInt64.self),
      let compatible = reader.number(UInt64.self),
      let autoclear = reader.number(UInt64.self), let refcountOrder = reader.number(UInt32.self),
      let headerLength = reader.number(UInt32.self)
    else { throw .refused("The qcow2 image ends inside its header.") }
    self.incompatible = Incompatible(rawValue: incompatible)
    self.compatible = compatible
    self.autoclear = autoclear
    self.refcountOrder = refcountOrder
    guard refcountOrder <= 6 else {
      throw .refused(
        "The qcow2 image has reference counts of 2^\(refcountOrder) bits: at most 2^6.")
    }
    guard headerLength >= 104, headerLength % 8 == 0, headerLength <= 1 << clusterBits,
      let more = reader.take(Int(headerLength) - 104)
    else { throw .refused("The qcow2 image's header has an impossible length, \(headerLength).") }
    let type = more.first ?? 0
    guard let compression = QCOW2Compression(rawValue: type) else {
      throw .refused("The qcow2 image is compressed in a way that Roost does not know (\(type)).")
    }
    self.compression = compression
    unknownFields = Array(more.dropFirst())
  }

  private mutating func readExtensions(from start: Int, _ bytes: [UInt8]) throws(ImageError) {
    var reader = ByteReader(bytes, at: start)
    // A version 2 header may be followed at once by the backing file's name or by nothing.
    while let type = reader.number(UInt32.self), type != 0 {
      guard let length = reader.number(UInt32.self), let data = reader.take(Int(length)) else {
        throw .refused("A header extension of the qcow2 image goes beyond the first cluster.")
      }
      reader.align(to: 8)
      if extensions.contains(where: { $0.type == type }) { continue }
      extensions.append(Extension(type: type, data: Array(data)))
    }
  }

  private mutating func checkFeatures() throws(ImageError) {
    let unknown = incompatible.subtracting(.known)
    if !unknown.isEmpty {
      let names = (0..<64).filter { unknown.rawValue >> UInt64($0) & 1 != 0 }.map {
        featureName(kind: 0, bit: UInt8($0)) ?? "bit \($0)"
      }
      throw .refused(
        "The qcow2 image needs features that Roost does not have: \(names.joined(separator: ", "))."
      )
    }
    if incompatible.contains(.externalData) || self[extension: Extension.externalData] != nil {
      throw .refused(
        "The qcow2 image keeps its data in another file, which Roost does not support.")
    }
    guard incompatible.contains(.compressionType) == (compression != .zlib) else {
      throw .refused("The qcow2 image contradicts itself about how it is compressed.")
    }
    if incompatible.contains(.extendedEntries) && clusterBits < 14 {
      throw .refused("The qcow2 image has subclusters in clusters that are too small for them.")
    }
  }

  /// A feature's name from the image's own table (qcow2 "Feature name table").
  private func featureName(kind: UInt8, bit: UInt8) -> String? {
    var reader = ByteReader(self[extension: Extension.featureNames] ?? [])
    while let entry = reader.take(48) {
      if entry[entry.startIndex] == kind && entry[entry.startIndex + 1] == bit {
        let name = entry.dropFirst(2).prefix { $0 != 0 }
        return String(decoding: name.map { (32..<127).contains($0) ? $0 : 63 }, as: UTF8.self)
      }
    }
    return nil
  }

  private mutating func readBackingName(
    at offset: UInt64, count: UInt32, _ bytes: [UInt8]
  ) throws(ImageError) {
    guard offset != 0 else { return }
    guard count <= QCOW2Limits.backingName else {
      throw .refused("The name of the qcow2 image's backing file is too long: \(count) bytes.")
    }
    guard let start = Int(exactly: offset), start <= 1 << clusterBits,
      Int(count) <= (1 << clusterBits) - start
    else {
      throw .refused("The name of the qcow2 image's backing file is not in the first cluster.")
    }
    var reader = ByteReader(bytes, at: start)
    guard let name = reader.take(Int(count)) else {
      throw .refused("The qcow2 image ends inside the name of its backing file.")
    }
    guard !name.contains(0), let text = String(validating: name, as: UTF8.self) else {
      throw .refused("The name of the qcow2 image's backing file is not text.")
    }
    backingName = text.isEmpty ? nil : text
  }

  private func checkTables() throws(ImageError) {
    let geometry = self.geometry
    func check(_ what: String, _ offset: UInt64, _ bytes: UInt64, limit: UInt64) throws(ImageError)
    {
      guard bytes <= limit else {
        throw .refused("The qcow2 image's \(what) is too large: \(bytes) bytes.")
      }
      guard offset & geometry.clusterMask == 0, offset < QCOW2Limits.hostOffset,
        bytes == 0 || offset != 0
      else { throw .refused("The qcow2 image's \(what) is at an impossible place, \(offset).") }
    }
    try check("L1 table", l1Offset, UInt64(l1Size) * 8, limit: QCOW2Limits.tableOfTables)
    try check(
      "refcount table", refcountTableOffset,
      UInt64(refcountTableClusters) << UInt64(clusterBits), limit: QCOW2Limits.refcountTable)
    guard refcountTableClusters > 0 else {
      throw .refused("The qcow2 image has no refcount table.")
    }
    guard snapshotCount <= QCOW2Limits.snapshots else {
      throw .refused("The qcow2 image has too many snapshots: \(snapshotCount).")
    }
    try check("snapshot table", snapshotsOffset, UInt64(snapshotCount), limit: .max)
    guard size <= UInt64(Int64.max) else {
      throw .refused("The qcow2 image describes a disk that is too large: \(size) bytes.")
    }
    guard UInt64(l1Size) >= geometry.tables(for: size) else {
      throw .refused("The qcow2 image's L1 table is too small for its disk.")
    }
  }
}
