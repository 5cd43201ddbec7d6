import CHostOS
import Glibc

extension PositionalFile {
  /// - Parameter isDirect: passes the host's page cache by.
  package convenience init(
    _ path: String, _ access: Access, isDirect: Bool = false
  ) throws(HostError) {
    var flags = O_CLOEXEC
    switch access {
    case .read: flags |= O_RDONLY
    case .readAndWrite: flags |= O_RDWR
    case .create: flags |= O_RDWR | O_CREAT | O_TRUNC
    }
    if isDirect { flags |= roost_o_direct }
    let handle = open(path, flags, 0o644)
    guard handle >= 0 else { throw .last("open the file \"\(path)\"") }
    self.init(
      Descriptor(owning: handle), isReadOnly: access == .read, alignment: isDirect ? 4096 : 1)
  }

  /// Bytes in the file; of a block device, its size.
  package func length() throws(HostError) -> UInt64 {
    let end = lseek(descriptor.handle, 0, SEEK_END)
    guard end >= 0 else { throw .last("measure the file") }
    return UInt64(end)
  }

  /// Fills the parts; what lies beyond the end of the file reads as zeroes.
  package func read(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(HostError) {
    let (done, code) = transfer(parts, at: offset) { vectors, count, offset in
      preadv(descriptor.handle, vectors, count, offset)
    }
    guard code == 0 else { throw HostError("read the file", code: code) }
    var skipped = 0
    for part in parts {
      let start = min(max(0, done - skipped), part.count)
      if start < part.count { memset(part.baseAddress! + start, 0, part.count - start) }
      skipped += part.count
    }
  }

  /// Fills the parts from the page cache; answers `false`, having filled none or some, if that would not do, as it
  /// never does for a file that passes the cache by.
  package func readAtOnce(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) -> Bool {
    guard alignment == 1 else { return false }
    let (done, code) = transfer(parts, at: offset) { vectors, count, offset in
      roost_preadv_nowait(descriptor.handle, vectors, count, offset)
    }
    return code == 0 && done == parts.reduce(0) { $0 + $1.count }
  }

  package func write(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(HostError) {
    let total = parts.reduce(0) { $0 + $1.count }
    let (done, code) = transfer(parts, at: offset) { vectors, count, offset in
      pwritev(descriptor.handle, vectors, count, offset)
    }
    guard code == 0 else { throw HostError("write the file", code: code) }
    guard done == total else { throw HostError("write the file", code: ENOSPC) }
  }

  /// Returns when what was written would survive a loss of power.
  package func sync() throws(HostError) {
    guard fdatasync(descriptor.handle) == 0 else { throw .last("flush the file") }
  }

  package func setLength(_ length: UInt64) throws(HostError) {
    guard let length = off_t(exactly: length) else {
      throw HostError("change the length of the file", code: EFBIG)
    }
    guard ftruncate(descriptor.handle, length) == 0 else {
      throw .last("change the length of the file")
    }
  }

  /// Gives the storage of a range back; it then reads as zeroes. Answers `false` if this file cannot.
  package func punch(_ range: Range<UInt64>) -> Bool {
    guard let start = off_t(exactly: range.lowerBound),
      let count = off_t(exactly: range.upperBound - range.lowerBound)
    else { return false }
    return roost_punch(descriptor.handle, start, count) == 0
  }

  /// Moves bytes until all is done, the end is reached, or something failed: how many bytes, and the error.
  private func transfer(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64,
    _ call: (UnsafePointer<iovec>, Int32, off_t) -> Int
  ) -> (Int, Int32) {
    guard let start = off_t(exactly: offset) else { return (0, EINVAL) }
    return withUnsafeTemporaryAllocation(of: iovec.self, capacity: parts.count) { vectors in
      for (index, part) in parts.enumerated() {
        vectors[index] = iovec(iov_base: part.baseAddress, iov_len: part.count)
      }
      var first = 0
      var done = 0
      while first < vectors.count {
        if vectors[first].iov_len == 0 {
          first += 1
          continue
        }
        let (position, overflow) = start.addingReportingOverflow(off_t(done))
        guard !overflow else { return (done, EINVAL) }
        let moved = call(
          vectors.baseAddress! + first, Int32(min(vectors.count - first, 1024)), position)
        if moved < 0 {
          if errno == EINTR { continue }
          return (done, errno)
        }
        if moved == 0 { break }
        done += moved
        // Only the end of the file is not where a block is; there is nothing behind it to ask for.
        if moved % alignment != 0 { break }
        var rest = moved
        while rest > 0 {
          let step = min(rest, vectors[first].iov_len)
          vectors[first].iov_base += step
          vectors[first].iov_len -= step
          rest -= step
          if vectors[first].iov_len == 0 { first += 1 }
        }
      }
      return (done, 0)
    }
  }
}

extension HostError {
  /// Whether the host has no room left for what was to be written.
  package var isOutOfSpace: Bool { code == ENOSPC || code == EDQUOT }
}
