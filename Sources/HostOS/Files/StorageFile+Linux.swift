import CHostOS
import Glibc

extension StorageFile {
  /// Opens a regular file or a block device; whatever else has that name is refused.
  package static func open(
    _ path: String, _ options: Options = []
  ) throws(HostError) -> StorageFile {
    let operation = "open the disk image \"\(path)\""
    let handle = roost_storage_open(path, options.rawValue)
    guard handle >= 0 else { throw .last(operation) }
    let descriptor = Descriptor(owning: handle)
    var information = stat()
    guard fstat(handle, &information) == 0 else { throw .last(operation) }
    let kind: Kind
    switch information.st_mode & S_IFMT {
    case S_IFREG: kind = .regular
    case S_IFBLK:
      var size: UInt64 = 0
      var logical: UInt32 = 0
      var physical: UInt32 = 0
      guard roost_storage_device_shape(handle, &size, &logical, &physical) == 0 else {
        throw .last(operation)
      }
      kind = .blockDevice(logical: Int(logical), physical: Int(physical))
    case S_IFDIR: throw HostError(operation, code: EISDIR)
    default: throw HostError(operation, code: ENOTBLK)
    }
    let alignment =
      options.contains(.direct)
      ? directAlignment(handle, kind, information) : (offset: 1, memory: 1)
    return StorageFile(
      path: path, descriptor: descriptor, options: options,
      identity: FileIdentity(
        device: UInt64(information.st_dev), number: UInt64(information.st_ino)),
      kind: kind, offsetAlignment: alignment.offset, memoryAlignment: alignment.memory)
  }

  private static func directAlignment(
    _ handle: Int32, _ kind: Kind, _ information: stat
  ) -> (offset: Int, memory: Int) {
    var memory: UInt32 = 0
    var offset: UInt32 = 0
    roost_storage_direct_alignment(handle, &memory, &offset)
    if offset != 0, memory != 0, offset & (offset - 1) == 0, memory & (memory - 1) == 0 {
      return (Int(offset), Int(memory))
    }
    if case .blockDevice(let logical, _) = kind { return (logical, logical) }
    return (4096, 4096)  // no kernel asks for more than a page
  }

  /// Takes a file's name away; whoever has it open keeps it.
  package static func remove(_ path: String) { unlink(path) }

  /// Bytes it holds now.
  package func size() throws(HostError) -> UInt64 {
    switch kind {
    case .regular:
      return UInt64(clamping: try information("look at the size of").st_size)
    case .blockDevice:
      var size: UInt64 = 0
      var logical: UInt32 = 0
      var physical: UInt32 = 0
      guard roost_storage_device_shape(descriptor.handle, &size, &logical, &physical) == 0 else {
        throw failure("look at the size of")
      }
      return size
    }
  }

  /// Bytes of storage that the file takes up.
  package func storage() throws(HostError) -> UInt64 {
    UInt64(clamping: try information("look at").st_blocks).multipliedReportingOverflow(by: 512)
      .partialValue
  }

  private func information(_ verb: String) throws(HostError) -> stat {
    var information = stat()
    guard fstat(descriptor.handle, &information) == 0 else { throw failure(verb) }
    return information
  }

  /// The last call's error, as a sentence about this file.
  private func failure(_ verb: String) -> HostError {
    let code = errno
    return HostError("\(verb) \"\(path)\"", code: code)
  }
}

// MARK: - Reading and writing

extension StorageFile {
  /// Fills the parts from `offset` on; answers how many bytes there were before the end of the file.
  package func read(
    into parts: [UnsafeMutableRawBufferPointer], at offset: UInt64, _ transfer: Transfer = []
  ) throws(HostError) -> Int {
    guard offset <= Int64.max else { return 0 }
    let result = Self.withVectors(parts) { vectors in
      roost_storage_read(
        descriptor.handle, vectors.baseAddress, vectors.count, offset, options(transfer))
    }
    guard result >= 0 else { throw transferFailure("read", transfer) }
    return result
  }

  /// Writes all parts from `offset` on.
  package func write(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64, _ transfer: Transfer = []
  ) throws(HostError) {
    guard offset <= Int64.max else { throw HostError("write \"\(path)\"", code: EFBIG) }
    let result = Self.withVectors(parts) { vectors in
      roost_storage_write(
        descriptor.handle, vectors.baseAddress, vectors.count, offset, options(transfer))
    }
    guard result >= 0 else { throw transferFailure("write", transfer) }
  }

  private func options(_ transfer: Transfer) -> Int32 {
    transfer.rawValue | (isDirect ? Int32(ROOST_TRANSFER_DIRECT) : 0)
  }

  /// That a call would wait is said often, and needs no sentence.
  private func transferFailure(_ verb: String, _ transfer: Transfer) -> HostError {
    let code = errno
    if transfer.contains(.atOnce), code == EAGAIN || code == EOPNOTSUPP {
      return HostError("", code: code)
    }
    return HostError("\(verb) \"\(path)\"", code: code)
  }

  private static func withVectors(
    _ parts: [UnsafeMutableRawBufferPointer], _ body: (UnsafeMutableBufferPointer<iovec>) -> Int
  ) -> Int {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: parts.count) { vectors in
      for (index, part) in parts.enumerated() {
        vectors.initializeElement(
          at: index, to: iovec(iov_base: part.baseAddress, iov_len: part.count))
      }
      return body(vectors)
    }
  }
}

extension HostError {
  /// The call was to be done at once, and would have waited.
  package var wouldWait: Bool { code == EAGAIN }
  /// The file system cannot say whether a call would wait, or cannot do what was asked at all.
  package var isUnsupported: Bool { code == EOPNOTSUPP || code == ENOSYS || code == ENOTTY }
  /// There is no room: on the device, in the user's share of it, or under the limit of a file's size.
  package var isLackOfSpace: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }
  package var isMissingFile: Bool { code == ENOENT }
  package var isExistingFile: Bool { code == EEXIST }
}

// MARK: - What a file is made of

extension StorageFile {
  /// Makes what was written durable, with what is needed to find it again.
  package func flush() throws(HostError) {
    guard roost_storage_flush(descriptor.handle) == 0 else { throw failure("flush") }
  }

  /// Cuts the file off at `size`, or lets it grow by a hole.
  package func resize(to size: UInt64) throws(HostError) {
    guard size <= Int64.max else { throw HostError("resize \"\(path)\"", code: EFBIG) }
    guard ftruncate(descriptor.handle, off_t(size)) == 0 else { throw failure("resize") }
  }

  /// Gives a range's storage back; it reads as zeroes.
  package func punch(_ range: Range<UInt64>) throws(HostError) {
    let count = range.upperBound - range.lowerBound
    guard roost_storage_punch(descriptor.handle, range.lowerBound, count) == 0 else {
      throw failure("give back storage of")
    }
  }

  /// Gives a range's storage back; it reads as zeroes in a file, and as anything on a device.
  package func discard(_ range: Range<UInt64>) throws(HostError) {
    let count = range.upperBound - range.lowerBound
    let result =
      kind == .regular
      ? roost_storage_punch(descriptor.handle, range.lowerBound, count)
      : roost_storage_device_discard(descriptor.handle, range.lowerBound, count)
    guard result == 0 else { throw failure("give back storage of") }
  }

  /// Makes a range read as zeroes, and keeps storage for it.
  package func zero(_ range: Range<UInt64>) throws(HostError) {
    let count = range.upperBound - range.lowerBound
    let result =
      kind == .regular
      ? roost_storage_zero(descriptor.handle, range.lowerBound, count)
      : roost_storage_device_zero(descriptor.handle, range.lowerBound, count)
    guard result == 0 else { throw failure("write zeroes to") }
  }

  /// Sets storage aside for a range; a file grows to hold it.
  package func reserve(_ range: Range<UInt64>) throws(HostError) {
    let count = range.upperBound - range.lowerBound
    guard roost_storage_reserve(descriptor.handle, range.lowerBound, count) == 0 else {
      throw failure("set storage aside for")
    }
  }

  /// Where the first data at or after `offset` begin; `nil`: there are none.
  package func nextData(from offset: UInt64) throws(HostError) -> UInt64? {
    try seek(roost_storage_seek_data, offset)
  }

  /// Where the first hole at or after `offset` begins; a file ends in one.
  package func nextHole(from offset: UInt64) throws(HostError) -> UInt64? {
    try seek(roost_storage_seek_hole, offset)
  }

  private func seek(
    _ seek: (Int32, UInt64) -> Int64, _ offset: UInt64
  ) throws(HostError) -> UInt64? {
    guard offset <= Int64.max else { return nil }
    let result = seek(descriptor.handle, offset)
    if result >= 0 { return UInt64(result) }
    if errno == ENXIO { return nil }
    throw failure("look for holes in")
  }
}
