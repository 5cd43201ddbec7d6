import Memory

/// A state of the disk that the image keeps besides the active one.
/// - SeeAlso: qcow2 "Snapshots".
package struct QCOW2Snapshot: Sendable, Equatable {
  package let id: String
  package let name: String
  /// Seconds since 1970.
  package let time: UInt32
  /// Nanoseconds that the guest had run.
  package let runTime: UInt64
  package let stateSize: UInt64
  /// Bytes of the disk then; nil if the image does not say.
  package let size: UInt64?
  let l1Offset: UInt64
  let l1Size: UInt32
}

extension QCOW2Image {
  package func snapshots() throws(ImageError) -> [QCOW2Snapshot] { try snapshotTable().0 }

  /// Bytes of the snapshot table.
  func snapshotTableLength() throws(ImageError) -> UInt64 { UInt64(try snapshotTable().1) }

  private func snapshotTable() throws(ImageError) -> ([QCOW2Snapshot], Int) {
    guard header.snapshotCount > 0 else { return ([], 0) }
    var reader = ByteReader(try snapshotBytes())
    var snapshots: [QCOW2Snapshot] = []
    for _ in 0..<header.snapshotCount {
      guard let l1Offset = reader.number(UInt64.self), let l1Size = reader.number(UInt32.self),
        let idLength = reader.number(UInt16.self), let nameLength = reader.number(UInt16.self),
        let time = reader.number(UInt32.self), reader.number(UInt32.self) != nil,
        let runTime = reader.number(UInt64.self), let shortStateSize = reader.number(UInt32.self),
        let extraLength = reader.number(UInt32.self), let extra = reader.take(Int(extraLength)),
        let id = reader.take(Int(idLength)), let name = reader.take(Int(nameLength))
      else { throw .refused("The image's snapshot table is cut off or too large.") }
      reader.align(to: 8)
      var extraReader = ByteReader(Array(extra))
      let stateSize = extraReader.number(UInt64.self)
      let size = extraReader.number(UInt64.self)
      let snapshot = QCOW2Snapshot(
        id: String(decoding: id, as: UTF8.self), name: String(decoding: name, as: UTF8.self),
        time: time, runTime: runTime, stateSize: stateSize ?? UInt64(shortStateSize), size: size,
        l1Offset: l1Offset, l1Size: l1Size)
      try check(snapshot)
      snapshots.append(snapshot)
    }
    return (snapshots, reader.position)
  }

  private func snapshotBytes() throws(ImageError) -> [UInt8] {
    let length = try passingOn { () throws(DiskError) in try file.length() }
    guard header.snapshotsOffset < length else {
      throw .refused("The image's snapshot table lies beyond the end of the file.")
    }
    // As much as is needed for the entries is found out by reading them: a little first, for most.
    let most = min(QCOW2Limits.snapshotTable, length - header.snapshotsOffset)
    let guess = min(most, UInt64(header.snapshotCount) * 4096)
    let count = Int((guess + 4095) / 4096 * 4096)
    let buffer = HostBuffer(count: count)
    try passingOn { () throws(DiskError) in
      try file.read(buffer, at: header.snapshotsOffset)
    }
    return Array(buffer.bytes[0..<Int(guess)])
  }

  private func check(_ snapshot: QCOW2Snapshot) throws(ImageError) {
    let size = snapshot.size ?? header.size
    guard UInt64(snapshot.l1Size) * 8 <= QCOW2Limits.tableOfTables,
      snapshot.l1Offset & geometry.clusterMask == 0, snapshot.l1Offset < QCOW2Limits.hostOffset,
      size <= UInt64(Int64.max), UInt64(snapshot.l1Size) >= geometry.tables(for: size)
    else {
      throw .refused("The snapshot \"\(snapshot.name)\" has an impossible L1 table.")
    }
  }
}
