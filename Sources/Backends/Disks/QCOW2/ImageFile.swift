package import HostOS
package import Memory

/// The file that an image format lies in: bytes that are read and written at given places, and that can grow.
///
/// All calls may come from any thread, several at once. Offsets and lengths are multiples of `alignment`.
package protocol ImageFile: AnyObject, Sendable {
  var isReadOnly: Bool { get }
  var alignment: Int { get }

  func length() throws(DiskError) -> UInt64
  /// What lies beyond the end reads as zeroes.
  func read(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError)
  /// Reads if no waiting is needed; answers `false`, having promised nothing of the parts, if it is.
  func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool
  /// Grows the file where needed; what was skipped reads as zeroes.
  func write(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError)
  /// Writes if no waiting is needed; answers `false`, having perhaps written a part, if it is.
  func writeAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool
  /// The file itself, if it is the host's and is read and written past the page cache.
  var directFile: StorageFile? { get }
  /// Returns when all that was written before would survive a loss of power.
  func flush() throws(DiskError)
  func setLength(_ length: UInt64) throws(DiskError)
  /// Gives storage back; the bytes then read as zeroes. Answers `false`, having changed nothing, if that cannot be.
  func punch(_ range: Range<UInt64>) -> Bool
}

extension ImageFile {
  /// Fills a buffer, and keeps it meanwhile: its `bytes` alone would not.
  package func read(_ buffer: HostBuffer, at offset: UInt64) throws(DiskError) {
    defer { withExtendedLifetime(buffer) {} }
    try read([buffer.bytes], at: offset)
  }

  package func write(_ buffer: HostBuffer, at offset: UInt64) throws(DiskError) {
    defer { withExtendedLifetime(buffer) {} }
    try write([buffer.bytes], at: offset)
  }

  package var directFile: StorageFile? { nil }

  package func writeAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    false
  }
}
