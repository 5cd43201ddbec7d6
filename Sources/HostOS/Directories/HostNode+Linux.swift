import CHostOS
import Glibc

// How nodes are found and opened.

extension HostNode {
  static func adopting(_ handle: Int32, in directory: HostDirectory) throws(HostError)
    -> HostFinding
  {
    let descriptor = Descriptor(owning: handle)
    let attributes = try HostAttributes(of: descriptor)
    return HostFinding(
      node: HostNode(descriptor, attributes, in: directory), attributes: attributes)
  }

  /// The entry `name` of this directory: itself, if it is a link.
  package func lookUp(_ name: HostName) throws(HostError) -> HostFinding {
    let handle = try checked(roost_dir_look_up(descriptor.handle, name.terminated), "find a file")
    return try HostNode.adopting(handle, in: directory)
  }

  /// Opens this file. Special files and links are never opened; a directory has `list`.
  package func open(_ options: HostOpenOptions) throws(HostError) -> HostOpenFile {
    switch kind {
    case .file: break
    case .directory: throw HostError("open a file", code: EISDIR)
    case .link: throw HostError("open a file", code: ELOOP)
    case .special: throw .special("open a file")
    }
    if !options.isDisjoint(with: [.write, .truncate]) {
      try directory.requireWritable("open a file")
    }
    let handle = try checked(
      roost_dir_reopen(directory.proc.handle, descriptor.handle, options.flags), "open a file")
    return HostOpenFile(Descriptor(owning: handle), options)
  }

  /// Opens this directory to read its entries.
  package func list() throws(HostError) -> HostListing {
    HostListing(
      Descriptor(owning: try checked(roost_dir_open_list(descriptor.handle), "read a directory")))
  }

  /// Makes the file `name` in this directory and opens it. It is new: whatever has the name already is an error.
  package func create(
    _ name: HostName, mode: UInt32, _ options: HostOpenOptions
  ) throws(HostError) -> (finding: HostFinding, file: HostOpenFile) {
    try directory.requireWritable("create a file")
    let flags = options.subtracting(.truncate).flags
    let handle = try checked(
      roost_dir_create(descriptor.handle, name.terminated, flags, mode & 0o7777), "create a file")
    let file = HostOpenFile(Descriptor(owning: handle), options)
    let node = try checked(
      roost_dir_reopen(directory.proc.handle, handle, HostOpenOptions.pathOnly), "create a file")
    return (try HostNode.adopting(node, in: directory), file)
  }

  /// The names that lead here from the shared directory, as the host knows them now: a hint, out of date at once.
  /// `nil`: there are none.
  package func path() throws(HostError) -> [HostName]? {
    let top = try HostNode.path(of: directory.top, in: directory)
    let whole = try HostNode.path(of: descriptor, in: directory)
    guard whole.starts(with: top) else { return nil }
    var rest = whole.dropFirst(top.count)
    // The root of everything ends in the slash that other directories lack.
    if top != [UInt8(ascii: "/")] && !rest.isEmpty {
      guard rest.first == UInt8(ascii: "/") else { return nil }
      rest = rest.dropFirst()
    }
    var names: [HostName] = []
    for part in rest.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true) {
      guard let name = HostName(part) else { return nil }
      names.append(name)
    }
    return names
  }

  private static func path(of descriptor: Descriptor, in directory: HostDirectory) throws(HostError)
    -> [UInt8]
  {
    var path = [UInt8](repeating: 0, count: 4096)
    let count = try checked(
      roost_dir_path(directory.proc.handle, descriptor.handle, &path, path.count), "find a path")
    return Array(path.prefix(count))
  }
}

extension HostOpenOptions {
  /// A descriptor that names a file and opens nothing.
  static let pathOnly: Int32 = 0o10000000

  var flags: Int32 {
    var flags =
      contains(.write) ? (contains(.read) ? O_RDWR : O_WRONLY) : O_RDONLY
    if contains(.append) { flags |= O_APPEND }
    if contains(.truncate) { flags |= O_TRUNC }
    if contains(.synchronousData) { flags |= O_DSYNC }
    if contains(.synchronous) { flags |= O_SYNC }
    return flags | O_NOCTTY
  }
}
