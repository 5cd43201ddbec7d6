import Glibc

/// A scatter list of host memory, ready for `preadv` and friends; keeps the memory behind it alive.
///
/// It stands for a piece of guest memory (`GuestMemory.buffers`, `DMA.buffers`), or for a buffer of Roost's own
/// (`HostBuffer.buffers`). What lies in guest memory may change at any time.
@safe package struct GuestBuffers: @unchecked Sendable {
  // Sendable although it holds raw pointers: they point into guest memory, which any thread may touch, or into a
  // buffer whose owner hands it to one request at a time.
  package let parts: [UnsafeMutableRawBufferPointer]
  /// The sum of all parts, in bytes.
  package let count: Int
  private let written: [GPARange]
  private let owner: AnyObject

  init(parts: [UnsafeMutableRawBufferPointer], ranges: [GPARange], memory: GuestMemory) {
    self.parts = parts
    count = parts.reduce(0) { $0 + $1.count }
    written = ranges
    owner = memory
  }

  /// A list of parts that lie in memory of `owner`, or that its caller keeps alive until the request has ended.
  package init(parts: [UnsafeMutableRawBufferPointer], owner: AnyObject) {
    self.init(parts: parts, written: [], owner: owner)
  }

  fileprivate init(parts: [UnsafeMutableRawBufferPointer], written: [GPARange], owner: AnyObject) {
    self.parts = parts
    count = parts.reduce(0) { $0 + $1.count }
    self.written = written
    self.owner = owner
  }

  /// To be called on the list that `buffers` gave, when the host has written into the parts, whether it succeeded
  /// or not, and before the guest hears of it: only now do they count as written.
  package func noteWritten() {
    guard let memory = owner as? GuestMemory else { return }
    for range in written { memory.noteWrite(at: range.start, count: range.count) }
  }

  /// The bytes of a range of the list, which lies inside it. Noting what was written stays with the whole list.
  package func slice(_ range: Range<Int>) -> GuestBuffers {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "a slice beyond its buffers")
    if range.count == count { return self }
    var slices: [UnsafeMutableRawBufferPointer] = []
    var start = 0
    for part in parts {
      let wanted = range.clamped(to: start..<start + part.count)
      if !wanted.isEmpty {
        slices.append(
          UnsafeMutableRawBufferPointer(
            rebasing: part[wanted.lowerBound - start..<wanted.upperBound - start]))
      }
      start += part.count
      if start >= range.upperBound { break }
    }
    return GuestBuffers(parts: slices, written: [], owner: owner)
  }
}

/// Host memory of Roost's own in the form in which requests take it: zeroed, and aligned to the page, as direct
/// input and output needs.
@safe package final class HostBuffer: @unchecked Sendable {
  // Sendable although it holds a raw pointer: its owner hands it to one request at a time.
  // Neither pointer keeps the memory: whoever hands one on keeps the buffer until it has come back
  // (`withExtendedLifetime`), or hands on `buffers`, which does.
  /// Its first byte, on a page's border.
  package let address: UnsafeMutableRawPointer
  package let bytes: UnsafeMutableRawBufferPointer

  /// - Parameter count: bytes; more than none.
  package init(count: Int) {
    precondition(count > 0, "a buffer of no bytes")
    address = .allocate(byteCount: count, alignment: Int(GuestMemory.pageSize))
    bytes = UnsafeMutableRawBufferPointer(start: address, count: count)
    memset(address, 0, count)
  }

  deinit { address.deallocate() }

  package var buffers: GuestBuffers { GuestBuffers(parts: [bytes], written: [], owner: self) }
}
