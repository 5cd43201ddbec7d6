import Disks
import Memory
import Synchronization

/// An image that remembers what was written to it and when it was flushed, so that a test can see what would be left
/// had the power gone at any flush.
final class RecordingImage: DiskImage {
  enum Event: Sendable, Equatable {
    case write(at: UInt64, [UInt8])
    case zeroes(Range<UInt64>)
    case discard(Range<UInt64>)
    /// A flush that succeeded.
    case flush
  }

  let beneath: any DiskImage
  private let record = Mutex<[Event]>([])
  private let original: [UInt8]

  init(over beneath: any DiskImage) throws(DiskError) {
    self.beneath = beneath
    guard beneath.size > 0 else {
      original = []
      return
    }
    let buffer = HostBuffer(count: Int(beneath.size))
    try beneath.read(into: buffer.buffers, at: 0)
    original = Array(buffer.bytes)
  }

  var events: [Event] { record.withLock { $0 } }
  var flushes: Int { events.count { $0 == .flush } }

  /// What a host that lost power would find: for each flush what was written before it, and at the end all.
  /// `visit` gets the content, and whether what followed was a flush.
  func replay(_ visit: (_ content: [UInt8], _ flushes: Int) throws -> Void) rethrows {
    var content = original
    var flushes = 0
    for event in events {
      switch event {
      case .write(let offset, let bytes):
        content.replaceSubrange(Int(offset)..<Int(offset) + bytes.count, with: bytes)
      case .zeroes(let range):
        for index in range { content[Int(index)] = 0 }
      case .discard: break
      case .flush:
        flushes += 1
        try visit(content, flushes)
      }
    }
    try visit(content, flushes)
  }

  private func note(_ event: Event) { record.withLock { $0.append(event) } }

  var size: UInt64 { beneath.size }
  var isReadOnly: Bool { beneath.isReadOnly }
  var alignment: Int { beneath.alignment }
  var clusterSize: Int { beneath.clusterSize }

  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try beneath.read(into: buffers, at: offset)
  }

  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    // Copied once: what is recorded is what is written, whatever a guest does meanwhile.
    let bytes = buffers.parts.flatMap { Array($0) }
    guard !bytes.isEmpty else { return try beneath.write(buffers, at: offset) }
    let copy = HostBuffer(count: bytes.count)
    copy.bytes.copyBytes(from: bytes)
    try beneath.write(copy.buffers, at: offset)
    note(.write(at: offset, bytes))
  }

  func flush() throws(DiskError) {
    try beneath.flush()
    note(.flush)
  }

  func discard(_ range: Range<UInt64>) throws(DiskError) {
    try beneath.discard(range)
    note(.discard(range))
  }

  func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try beneath.writeZeroes(range, mayUnmap: mayUnmap)
    note(.zeroes(range))
  }

  func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try beneath.extent(at: offset)
  }
}
