import HostOS
import Memory
import Synchronization

// Direct transfers take whole blocks, between the file and memory that lies on a border. Whatever else is asked for
// goes through a buffer of ours, whose first and last block are read before they are written.

extension RawImage {
  /// Whether the host takes these buffers for this range as they are.
  func takesDirectly(_ buffers: GuestBuffers, _ range: Range<UInt64>) -> Bool {
    guard file.isDirect else { return true }
    let block = UInt64(file.offsetAlignment)
    guard range.lowerBound % block == 0, range.upperBound % block == 0 else { return false }
    return buffers.parts.allSatisfy {
      UInt(bitPattern: $0.baseAddress) % UInt(file.memoryAlignment) == 0
        && UInt64($0.count) % block == 0
    }
  }

  /// Bytes that go through a buffer at once.
  private static let bufferSize: UInt64 = 1 << 20

  func readThroughBuffer(_ buffers: GuestBuffers, _ range: Range<UInt64>) throws(DiskError) {
    try forEachPiece(of: range) { (piece, blocks, buffer) throws(DiskError) in
      try fill(buffer, from: blocks)
      let start = Int(piece.lowerBound - blocks.lowerBound)
      try buffers.copy(
        UnsafeRawBufferPointer(rebasing: buffer[start..<start + Int(piece.length)]),
        to: Int(piece.lowerBound - range.lowerBound))
    }
  }

  func writeThroughBuffer(
    _ buffers: GuestBuffers, _ range: Range<UInt64>, _ transfer: StorageFile.Transfer
  ) throws(DiskError) {
    try forEachPiece(of: range) { (piece, blocks, buffer) throws(DiskError) in
      let start = Int(piece.lowerBound - blocks.lowerBound)
      let part = UnsafeMutableRawBufferPointer(
        rebasing: buffer[start..<start + Int(piece.length)])
      func store() throws(DiskError) {
        try buffers.copy(from: Int(piece.lowerBound - range.lowerBound), to: part)
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

  private func fill(
    _ buffer: UnsafeMutableRawBufferPointer, from blocks: Range<UInt64>
  ) throws(DiskError) {
    let count = try attempt { () throws(HostError) in
      try file.read(into: [buffer], at: blocks.lowerBound)
    }
    UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).initializeMemory(
      as: UInt8.self, repeating: 0)
  }

  /// Cuts a range into pieces, and hands out each with the blocks it lies in and a buffer of their length.
  private func forEachPiece(
    of range: Range<UInt64>,
    _ body: (Range<UInt64>, Range<UInt64>, UnsafeMutableRawBufferPointer) throws(DiskError) -> Void
  ) throws(DiskError) {
    if range.isEmpty { return }
    let block = UInt64(file.offsetAlignment)
    let whole = range.rounded(outwardTo: block)
    let memory = HostBuffer(count: Int(min(whole.length, Self.bufferSize)))
    var start = whole.lowerBound
    while start < whole.upperBound {
      let blocks = start..<min(start + Self.bufferSize, whole.upperBound)
      let buffer = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<Int(blocks.length)])
      try body(range.clamped(to: blocks), blocks, buffer)
      start = blocks.upperBound
    }
  }
}
