import CHostOS
import Glibc

// What the host says about a node, and how that is changed: all without opening it.

extension HostNode {
  package func attributes() throws(HostError) -> HostAttributes {
    try HostAttributes(of: descriptor)
  }

  /// Changes the permissions. A link has none of its own.
  package func setMode(_ mode: UInt32) throws(HostError) {
    try directory.requireWritable("change a mode")
    guard kind != .link else { throw HostError("change a mode", code: EOPNOTSUPP) }
    try checked(
      roost_dir_set_mode(directory.proc.handle, descriptor.handle, mode & 0o7777), "change a mode")
  }

  /// Changes user and group; `nil` leaves one as it is.
  package func setOwner(user: UInt32?, group: UInt32?) throws(HostError) {
    try directory.requireWritable("change an owner")
    try checked(
      roost_dir_set_owner(descriptor.handle, user ?? .max, group ?? .max), "change an owner")
  }

  package func setTimes(accessed: HostTime.Change, modified: HostTime.Change) throws(HostError) {
    try directory.requireWritable("change times")
    try checked(
      roost_dir_set_times(
        directory.proc.handle, descriptor.handle, accessed.seconds, accessed.nanoseconds,
        modified.seconds, modified.nanoseconds), "change times")
  }

  /// Whether the running user may do what `mask` says: 4 read, 2 write, 1 execute.
  package func checkAccess(_ mask: Int32) throws(HostError) {
    if mask & W_OK != 0 { try directory.requireWritable("write") }
    guard kind != .link else { return }
    try checked(
      roost_dir_access(directory.proc.handle, descriptor.handle, mask & 7), "access a file")
  }

  /// Where this link points, for whoever follows links: we never do.
  package func readLink() throws(HostError) -> [UInt8] {
    guard kind == .link else { throw .invalid("read a link") }
    var target = [UInt8](repeating: 0, count: HostText.longestTarget + 1)
    let count = try checked(
      roost_dir_read_link(descriptor.handle, &target, target.count), "read a link")
    return Array(target.prefix(count))
  }

  package func fileSystem() throws(HostError) -> HostFileSystem {
    var system = roost_file_system()
    try checked(roost_dir_file_system(descriptor.handle, &system), "query the file system")
    return HostFileSystem(
      type: system.type, identity: system.identity, blockSize: system.block_size,
      fragmentSize: system.fragment_size, blocks: system.blocks, freeBlocks: system.free_blocks,
      availableBlocks: system.available_blocks, files: system.files, freeFiles: system.free_files,
      nameLength: system.name_length)
  }
}

// Extended attributes.

extension HostNode {
  /// The most that a value, or the list of all names, can have.
  package static let longestAttribute = 65_536

  package func attribute(_ name: HostText) throws(HostError) -> [UInt8] {
    var value = [UInt8](repeating: 0, count: HostNode.longestAttribute)
    let count = try checked(
      roost_dir_attribute(descriptor.handle, name.terminated, &value, value.count),
      "read an attribute")
    return Array(value.prefix(count))
  }

  /// The names of all attributes.
  package func attributeNames() throws(HostError) -> [[UInt8]] {
    var names = [UInt8](repeating: 0, count: HostNode.longestAttribute)
    let count = try checked(
      roost_dir_attribute_names(descriptor.handle, &names, names.count), "list attributes")
    return names.prefix(count).split(separator: 0).map(Array.init)
  }

  package func setAttribute(
    _ name: HostText, to value: ArraySlice<UInt8>, _ rule: AttributeRule
  ) throws(HostError) {
    try directory.requireWritable("set an attribute")
    guard value.count <= HostNode.longestAttribute else {
      throw HostError("set an attribute", code: E2BIG)
    }
    let result = value.withUnsafeBufferPointer {
      roost_dir_set_attribute(
        descriptor.handle, name.terminated, $0.baseAddress, $0.count, rule.rawValue)
    }
    try checked(result, "set an attribute")
  }

  package func removeAttribute(_ name: HostText) throws(HostError) {
    try directory.requireWritable("remove an attribute")
    try checked(
      roost_dir_remove_attribute(descriptor.handle, name.terminated), "remove an attribute")
  }

  /// What must be so for an attribute to be set; as in Linux' `setxattr`.
  package enum AttributeRule: Int32, Sendable {
    case any = 0
    case isNew = 1
    case exists = 2
  }
}

extension HostAttributes {
  init(of descriptor: Descriptor) throws(HostError) {
    var raw = roost_attributes()
    try checked(roost_dir_attributes(descriptor.handle, &raw), "query a file")
    self.init(
      identity: HostIdentity(device: raw.device, inode: raw.inode), mode: raw.mode,
      links: raw.links, user: raw.user, group: raw.group, size: raw.size, blocks: raw.blocks,
      blockSize: raw.block_size,
      accessed: HostTime(seconds: raw.accessed, nanoseconds: raw.accessed_nanoseconds),
      modified: HostTime(seconds: raw.modified, nanoseconds: raw.modified_nanoseconds),
      changed: HostTime(seconds: raw.changed, nanoseconds: raw.changed_nanoseconds),
      born: HostTime(seconds: raw.born, nanoseconds: raw.born_nanoseconds),
      specialMajor: raw.special_major, specialMinor: raw.special_minor)
  }
}

extension HostTime.Change {
  fileprivate var seconds: Int64 { if case .set(let time) = self { time.seconds } else { 0 } }

  fileprivate var nanoseconds: Int64 {
    switch self {
    case .keep: -2
    case .now: -1
    case .set(let time): Int64(time.nanoseconds)
    }
  }
}
