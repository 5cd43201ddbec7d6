import HostOS
package import Memory

extension QCOW2Image {
  /// Writes over a cluster that is the disk's alone, if its table is in memory and nobody holds the lock: what most
  /// writes to a disk in use are.
  package func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    guard !isReadOnly else { throw .readOnly }
    try checkRange(offset, buffers.count)
    guard buffers.count > 0 else { return true }
    guard let (host, ticket) = try placeAtOnce(offset..<offset + UInt64(buffers.count)) else {
      return false
    }
    defer { operations.end(ticket) }
    return file.writeAtOnce(buffers.parts, at: host)
  }

  /// Where bytes of one cluster lie in the file.
  func placeAtOnce(_ bytes: Range<UInt64>) throws(DiskError) -> (UInt64, Int)? {
    let cluster = bytes.lowerBound >> UInt64(geometry.clusterBits)
    guard (bytes.upperBound - 1) >> UInt64(geometry.clusterBits) == cluster, lock.tryLock() else {
      return nil
    }
    defer { lock.unlock() }
    guard failure == nil, !allocations.contains(where: { $0.contains(cluster) }),
      try tablesAreInMemory(for: bytes)
    else { return nil }
    let (table, isExclusive) = try table(cluster >> UInt64(geometry.tableEntryBits))
    guard table != 0, isExclusive else { return nil }
    let entry = try entry(of: cluster, in: table)
    let start = Int(bytes.lowerBound & geometry.clusterMask)
    let touched = geometry.subclusters(start..<start + Int(bytes.length))
    guard entry.isExclusive, !entry.isCompressed, entry.allocated & touched == touched,
      // To be looked at by whoever may wait.
      !metadata.mayContain(entry.host >> UInt64(geometry.clusterBits))
    else { return nil }
    return (entry.host + UInt64(start), operations.begin())
  }
}
