import HostOS
package import Memory

extension QCOW2Image {
  /// Writes whole clusters compressed, as far as that saves room; the disk's last one may be cut off.
  package func writeCompressed(
    _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) {
    guard !isReadOnly else { throw .readOnly }
    guard file.alignment == 1 else { throw .unsupported }
    try checkRange(offset, buffers.count)
    let size = geometry.clusterSize
    guard offset & geometry.clusterMask == 0,
      buffers.count % size == 0 || offset + UInt64(buffers.count) == self.size
    else { throw .outOfRange }
    let input = HostBuffer(count: size)
    let output = HostBuffer(count: size)
    defer { withExtendedLifetime((input, output)) {} }
    for start in stride(from: 0, to: buffers.count, by: size) {
      let count = min(size, buffers.count - start)
      let part = buffers.slice(start..<start + count)
      input.buffers.clear()
      part.copy(to: input.address)
      let room = UnsafeMutableRawBufferPointer(rebasing: output.bytes[0..<size - 1])
      let position = offset + UInt64(start)
      if let count = Compression.compress(
        UnsafeRawBufferPointer(input.bytes), into: room, header.compression),
        let place = try planCompressed(position, count)
      {
        let data = UnsafeMutableRawBufferPointer(rebasing: output.bytes[0..<count])
        try finishCompressed(place, data)
      } else {
        try write(part, at: position)
      }
    }
    try writeBackIfCrowded()
  }

  private struct CompressedPlace {
    let cluster: UInt64
    let table: UInt64
    let entry: ClusterEntry
  }

  /// Finds room for `count` bytes; nil if it lies too far back to be told in an entry.
  private func planCompressed(
    _ position: UInt64, _ count: Int
  ) throws(DiskError) -> CompressedPlace? {
    try withRoomForRefcounts { () throws(Obstacle) -> CompressedPlace? in
      let cluster = position >> UInt64(geometry.clusterBits)
      _ = awaitAllocations(from: cluster)
      let table = try privateTable(cluster >> UInt64(geometry.tableEntryBits))
      let offset = try allocateBytes(UInt64(count))
      guard let descriptor = CompressedRange.descriptor(offset: offset, count: count, geometry)
      else {
        let first = offset >> UInt64(geometry.clusterBits)
        release(first..<(offset + UInt64(count) - 1) >> UInt64(geometry.clusterBits) + 1)
        compressedEnd = nil
        return nil
      }
      allocations.append(cluster..<cluster + 1)
      return CompressedPlace(
        cluster: cluster, table: table, entry: ClusterEntry(compressed: descriptor))
    }
  }

  /// Takes bytes behind the last compressed cluster where there is room or the next host cluster is free, or else at
  /// the start of another. Each host cluster counts the compressed clusters that touch it.
  private func allocateBytes(_ count: UInt64) throws(Obstacle) -> UInt64 {
    let bits = UInt64(geometry.clusterBits)
    let size = UInt64(geometry.clusterSize)
    guard let start = compressedEnd, start & geometry.clusterMask != 0,
      try orObstacle({ () throws(DiskError) in try refcount(of: start >> bits) })
        < geometry.largestRefcount
    else { return try startCluster(count) }
    let cluster = start >> bits
    if start & geometry.clusterMask + count > size {
      let next = try allocate(upTo: 1).clusters
      guard next.lowerBound == cluster + 1 else {
        compressedEnd = next.lowerBound << bits + count
        return next.lowerBound << bits
      }
    }
    try orObstacle { () throws(DiskError) in
      try setRefcount(try refcount(of: cluster) + 1, of: cluster)
    }
    compressedEnd = start + count
    return start
  }

  private func startCluster(_ count: UInt64) throws(Obstacle) -> UInt64 {
    let first = try allocate(upTo: 1).clusters.lowerBound << UInt64(geometry.clusterBits)
    compressedEnd = first + count
    return first
  }

  private func finishCompressed(
    _ place: CompressedPlace, _ data: UnsafeMutableRawBufferPointer
  ) throws(DiskError) {
    let offset = CompressedRange(place.entry.host, geometry).offset
    defer {
      lock.withLock {
        allocations.removeAll { $0.lowerBound == place.cluster }
        lock.wakeAll()
      }
    }
    do throws(DiskError) {
      try file.write([data], at: offset)
      lock.lock()
      defer { lock.unlock() }
      let old = try entry(of: place.cluster, in: place.table)
      try setEntry(place.entry, of: place.cluster, in: place.table)
      release(old)
    } catch {
      lock.withLock { release(place.entry) }
      throw error
    }
  }
}

extension GuestBuffers {
  /// Copies all bytes to `target`, which has room for them.
  fileprivate func copy(to target: UnsafeMutableRawPointer) {
    var target = target
    for part in parts where part.count > 0 {
      target.copyMemory(from: part.baseAddress!, byteCount: part.count)
      target += part.count
    }
  }
}
