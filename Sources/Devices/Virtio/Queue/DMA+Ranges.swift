package import Memory

// The bytes of a chain's buffers, as if they lay in one piece. VIRTIO 1.3 §2.7.4 "Message Framing": a device does not
// care how a driver cuts its requests.

extension DMA {
  /// Copies up to `count` bytes from `offset` on. Fewer if there are no more.
  package func bytes(
    of ranges: [GPARange], from offset: UInt64 = 0, count: Int
  ) throws(MemoryFault) -> [UInt8] {
    var result: [UInt8] = []
    for piece in ranges.slice(from: offset, count: UInt64(max(0, count))) {
      let bytes = try bytes(at: piece.start, count: Int(piece.count))
      if result.isEmpty { result = bytes } else { result += bytes }
    }
    return result
  }

  /// Copies `bytes` to the ranges from `offset` on, as far as there is room. Answers how many were written.
  @discardableResult
  package func write(
    _ bytes: [UInt8], to ranges: [GPARange], from offset: UInt64 = 0
  ) throws(MemoryFault) -> Int {
    var done = 0
    for piece in ranges.slice(from: offset, count: UInt64(bytes.count)) {
      let count = Int(piece.count)
      if done == 0, count == bytes.count {
        try write(bytes, at: piece.start)
      } else {
        try write(Array(bytes[done..<done + count]), at: piece.start)
      }
      done += count
    }
    return done
  }
}

extension [GPARange] {
  /// The part of the ranges that begins `offset` bytes in and is `count` bytes long, or ends with them.
  package func slice(from offset: UInt64, count: UInt64) -> [GPARange] {
    var pieces: [GPARange] = []
    var skip = offset
    var left = count
    for range in self where left > 0 {
      if skip >= range.count {
        skip -= range.count
        continue
      }
      let length = Swift.min(range.count - skip, left)
      // Inside a range that does not wrap.
      if let piece = GPARange(start: GPA(range.start.rawValue + skip), count: length) {
        pieces.append(piece)
      }
      skip = 0
      left -= length
    }
    return pieces
  }
}
