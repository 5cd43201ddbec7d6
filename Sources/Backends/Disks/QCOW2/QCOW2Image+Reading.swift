import Glibc
import HostOS
package import Memory
import Synchronization

extension QCOW2Image {
  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try checkRange(offset, buffers.count)
    try fill(buffers, at: offset)
  }

  /// Reads what the guest would. What lies beyond the disk's end, up to its last cluster's, reads as zeroes.
  func fill(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    var done = 0
    while done < buffers.count {
      let position = offset + UInt64(done)
      let (run, ticket) = try lookUp(position, limit: buffers.count - done)
      defer { operations.end(ticket) }
      let part = buffers.slice(done..<done + Int(run.count))
      switch run.storage {
      case .data(let host): try file.read(part.parts, at: host)
      case .zero: part.clear()
      case .absent: try readBacking(part, at: position)
      case .compressed(let descriptor):
        try readCompressed(part, descriptor, at: Int(position & geometry.clusterMask))
      }
      done += Int(run.count)
    }
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool {
    try checkRange(offset, buffers.count)
    guard buffers.count > 0 else { return true }
    guard let (run, ticket) = try lookUpAtOnce(offset, limit: buffers.count) else { return false }
    defer { operations.end(ticket) }
    guard run.count == UInt64(buffers.count) else { return false }
    switch run.storage {
    case .data(let host): return file.readAtOnce(buffers.parts, at: host)
    case .zero: buffers.clear()
    case .absent:
      if let backing, offset < backing.size {
        guard offset + UInt64(buffers.count) <= backing.size else { return false }
        return try backing.readAtOnce(into: buffers, at: offset)
      }
      if lacksBacking { return false }
      buffers.clear()
    case .compressed(let descriptor):
      return decompressed.copy(
        descriptor, from: Int(offset & geometry.clusterMask), into: buffers)
    }
    return true
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    guard offset < size else { throw .outOfRange }
    let run: StoredRun
    do {
      lock.lock()
      defer { lock.unlock() }
      run = try self.run(at: offset, limit: size - offset)
    }
    let range = offset..<offset + run.count
    return switch run.storage {
    case .data(let host): DiskExtent(range, .data, hostOffset: host)
    case .zero: DiskExtent(range, .zero)
    case .absent: DiskExtent(range, .absent)
    case .compressed: DiskExtent(range, .data, isCompressed: true)
    }
  }

  private func lookUp(_ position: UInt64, limit: Int) throws(DiskError) -> (StoredRun, Int) {
    lock.lock()
    defer { lock.unlock() }
    return (try run(at: position, limit: UInt64(limit)), operations.begin())
  }

  /// The same if the tables are in memory and nobody holds the lock.
  func lookUpAtOnce(
    _ position: UInt64, limit: Int
  ) throws(DiskError) -> (StoredRun, Int)? {
    guard lock.tryLock() else { return nil }
    defer { lock.unlock() }
    guard try tablesAreInMemory(for: position..<position + UInt64(limit)) else { return nil }
    return (try run(at: position, limit: UInt64(limit)), operations.begin())
  }

  /// Whether the tables that tell where bytes lie are in memory. Those of a request that goes on into another table
  /// are left to whoever may wait.
  func tablesAreInMemory(for bytes: Range<UInt64>) throws(DiskError) -> Bool {
    let index = bytes.lowerBound >> UInt64(geometry.tableSpanBits)
    guard index < l1Size, cache.cached(at: l1Offset + index * 8) != nil else { return false }
    let table = try table(index).offset
    if table == 0 { return true }
    let last = bytes.upperBound - 1
    let bits = UInt64(geometry.clusterBits)
    return cache.cached(at: place(of: bytes.lowerBound >> bits, in: table)) != nil
      && last >> UInt64(geometry.tableSpanBits) == index
      && cache.cached(at: place(of: last >> bits, in: table)) != nil
  }

  // MARK: - What does not lie in the file as it is

  private func readBacking(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    guard let backing else {
      if lacksBacking { throw .damaged("The image's backing file was not opened.") }
      buffers.clear()
      return
    }
    let there = backing.size > offset ? min(UInt64(buffers.count), backing.size - offset) : 0
    if there > 0 { try backing.read(into: buffers.slice(0..<Int(there)), at: offset) }
    if there < UInt64(buffers.count) { buffers.slice(Int(there)..<buffers.count).clear() }
  }

  private func readCompressed(
    _ buffers: GuestBuffers, _ descriptor: UInt64, at offset: Int
  ) throws(DiskError) {
    if decompressed.copy(descriptor, from: offset, into: buffers) { return }
    let range = CompressedRange(descriptor, geometry)
    let unit = UInt64(file.alignment)
    let start = range.offset / unit * unit
    let lead = Int(range.offset - start)
    let input = HostBuffer(
      count: (lead + range.count + file.alignment - 1) / file.alignment * file.alignment)
    try file.read(input, at: start)
    let output = HostBuffer(count: geometry.clusterSize)
    defer { withExtendedLifetime((input, output)) {} }
    let data = UnsafeRawBufferPointer(rebasing: input.bytes[lead..<lead + range.count])
    guard Compression.decompress(data, into: output.bytes, header.compression) else {
      throw .damaged("The compressed cluster at \(range.offset) cannot be decompressed.")
    }
    buffers.copy(from: output.address + offset)
    decompressed.keep(descriptor, output)
  }
}

/// The cluster that was decompressed last: reads in small steps do not decompress it again and again.
final class DecompressedCluster: Sendable {
  private let kept = Mutex<(descriptor: UInt64, content: HostBuffer)?>(nil)

  func keep(_ descriptor: UInt64, _ content: HostBuffer) {
    kept.withLock { $0 = (descriptor, content) }
  }

  func forget() { kept.withLock { $0 = nil } }

  /// Answers `false` if it is another one.
  func copy(_ descriptor: UInt64, from offset: Int, into buffers: GuestBuffers) -> Bool {
    let content = kept.withLock { $0?.descriptor == descriptor ? $0?.content : nil }
    guard let content else { return false }
    defer { withExtendedLifetime(content) {} }
    buffers.copy(from: content.address + offset)
    return true
  }
}

extension GuestBuffers {
  func clear() {
    for part in parts where part.count > 0 { memset(part.baseAddress!, 0, part.count) }
  }

  /// Fills all parts from `source`, which holds as many bytes.
  func copy(from source: UnsafeMutableRawPointer) {
    var source = source
    for part in parts where part.count > 0 {
      memcpy(part.baseAddress!, source, part.count)
      source += part.count
    }
  }
}
