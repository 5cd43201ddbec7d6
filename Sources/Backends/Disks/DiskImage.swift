package import Memory

/// The content of a disk in some format: a run of bytes that is read and written by whoever may wait.
///
/// Formats are written against this and stacked on each other; `QueuedDisk` makes a `Disk` of one, whose requests
/// run on worker threads. All calls may come from any thread, several at once: pieces that do not overlap do not
/// disturb each other, and pieces that do are torn at 512 bytes at the finest.
///
/// Every call checks its range and throws `.outOfRange`; none traps, whatever the numbers.
package protocol DiskImage: AnyObject, Sendable {
  /// Bytes that the guest sees.
  var size: UInt64 { get }
  var isReadOnly: Bool { get }
  /// What offsets and lengths must be multiples of: 1, or more for direct input and output.
  var alignment: Int { get }
  /// The unit in which storage is given and taken, in bytes.
  var clusterSize: Int { get }

  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError)
  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError)
  /// Writes, and returns when what was written would survive a loss of power.
  func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError)
  /// Returns when all that was written before would survive a loss of power. After it has failed once, data may be
  /// lost that the host no longer has: it fails from then on, until the image is opened anew.
  func flush() throws(DiskError)
  /// Gives storage back where that is possible; the bytes then read as zeroes, or as they were.
  func discard(_ range: Range<UInt64>) throws(DiskError)
  /// With `mayUnmap`, storage may be given back.
  func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError)
  /// Reads if no waiting is needed; answers `false`, having promised nothing of the buffers, if it is.
  func readAtOnce(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool
  /// Writes if no waiting is needed; answers `false`, having perhaps written a part, if it is.
  func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool
  /// Where the host can read or write the buffers alone, past the page cache, if no waiting is needed to say so. The
  /// place stays until it is left.
  func place(
    to direction: TransferDirection, _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> HostPlace?
  /// Where `offset` lies and how far the same holds.
  func extent(at offset: UInt64) throws(DiskError) -> DiskExtent
}

/// A run of an image's bytes that are alike in how they are stored.
package struct DiskExtent: Sendable, Equatable {
  package enum Kind: Sendable, Equatable {
    /// Stored in this image.
    case data
    /// Known to be zeroes, whether or not storage is set aside.
    case zero
    /// Not in this image: what lies beneath shows through, or zeroes where nothing does.
    case absent
  }
  package let range: Range<UInt64>
  package let kind: Kind
  /// Where in the file the data begin, if they lie there as they are.
  package let hostOffset: UInt64?
  package let isCompressed: Bool

  package init(
    _ range: Range<UInt64>, _ kind: Kind, hostOffset: UInt64? = nil, isCompressed: Bool = false
  ) {
    self.range = range
    self.kind = kind
    self.hostOffset = hostOffset
    self.isCompressed = isCompressed
  }
}

extension DiskImage {
  package func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try write(buffers, at: offset)
    try flush()
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool { false }

  package func writeAtOnce(
    _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool { false }

  package func place(
    to direction: TransferDirection, _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> HostPlace? { nil }
}
