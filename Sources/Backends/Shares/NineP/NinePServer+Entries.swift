import HostOS
import Synchronization

// The entries of directories: listed, made, removed and moved.

extension NinePServer {
  /// The entries are `qid[13] offset[8] type[1] name[s]`.
  func readDirectory(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    let cookie = try call.body.number(UInt64.self)
    let room = min(Int(try call.body.number(UInt32.self)), call.room - 4)
    guard case .directory(let listing) = fid.state else {
      if case .stale = fid.state { throw .stale }
      throw .badHandle
    }
    let directory = try fid.found()
    let entries = try onHost(try listing.entries(from: cookie, room: room))
    var answer = writer(4 + room)
    answer.number(UInt32(0))
    let start = answer.count
    for entry in entries {
      guard answer.count - start + 24 + entry.name.count <= room else { break }
      write(entry, of: directory, to: &answer)
    }
    if answer.count == start && !entries.isEmpty { throw .invalid }
    var bytes = answer.bytes
    bytes.set(UInt32(truncatingIfNeeded: bytes.count - start), at: NinePLayout.header)
    return bytes
  }

  private func write(_ entry: HostEntry, of directory: HostNode, to answer: inout WireWriter) {
    // What is above the shared directory is not the guest's to know.
    let isTop = entry.isDots && directory.identity == tree.root.identity
    let inode = isTop ? directory.identity.inode : entry.inode
    answer.number(qidType(of: HostKind(mode: UInt32(entry.type) << 12)))
    answer.number(UInt32(0))
    answer.number(
      tree.numbers.number(of: HostIdentity(device: directory.identity.device, inode: inode)))
    answer.number(entry.next)
    answer.number(entry.type)
    answer.countedString(entry.name)
  }

  func make(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    let parent = try fid.found()
    let name = try call.name()
    let finding: HostFinding
    switch call.type {
    case .makeDirectory:
      let mode = try call.body.number(UInt32.self)
      let caller = caller(fid, group: try call.body.number())
      finding = try tree.makeDirectory(name, in: parent, mode: mode, for: caller)
    case .makeNode:
      let mode = try call.body.number(UInt32.self)
      try call.body.skip(8)
      let caller = caller(fid, group: try call.body.number())
      finding = try tree.makeNode(name, in: parent, mode: mode, for: caller)
    default:
      let target = try call.body.countedString()
      let caller = caller(fid, group: try call.body.number())
      finding = try tree.makeLink(name, in: parent, to: target, for: caller)
    }
    var answer = writer(NinePLayout.qid)
    answer.qid(finding.attributes, tree.numbers)
    return answer.bytes
  }

  func link(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let parent = try node(&call)
    let source = try node(&call)
    let name = try call.name()
    try onHost(try parent.link(source, as: name))
    return done
  }

  func renameAt(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let parent = try node(&call)
    let name = try call.name()
    let other = try node(&call)
    let newName = try call.name()
    try onHost(try parent.rename(name, to: other, as: newName))
    return done
  }

  /// The fid's file goes by the name by which it was walked to, if that is still its own.
  func rename(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let fid = try fid(number)
    let other = try node(&call)
    let newName = try call.name()
    let place = try current(fid)
    try onHost(try place.parent.rename(place.name, to: other, as: newName))
    try table.withLock { table throws(LinuxError) in
      var fid = try table.fid(number)
      fid.place = (other, newName)
      try table.replace(number, fid)
    }
    return done
  }

  func unlinkAt(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let parent = try node(&call)
    let name = try call.name()
    // `P9_DOTL_AT_REMOVEDIR`
    let isDirectory = try call.body.number(UInt32.self) & 0x200 != 0
    try onHost(try parent.remove(name, isDirectory: isDirectory))
    return done
  }

  /// The fid is gone, even where the answer is an error.
  func remove(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    guard let fid = table.withLock({ $0.remove(number) }) else { throw .badHandle }
    let place = try current(fid)
    let isDirectory = try fid.found().kind == .directory
    try onHost(try place.parent.remove(place.name, isDirectory: isDirectory))
    return done
  }

  /// Where the fid's file is, if the name that led to it still does.
  private func current(_ fid: Fid) throws(LinuxError) -> (parent: HostNode, name: HostName) {
    let node = try fid.found()
    guard let place = fid.place else { throw .notPermitted }
    guard try tree.lookUp(place.name, in: place.parent).node.identity == node.identity else {
      throw .stale
    }
    return place
  }
}
