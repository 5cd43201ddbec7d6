import CHostOS
import Glibc

extension HostOpenFile {
  /// Reads up to `count` bytes; fewer: the file ends. In front of them stay `prefix` bytes for a header, zero.
  package func read(upTo count: Int, at offset: UInt64, after prefix: Int = 0) throws(HostError)
    -> [UInt8]
  {
    guard let offset = Int64(exactly: offset) else { throw .invalid("read a file") }
    guard options.contains(.read) else { throw .badHandle("read a file") }
    var result = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: prefix + count) { buffer, filled in
      guard let base = buffer.baseAddress else { return }
      base.initialize(repeating: 0, count: prefix)
      // The host answers with part of what there is only when a signal comes between.
      repeat {
        let part = roost_dir_read(
          descriptor.handle, base + prefix + result, count - result, offset &+ Int64(result))
        if part < 0, result == 0 { result = part }
        if part <= 0 { break }
        result += part
      } while result < count
      filled = prefix + max(0, result)
    }
    try checked(result, "read a file")
    return bytes
  }

  /// Writes what the host takes of `bytes`; answers how many that was.
  package func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64) throws(HostError) -> Int {
    guard let offset = Int64(exactly: offset) else { throw .invalid("write a file") }
    guard options.contains(.write) else { throw .badHandle("write a file") }
    let result = bytes.withUnsafeBufferPointer {
      roost_dir_write(descriptor.handle, $0.baseAddress, $0.count, offset)
    }
    return try checked(result, "write a file")
  }

  package func resize(to size: UInt64) throws(HostError) {
    guard let size = Int64(exactly: size) else { throw HostError("resize a file", code: EFBIG) }
    guard options.contains(.write) else { throw .badHandle("resize a file") }
    try checked(roost_dir_truncate(descriptor.handle, size), "resize a file")
  }

  /// Waits until the file lies on the medium; `onlyData`: without what is not needed to read it back.
  package func sync(onlyData: Bool) throws(HostError) {
    try checked(roost_dir_sync(descriptor.handle, onlyData ? 1 : 0), "sync a file")
  }

  /// Where the next data, or the next hole, begin.
  package func seek(from offset: UInt64, toData: Bool) throws(HostError) -> UInt64 {
    guard let offset = Int64(exactly: offset) else { throw HostError("seek", code: ENXIO) }
    return UInt64(
      try checked(roost_dir_seek(descriptor.handle, offset, toData ? 3 : 4), "seek in a file"))
  }

  package func allocate(_ what: HostAllocation, at offset: UInt64, length: UInt64)
    throws(HostError)
  {
    guard let offset = Int64(exactly: offset), let length = Int64(exactly: length) else {
      throw HostError("allocate", code: EFBIG)
    }
    guard options.contains(.write) else { throw .badHandle("allocate") }
    try checked(
      roost_dir_allocate(descriptor.handle, what.rawValue, offset, length), "allocate")
  }

  /// Copies within the host; answers how many bytes.
  package func copy(
    from offset: UInt64, to other: HostOpenFile, at otherOffset: UInt64, count: Int
  ) throws(HostError) -> Int {
    guard let offset = Int64(exactly: offset), let otherOffset = Int64(exactly: otherOffset) else {
      throw .invalid("copy")
    }
    guard options.contains(.read), other.options.contains(.write) else { throw .badHandle("copy") }
    return try checked(
      roost_dir_copy(
        descriptor.handle, offset, other.descriptor.handle, otherOffset, max(0, count)), "copy")
  }

  /// Sets or takes back a lock that belongs to this open file. Answers `false` if somebody else's is in the way.
  package func lock(_ lock: HostLock) throws(HostError) -> Bool {
    var region = try lock.region()
    let result = roost_dir_lock(descriptor.handle, &region)
    if result == -EAGAIN || result == -EACCES { return false }
    try checked(result, "lock a file")
    return true
  }

  /// The lock that is in the way of `lock`; none: that one, of kind `none`.
  package func conflict(with lock: HostLock) throws(HostError) -> HostLock {
    var region = try lock.region()
    try checked(roost_dir_find_lock(descriptor.handle, &region), "find a lock")
    return HostLock(
      HostLock.Kind(rawValue: region.kind) ?? .none, start: UInt64(max(0, region.start)),
      length: UInt64(max(0, region.length)), process: region.process)
  }
}

extension HostLock {
  fileprivate func region() throws(HostError) -> roost_region {
    guard let start = Int64(exactly: start), let length = Int64(exactly: length),
      !start.addingReportingOverflow(length).overflow
    else { throw HostError("lock a file", code: EOVERFLOW) }
    return roost_region(start: start, length: length, kind: kind.rawValue, process: process)
  }
}
