import HostOS
import Synchronization

// Open files.

extension FUSEServer {
  /// `struct fuse_open_in`
  func open(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let options = try LinuxOpenFlags(rawValue: try call.body.number()).options()
    let node = try node(call.node)
    try requireRoom()
    let file = try onHost(try node.open(options))
    return try opened(.file(file, node: call.node))
  }

  /// `struct fuse_open_out`
  func opened(_ handle: FUSETable.Handle) throws(LinuxError) -> [UInt8] {
    let number = try table.withLock { table throws(LinuxError) in try table.add(handle) }
    var answer = writer(16)
    answer.number(number)
    answer.zeroes(8)
    return answer.bytes
  }

  /// `struct fuse_create_in`
  func create(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let flags = LinuxOpenFlags(rawValue: try call.body.number())
    let mode = try call.body.number(UInt32.self)
    try call.body.skip(8)
    let name = try call.name()
    let parent = try node(call.node)
    try requireRoom()
    let made = try tree.create(name, in: parent, mode: mode, flags, for: call.caller)
    let (number, handle) = try table.withLock { table throws(LinuxError) in
      let number = try table.adopt(made.finding.node)
      do throws(LinuxError) {
        return (number, try table.add(.file(made.file, node: number)))
      } catch {
        _ = table.forget(number, 1)
        throw error
      }
    }
    var answer = writer(FUSELayout.entry + 16)
    writeEntry(number, made.finding.attributes, to: &answer)
    answer.number(handle)
    answer.zeroes(8)
    return answer.bytes
  }

  /// `struct fuse_read_in`. Fewer bytes than asked for mean the file's end, so what cannot be answered whole is
  /// refused.
  func read(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let file = try file(try call.body.number())
    let offset = try call.body.number(UInt64.self)
    let count = Int(try call.body.number(UInt32.self))
    guard count <= min(call.room, FUSEServer.longestTransfer) else { throw .invalid }
    return try onHost(try file.read(upTo: count, at: offset, after: FUSELayout.answerHeader))
  }

  /// `struct fuse_write_in` and `fuse_write_out`
  func write(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let file = try file(try call.body.number())
    let offset = try call.body.number(UInt64.self)
    let count = Int(try call.body.number(UInt32.self))
    try call.body.skip(20)
    guard count <= FUSEServer.longestTransfer else { throw .invalid }
    let bytes = try call.body.take(count)
    return counted(try onHost(try file.write(bytes, at: offset)))
  }

  /// `struct fuse_copy_file_range_in`. As much is copied at once as does not hold up other requests.
  func copyRange(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let source = try file(try call.body.number())
    let offset = try call.body.number(UInt64.self)
    try call.body.skip(8)
    let target = try file(try call.body.number())
    let targetOffset = try call.body.number(UInt64.self)
    let count = Int(min(try call.body.number(UInt64.self), 16 << 20))
    guard try call.body.number(UInt64.self) == 0 else { throw .invalid }
    return counted(
      try onHost(try source.copy(from: offset, to: target, at: targetOffset, count: count)))
  }

  private func counted(_ count: Int) -> [UInt8] {
    var answer = writer(8)
    answer.number(UInt32(truncatingIfNeeded: count))
    answer.zeroes(4)
    return answer.bytes
  }

  /// `struct fuse_flush_in`: somebody closed the file. Locks that are the host's end with that.
  func flush(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let file = try file(try call.body.number())
    if tree.plan.sharesLocks {
      _ = try onHost(try file.lock(HostLock(.none, start: 0, length: 0)))
    }
    return done
  }

  /// `struct fuse_fsync_in`
  func sync(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let number = try call.body.number(UInt64.self)
    let onlyData = try call.body.number(UInt32.self) & 1 != 0
    if call.opcode == .sync {
      let file = try file(number)
      try onHost(try file.sync(onlyData: onlyData))
    } else {
      let listing = try table.withLock { table throws(LinuxError) in
        try table.listing(number).listing
      }
      try onHost(try listing.sync(onlyData: onlyData))
    }
    return done
  }

  /// `struct fuse_release_in`
  func release(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let number = try call.body.number(UInt64.self)
    guard table.withLock({ $0.handles.removeValue(forKey: number) }) != nil else {
      throw .badHandle
    }
    return done
  }

  /// `struct fuse_lseek_in`: the guest knows all but where data and holes are.
  func seek(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let file = try file(try call.body.number())
    let offset = try call.body.number(UInt64.self)
    let whence = try call.body.number(UInt32.self)
    guard whence == 3 || whence == 4 else { throw .invalid }
    var answer = writer(8)
    answer.number(try onHost(try file.seek(from: offset, toData: whence == 3)))
    return answer.bytes
  }

  /// `struct fuse_fallocate_in`
  func allocate(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let file = try file(try call.body.number())
    let offset = try call.body.number(UInt64.self)
    let length = try call.body.number(UInt64.self)
    let mode = try call.body.number(UInt32.self)
    guard let what = HostAllocation(rawValue: Int32(truncatingIfNeeded: mode)) else {
      throw .notSupported
    }
    try onHost(try file.allocate(what, at: offset, length: length))
    return done
  }
}

// MARK: - Locks

extension FUSEServer {
  /// `struct fuse_lk_in`. A lock belongs to the open file, not to a process of the guest's; and no request waits for
  /// one, since it would keep others from being served: a guest that would wait is told to try again.
  func lock(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    guard tree.plan.sharesLocks else { throw .noSuchCall }
    let file = try file(try call.body.number())
    try call.body.skip(8)
    let start = try call.body.number(UInt64.self)
    let end = try call.body.number(UInt64.self)
    let type = try call.body.number(UInt32.self)
    try call.body.skip(4)
    guard let kind = HostLock.Kind(rawValue: Int32(truncatingIfNeeded: type)), start <= end else {
      throw .invalid
    }
    // The greatest offset stands for the end of the file, however far that is.
    let length = end >= UInt64(Int64.max) ? 0 : end - start + 1
    let wanted = HostLock(kind, start: start, length: length)
    guard call.opcode == .getLock else {
      guard try onHost(try file.lock(wanted)) else { throw .wouldBlock }
      return done
    }
    let found = try onHost(try file.conflict(with: wanted))
    var answer = writer(24)
    answer.number(found.start)
    answer.number(
      found.length == 0
        ? UInt64(Int64.max) : found.start.addingReportingOverflow(found.length - 1).partialValue)
    answer.number(UInt32(bitPattern: found.kind.rawValue))
    answer.number(UInt32(0))
    return answer.bytes
  }
}
