import HostOS
import Synchronization

// Open files and directories.

extension NinePServer {
  func open(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let flags = LinuxOpenFlags(rawValue: try call.body.number())
    let node = try fid(number).found()
    let options = try flags.options()
    let state: Fid.State
    if node.kind == .directory {
      guard options == .read else { throw .isDirectory }
      state = .directory(try onHost(try node.list()))
    } else {
      guard !flags.contains(.directory) else { throw .notDirectory }
      state = .file(try onHost(try node.open(options)))
    }
    try table.withLock { table throws(LinuxError) in
      var fid = try table.fid(number)
      guard case .closed = fid.state, fid.node === node else { throw .badHandle }
      fid.state = state
      try table.replace(number, fid)
    }
    return opened(try tree.attributes(of: node))
  }

  /// The fid stands for a directory before, and for the open file afterwards.
  func create(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let name = try call.name()
    let flags = LinuxOpenFlags(rawValue: try call.body.number())
    let mode = try call.body.number(UInt32.self)
    let group = try call.body.number(UInt32.self)
    let fid = try fid(number)
    guard case .closed = fid.state else { throw .badHandle }
    let parent = try fid.found()
    let made = try tree.create(
      name, in: parent, mode: mode, flags, for: caller(fid, group: group))
    let new = Fid(
      node: made.finding.node, place: (parent, name), user: fid.user, state: .file(made.file))
    try table.withLock { table throws(LinuxError) in try table.replace(number, new) }
    return opened(made.finding.attributes)
  }

  /// A unit of 0: the client may read and write as much as a message holds.
  private func opened(_ attributes: HostAttributes) -> [UInt8] {
    var answer = writer(17)
    answer.qid(attributes, tree.numbers)
    answer.number(UInt32(0))
    return answer.bytes
  }

  func caller(_ fid: Fid, group: UInt32) -> SharedTree.Caller {
    SharedTree.Caller(user: fid.user, group: group == NinePLayout.none ? nil : group)
  }

  func read(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    let offset = try call.body.number(UInt64.self)
    let count = min(Int(try call.body.number(UInt32.self)), call.room - 4)
    var answer: [UInt8]
    if case .attribute(let value) = fid.state {
      let part = value.dropFirst(Int(clamping: offset)).prefix(count)
      answer = [UInt8](repeating: 0, count: NinePLayout.header + 4) + part
    } else {
      if case .directory = fid.state { throw .isDirectory }
      let file = try fid.openFile()
      answer = try onHost(try file.read(upTo: count, at: offset, after: NinePLayout.header + 4))
    }
    let length = answer.count - NinePLayout.header - 4
    answer.set(UInt32(truncatingIfNeeded: length), at: NinePLayout.header)
    return answer
  }

  func write(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let offset = try call.body.number(UInt64.self)
    let bytes = try call.body.take(Int(try call.body.number(UInt32.self)))
    let fid = try fid(number)
    var count = bytes.count
    if case .newAttribute = fid.state {
      try table.withLock { table throws(LinuxError) in
        try table.write(bytes, at: offset, to: number)
      }
    } else {
      let file = try fid.openFile()
      count = try onHost(try file.write(bytes, at: offset))
    }
    var answer = writer(4)
    answer.number(UInt32(truncatingIfNeeded: count))
    return answer.bytes
  }

  func sync(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    // Older clients leave out which.
    let onlyData = call.body.count > 0 ? try call.body.number(UInt32.self) != 0 : false
    if case .directory(let listing) = fid.state {
      try onHost(try listing.sync(onlyData: onlyData))
    } else {
      let file = try fid.openFile()
      try onHost(try file.sync(onlyData: onlyData))
    }
    return done
  }
}

// MARK: - Locks

extension NinePServer {
  /// `P9_LOCK_SUCCESS`, `P9_LOCK_BLOCKED`.
  private enum LockStatus {
    static let success: UInt8 = 0
    static let blocked: UInt8 = 1
  }

  /// A lock belongs to the open file. No request waits for one: the client asks again.
  func lock(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let file = try fid(try call.fid()).openFile()
    let type = try call.body.number(UInt8.self)
    try call.body.skip(4)
    let wanted = try call.body.lock(type)
    var answer = writer(1)
    let taken = try onHost(try file.lock(wanted.lock))
    answer.number(taken ? LockStatus.success : LockStatus.blocked)
    return answer.bytes
  }

  func getLock(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let file = try fid(try call.fid()).openFile()
    let wanted = try call.body.lock(try call.body.number(UInt8.self))
    guard call.room >= 23 + wanted.client.count else { throw .invalid }
    let found = try onHost(try file.conflict(with: wanted.lock))
    var answer = writer(23 + wanted.client.count)
    answer.number(UInt8(truncatingIfNeeded: found.kind.rawValue))
    answer.number(found.start)
    answer.number(found.length)
    answer.number(found.kind == .none ? UInt32(bitPattern: wanted.lock.process) : 0)
    answer.countedString(wanted.client)
    return answer.bytes
  }
}

extension WireReader {
  /// `start[8] length[8] proc_id[4] client_id[s]`
  fileprivate mutating func lock(_ type: UInt8) throws(LinuxError) -> (
    lock: HostLock, client: ArraySlice<UInt8>
  ) {
    guard let kind = HostLock.Kind(rawValue: Int32(type)) else { throw .invalid }
    let start = try number(UInt64.self)
    let length = try number(UInt64.self)
    let process = Int32(bitPattern: try number(UInt32.self))
    return (
      HostLock(kind, start: start, length: length, process: process), try countedString()
    )
  }
}
