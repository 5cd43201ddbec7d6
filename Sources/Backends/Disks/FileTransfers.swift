import HostOS
import Memory
import Synchronization

/// Reads and writes any bytes of a file, also past the page cache, and makes them durable.
///
/// Direct transfers take whole blocks, between the file and memory that lies on a border. Whatever else is asked for
/// goes through a buffer of ours, whose first and last block are read before they are written.
final class FileTransfers: Sendable {
  let file: StorageFile
  private let syncs: FileSyncs
  /// Held while a block is read, changed in part and written back.
  private let partialWrites = Mutex(())
  // What the file system has said it cannot do, or what makes no sense past the page cache.
  private let cannotReadAtOnce: Atomic<Bool>
  private let cannotWriteAtOnce = Atomic(false)
  private let quickWrites = QuickWrites()

  init(_ file: StorageFile) {
    self.file = file
    syncs = FileSyncs { () throws(HostError) in try file.flush() }
    cannotReadAtOnce = Atomic(file.isDirect)
  }

  /// Fills the buffers; what lies beyond the end of the file reads as zeroes.
  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    guard !file.takesDirectly(buffers.parts, at: offset) else {
      let count = try attempt { () throws(HostError) in
        try file.read(into: buffers.parts, at: offset)
      }
      if count < buffers.count { try buffers.zero(from: count) }
      return
    }
    try forEachPiece(of: buffers, at: offset) { (piece, blocks, buffer) throws(DiskError) in
      try fill(buffer, from: blocks)
      let start = Int(piece.lowerBound - blocks.lowerBound)
      try buffers.copy(
        UnsafeRawBufferPointer(rebasing: buffer[start..<start + Int(piece.length)]),
        to: Int(piece.lowerBound - offset))
    }
  }

  /// Writes the buffers. A file grows where needed, past the page cache by whole blocks.
  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try write(buffers, at: offset, [])
  }

  private func write(
    _ buffers: GuestBuffers, at offset: UInt64, _ transfer: StorageFile.Transfer
  ) throws(DiskError) {
    guard !file.takesDirectly(buffers.parts, at: offset) else {
      return try attempt { () throws(HostError) in
        try file.write(buffers.parts, at: offset, transfer)
      }
    }
    try forEachPiece(of: buffers, at: offset) { (piece, blocks, buffer) throws(DiskError) in
      let start = Int(piece.lowerBound - blocks.lowerBound)
      let part = UnsafeMutableRawBufferPointer(
        rebasing: buffer[start..<start + Int(piece.length)])
      func store() throws(DiskError) {
        try buffers.copy(from: Int(piece.lowerBound - offset), to: part)
        try attempt { () throws(HostError) in
          try file.write([buffer], at: blocks.lowerBound, transfer)
        }
      }
      if piece == blocks { return try store() }
      // Two such writes to one block would each bring back what the other has changed.
      try partialWrites.withLock { (_) throws(DiskError) in
        try fill(buffer, from: blocks)
        try store()
      }
    }
  }

  /// Writes the buffers, and returns when they would survive a loss of power.
  func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    guard file.isDirect else {
      // A durable write of the host's would take the news of others' losses away from the next sync, as two of them
      // would from each other.
      try write(buffers, at: offset)
      return try flush()
    }
    do throws(DiskError) {
      try write(buffers, at: offset, .durable)
    } catch {
      // It may have been the device's cache that failed, and with it what others have written.
      if case .host = error { syncs.fail(error) }
      throw error
    }
  }

  /// Returns when all that was written before would survive a loss of power. Once it has failed it always fails.
  func flush() throws(DiskError) { try syncs.run() }

  /// Fills the buffers if that needs no waiting; `false`, having promised nothing of them, if it does. Failures are
  /// found again, and told, by whoever may wait.
  func readAtOnce(into buffers: GuestBuffers, at offset: UInt64) -> Bool {
    guard !cannotReadAtOnce.load(ordering: .relaxed) else { return false }
    do throws(HostError) {
      let count = try file.read(into: buffers.parts, at: offset, .atOnce)
      if count == buffers.count { return true }
      return (try? buffers.zero(from: count)) != nil
    } catch {
      if error.isUnsupported { cannotReadAtOnce.store(true, ordering: .relaxed) }
      return false
    }
  }

  /// Writes the buffers into the page cache if that needs no waiting; `false`, having perhaps written a part, if it
  /// does.
  func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) -> Bool {
    guard !file.isDirect else { return false }
    if cannotWriteAtOnce.load(ordering: .relaxed) {
      let (end, overflow) = offset.addingReportingOverflow(UInt64(buffers.count))
      guard !overflow, quickWrites.mayTry(offset..<end) else { return false }
      let start = HostClock.now
      defer { quickWrites.note(HostClock.now, since: start) }
      return (try? file.write(buffers.parts, at: offset)) != nil
    }
    do throws(HostError) {
      try file.write(buffers.parts, at: offset, .atOnce)
      return true
    } catch {
      if error.isUnsupported { cannotWriteAtOnce.store(true, ordering: .relaxed) }
      return false
    }
  }

  private func fill(
    _ buffer: UnsafeMutableRawBufferPointer, from blocks: Range<UInt64>
  ) throws(DiskError) {
    let count = try attempt { () throws(HostError) in
      try file.read(into: [buffer], at: blocks.lowerBound)
    }
    UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).initializeMemory(
      as: UInt8.self, repeating: 0)
  }

  /// Cuts what buffers stand for into pieces, and hands out each with the blocks it lies in and a buffer of their
  /// length.
  private func forEachPiece(
    of buffers: GuestBuffers, at offset: UInt64,
    _ body: (Range<UInt64>, Range<UInt64>, UnsafeMutableRawBufferPointer) throws(DiskError) -> Void
  ) throws(DiskError) {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(buffers.count))
    guard !overflow, end <= Int64.max else { throw .outOfRange }
    let range = offset..<end
    if range.isEmpty { return }
    let whole = range.rounded(outwardTo: UInt64(file.offsetAlignment))
    let memory = HostBuffer(count: Int(min(whole.length, Self.bufferSize)))
    defer { withExtendedLifetime(memory) {} }
    var start = whole.lowerBound
    while start < whole.upperBound {
      let blocks = start..<min(start + Self.bufferSize, whole.upperBound)
      let buffer = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<Int(blocks.length)])
      try body(range.clamped(to: blocks), blocks, buffer)
      start = blocks.upperBound
    }
  }

  /// Bytes that go through a buffer at once.
  private static let bufferSize: UInt64 = 1 << 20

  private func attempt<R>(_ body: () throws(HostError) -> R) throws(DiskError) -> R {
    do throws(HostError) { return try body() } catch { throw DiskError(error) }
  }
}
