package import HostOS
package import Memory

/// A regular file or block device whose bytes are the disk's.
///
/// A file that ends inside a 512-byte sector is a disk that ends with that sector: what is missing reads as zeroes,
/// and a write there makes the file longer. What a file loses that shrinks under us reads as zeroes too.
package final class RawImage: DiskImage {
  package let file: StorageFile
  package let size: UInt64
  package let cache: CacheMode
  package let clusterSize: Int
  /// A guest's memory that shows the file, and whose changes a flush makes durable too.
  private let mapping: FileMapping?

  private let transfers: FileTransfers

  package init(
    _ file: StorageFile, cache: CacheMode = .writeback, mapping: FileMapping? = nil
  ) throws(HostError) {
    self.file = file
    self.mapping = mapping
    self.cache = cache
    transfers = FileTransfers(file)
    size = try file.size().rounded(upTo: 512)
    switch file.kind {
    case .regular: clusterSize = 4096
    case .blockDevice(_, let physical): clusterSize = max(physical, 512)
    }
  }

  /// Opens an image, for reading alone unless `writable`, and keeps others off it.
  package static func open(
    _ path: String, writable: Bool, cache: CacheMode = .writeback,
    sharing: ImageLock.Sharing = .guarded
  ) throws(ImageError) -> RawImage {
    var options: StorageFile.Options = writable ? .writable : []
    if cache == .direct { options.insert(.direct) }
    let file: StorageFile
    do throws(HostError) { file = try .open(path, options) } catch { throw ImageError(error) }
    if sharing == .guarded { try ImageLock.take(on: file) }
    do throws(HostError) { return try RawImage(file, cache: cache) } catch {
      throw ImageError(error)
    }
  }

  package var isReadOnly: Bool { !file.isWritable }
  /// One, in every mode: what direct transfers do not take goes through a buffer.
  package var alignment: Int { 1 }
}

// MARK: - What the host does alone

extension RawImage {
  package func place(
    to direction: TransferDirection, _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> HostPlace? {
    guard file.isDirect, file.takesDirectly(buffers.parts, at: offset) else { return nil }
    if direction == .write { try checkWritable() }
    _ = try range(at: offset, count: buffers.count)
    return HostPlace(file, offset)
  }
}

// MARK: - Reading

extension RawImage {
  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    _ = try range(at: offset, count: buffers.count)
    try transfers.read(into: buffers, at: offset)
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool {
    _ = try range(at: offset, count: buffers.count)
    return transfers.readAtOnce(into: buffers, at: offset)
  }
}

// MARK: - Writing

extension RawImage {
  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    if cache == .writethrough { return try writeDurably(buffers, at: offset) }
    try checkWritable()
    _ = try range(at: offset, count: buffers.count)
    try transfers.write(buffers, at: offset)
  }

  package func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    if cache == .unsafe { return try write(buffers, at: offset) }
    try checkWritable()
    _ = try range(at: offset, count: buffers.count)
    try transfers.writeDurably(buffers, at: offset)
  }

  package func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    try checkWritable()
    _ = try range(at: offset, count: buffers.count)
    return (cache == .writeback || cache == .unsafe) && transfers.writeAtOnce(buffers, at: offset)
  }

  package func flush() throws(DiskError) {
    if isReadOnly || cache == .unsafe { return }
    try transfers.flush()
    guard let mapping, !mapping.isIntact else { return }
    throw .damaged(
      "memory that shows \"\(file.path)\" lost what was in it: the file was cut short, or its storage failed"
    )
  }
}
