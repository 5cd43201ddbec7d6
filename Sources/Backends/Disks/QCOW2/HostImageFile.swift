package import HostOS
import Memory

/// A file of the host, or a block device, under an image format.
package final class HostImageFile: ImageFile {
  private let file: StorageFile
  private let transfers: FileTransfers
  private let cache: CacheMode

  /// - Parameter cache: `unsafe` makes flushes do nothing; that each write is durable is not for a file to do, as a
  ///   write changes tables too. Whether the page cache is passed by was decided when the file was opened.
  package init(_ file: StorageFile, cache: CacheMode = .writeback) {
    self.file = file
    self.cache = cache
    transfers = FileTransfers(file)
  }

  package var isReadOnly: Bool { !file.isWritable }
  /// One, in every mode: what direct transfers do not take goes through a buffer.
  package var alignment: Int { 1 }

  package var directFile: StorageFile? { file.isDirect ? file : nil }

  package func length() throws(DiskError) -> UInt64 {
    do throws(HostError) { return try file.size() } catch { throw DiskError(error) }
  }

  package func read(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(DiskError) {
    try transfers.read(into: GuestBuffers(parts: parts, owner: self), at: offset)
  }

  package func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    transfers.readAtOnce(into: GuestBuffers(parts: parts, owner: self), at: offset)
  }

  package func write(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(DiskError) {
    try transfers.write(GuestBuffers(parts: parts, owner: self), at: offset)
  }

  package func writeAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    transfers.writeAtOnce(GuestBuffers(parts: parts, owner: self), at: offset)
  }

  package func flush() throws(DiskError) {
    if cache == .unsafe { return }
    try transfers.flush()
  }

  /// A device has the length it has.
  package func setLength(_ length: UInt64) throws(DiskError) {
    do throws(HostError) {
      if file.kind == .regular { return try file.resize(to: length) }
      if try length <= file.size() { return }
    } catch {
      throw DiskError(error)
    }
    throw .noSpace
  }

  package func punch(_ range: Range<UInt64>) -> Bool { (try? file.punch(range)) != nil }
}
