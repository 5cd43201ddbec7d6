import HostOS
import Synchronization

// The entries of directories: made, removed, moved and listed.

extension FUSEServer {
  func make(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let parent = try node(call.node)
    try requireRoom()
    let finding: HostFinding
    switch call.opcode {
    case .makeDirectory:  // `struct fuse_mkdir_in`
      let mode = try call.body.number(UInt32.self)
      try call.body.skip(4)
      finding = try tree.makeDirectory(try call.name(), in: parent, mode: mode, for: call.caller)
    case .makeNode:  // `struct fuse_mknod_in`
      let mode = try call.body.number(UInt32.self)
      try call.body.skip(12)
      finding = try tree.makeNode(try call.name(), in: parent, mode: mode, for: call.caller)
    default:
      let name = try call.name()
      let target = try call.body.terminatedString()
      finding = try tree.makeLink(name, in: parent, to: target, for: call.caller)
    }
    var answer = writer(FUSELayout.entry)
    try entry(finding, in: &answer)
    return answer.bytes
  }

  /// `struct fuse_link_in`
  func link(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let source = try node(try call.body.number())
    let parent = try node(call.node)
    let name = try call.name()
    try onHost(try parent.link(source, as: name))
    var answer = writer(FUSELayout.entry)
    try entry(try tree.lookUp(name, in: parent), in: &answer)
    return answer.bytes
  }

  func remove(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let parent = try node(call.node)
    let name = try call.name()
    let isDirectory = call.opcode == .removeDirectory
    try onHost(try parent.remove(name, isDirectory: isDirectory))
    return done
  }

  /// `struct fuse_rename_in`, `fuse_rename2_in`
  func rename(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let other = try node(try call.body.number())
    var rule = HostNode.RenameRule.replace
    if call.opcode == .renameWithRule {
      guard let known = HostNode.RenameRule(rawValue: try call.body.number()) else {
        throw .invalid
      }
      rule = known
      try call.body.skip(4)
    }
    let parent = try node(call.node)
    let name = try call.name()
    let newName = try call.name()
    try onHost(try parent.rename(name, to: other, as: newName, rule))
    return done
  }

  /// Nothing is made that could not be named to the guest afterwards.
  func requireRoom() throws(LinuxError) {
    if table.withLock({ $0.isFull }) { throw .tableFull }
  }
}

// MARK: - Listing

extension FUSEServer {
  func openDirectory(_ call: FUSECall) throws(LinuxError) -> [UInt8] {
    let node = try node(call.node)
    let listing = try onHost(try node.list())
    return try opened(.directory(listing, node: call.node))
  }

  /// `struct fuse_read_in`; the answer is a run of `struct fuse_dirent`, or of `fuse_direntplus`, in which the guest
  /// is told of each node as by a look-up.
  func readDirectory(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let handle = try call.body.number(UInt64.self)
    let cookie = try call.body.number(UInt64.self)
    let room = min(Int(try call.body.number(UInt32.self)), call.room, FUSEServer.longestTransfer)
    let (listing, number) = try table.withLock { table throws(LinuxError) in
      try table.listing(handle)
    }
    let directory = try node(number)
    let withNodes = call.opcode == .readDirectoryPlus
    // The host's entries are smaller than ours: about as many are asked for as will fit.
    let asked = withNodes ? room / 5 : room
    let entries = try onHost(try listing.entries(from: cookie, room: asked))
    var answer = writer(room)
    for entry in entries {
      let size = (24 + entry.name.count + 7) & ~7
      let whole = withNodes ? FUSELayout.entry + size : size
      guard answer.count - FUSELayout.answerHeader + whole <= room else { break }
      if withNodes { tell(of: entry, in: directory, &answer) }
      write(entry, of: directory, paddedTo: size, to: &answer)
    }
    if answer.count == FUSELayout.answerHeader && !entries.isEmpty { throw .invalid }
    return answer.bytes
  }

  /// A node number of 0 says that the guest is not told of a node.
  private func tell(of entry: HostEntry, in directory: HostNode, _ answer: inout WireWriter) {
    guard !entry.isDots, let name = HostName(entry.name),
      let finding = try? tree.lookUp(name, in: directory),
      (try? self.entry(finding, in: &answer)) != nil
    else { return answer.zeroes(FUSELayout.entry) }
  }

  /// `struct fuse_dirent`
  private func write(
    _ entry: HostEntry, of directory: HostNode, paddedTo size: Int, to answer: inout WireWriter
  ) {
    // What is above the shared directory is not the guest's to know.
    let isTop = entry.isDots && directory.identity == tree.root.identity
    let inode = isTop ? directory.identity.inode : entry.inode
    answer.number(
      tree.numbers.number(of: HostIdentity(device: directory.identity.device, inode: inode)))
    answer.number(entry.next)
    answer.number(UInt32(truncatingIfNeeded: entry.name.count))
    answer.number(UInt32(entry.type))
    answer.raw(entry.name)
    answer.zeroes(size - 24 - entry.name.count)
  }
}
