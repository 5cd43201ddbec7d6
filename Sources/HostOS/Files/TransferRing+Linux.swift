import CHostOS
import Glibc

/// Reads and writes of files that the host takes many at a time and answers later, without a thread for each.
///
/// - SeeAlso: Linux man pages, io_uring(7).
package final class TransferRing: @unchecked Sendable {
  // One caller at a time: its owner's lock sees to that.
  private let ring: OpaquePointer

  /// - Parameters:
  ///   - entries: transfers that may be in line.
  ///   - handle: counts when transfers have ended; an eventfd that outlives the ring.
  /// - Throws: where the host's kernel lacks such rings, or forbids them.
  package init(entries: Int, ringing handle: Int32) throws(HostError) {
    guard let ring = roost_ring_open(UInt32(clamping: entries), handle) else {
      throw .last("make a ring for direct transfers")
    }
    self.ring = ring
  }

  deinit { roost_ring_close(ring) }

  /// Puts a transfer in line; `false`: the line is full. `vectors` stay until `submit`, the bytes until the transfer has
  /// ended.
  package func add(
    _ file: StorageFile, isWrite: Bool, _ vectors: TransferVectors, at offset: UInt64, tag: UInt64
  ) -> Bool {
    roost_ring_add(
      ring, file.descriptor.handle, isWrite ? 1 : 0, vectors.list.baseAddress,
      UInt32(vectors.list.count), offset, tag) == 0
  }

  /// Hands over what is in line; answers how many of the last ones the host would not take.
  package func submit() -> Int { Int(roost_ring_submit(ring)) }

  /// Whether the handle is rung when transfers end; at first it is.
  package func setRinging(_ rings: Bool) { roost_ring_set_ringing(ring, rings ? 1 : 0) }

  /// One that has ended: its tag, and the bytes that it moved, or something negative.
  package func take() -> (tag: UInt64, count: Int)? {
    var tag: UInt64 = 0
    var result: Int32 = 0
    return roost_ring_take(ring, &tag, &result) == 0 ? nil : (tag, Int(result))
  }
}

/// Where the parts of a transfer lie, in the host's form.
package final class TransferVectors: @unchecked Sendable {
  let list: UnsafeMutableBufferPointer<iovec>

  package init(_ parts: [UnsafeMutableRawBufferPointer]) {
    list = .allocate(capacity: parts.count)
    for (index, part) in parts.enumerated() {
      list.initializeElement(
        at: index, to: iovec(iov_base: part.baseAddress, iov_len: part.count))
    }
  }

  deinit { list.deallocate() }

  /// Makes a transfer and waits for it; answers the bytes that it moved, or something negative.
  package func transfer(_ file: StorageFile, isWrite: Bool, at offset: UInt64) -> Int {
    guard let offset = off_t(exactly: offset) else { return -1 }
    let (handle, parts, count) = (file.descriptor.handle, list.baseAddress, Int32(list.count))
    while true {
      let moved =
        isWrite ? pwritev(handle, parts, count, offset) : preadv(handle, parts, count, offset)
      if moved >= 0 || errno != EINTR { return moved }
    }
  }
}
