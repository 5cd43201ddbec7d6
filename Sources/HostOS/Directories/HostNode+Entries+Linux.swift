import CHostOS
import Glibc

// The entries of a directory: made, moved and removed by one name from the descriptor of their directory.

extension HostNode {
  package func makeDirectory(_ name: HostName, mode: UInt32) throws(HostError) -> HostFinding {
    try directory.requireWritable("make a directory")
    try checked(
      roost_dir_make_directory(descriptor.handle, name.terminated, mode & 0o1777),
      "make a directory")
    return try lookUp(name)
  }

  /// Makes an empty file, a pipe or a socket; the host refuses devices for us.
  package func makeNode(_ name: HostName, mode: UInt32) throws(HostError) -> HostFinding {
    try directory.requireWritable("make a file")
    try checked(roost_dir_make_node(descriptor.handle, name.terminated, mode), "make a file")
    return try lookUp(name)
  }

  package func makeLink(_ name: HostName, to target: HostText) throws(HostError) -> HostFinding {
    try directory.requireWritable("make a link")
    try checked(
      roost_dir_make_symbolic_link(descriptor.handle, name.terminated, target.terminated),
      "make a link")
    return try lookUp(name)
  }

  /// Gives `node` one more name, in this directory.
  package func link(_ node: HostNode, as name: HostName) throws(HostError) {
    try directory.requireWritable("link a file")
    guard node.kind != .directory else { throw HostError("link a file", code: EPERM) }
    try checked(
      roost_dir_link(
        directory.proc.handle, node.descriptor.handle, descriptor.handle, name.terminated),
      "link a file")
  }

  package func remove(_ name: HostName, isDirectory: Bool) throws(HostError) {
    try directory.requireWritable("remove a file")
    try checked(
      roost_dir_unlink(descriptor.handle, name.terminated, isDirectory ? 1 : 0), "remove a file")
  }

  /// Moves an entry of this directory to another one, or to another name.
  package func rename(
    _ name: HostName, to other: HostNode, as newName: HostName, _ rule: RenameRule = .replace
  ) throws(HostError) {
    try directory.requireWritable("rename a file")
    try checked(
      roost_dir_rename(
        descriptor.handle, name.terminated, other.descriptor.handle, newName.terminated,
        rule.rawValue), "rename a file")
  }

  /// What becomes of an entry that has the new name already; as in Linux' `renameat2`.
  package enum RenameRule: UInt32, Sendable {
    case replace = 0
    case refuse = 1
    case exchange = 2
  }
}
