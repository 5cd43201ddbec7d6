/// A file, directory, link or special file in a `HostDirectory`, held so that it stays the same one whatever happens
/// to its name. Holding it opens nothing: it costs a descriptor of the host's and touches no device, pipe or socket.
package final class HostNode: Sendable {
  package let identity: HostIdentity
  package let kind: HostKind
  package let directory: HostDirectory
  let descriptor: Descriptor

  init(_ descriptor: Descriptor, _ attributes: HostAttributes, in directory: HostDirectory) {
    self.descriptor = descriptor
    self.directory = directory
    identity = attributes.identity
    kind = attributes.kind
  }
}

/// A node as it was found, and what the host said about it then.
package struct HostFinding: Sendable {
  package let node: HostNode
  package var attributes: HostAttributes
}

/// How a file is to be opened.
package struct HostOpenOptions: OptionSet, Sendable, Hashable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let read = HostOpenOptions(rawValue: 1)
  package static let write = HostOpenOptions(rawValue: 2)
  /// Every write goes behind the end.
  package static let append = HostOpenOptions(rawValue: 4)
  package static let truncate = HostOpenOptions(rawValue: 8)
  /// A write ends when its data lie on the medium; with `synchronous`, everything about the file.
  package static let synchronousData = HostOpenOptions(rawValue: 16)
  package static let synchronous = HostOpenOptions(rawValue: 32)
}
