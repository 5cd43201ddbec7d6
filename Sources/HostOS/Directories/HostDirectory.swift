/// A directory of the host that is lent out, and all below it.
///
/// Whoever holds its nodes reaches what lies in it and nothing else, however host processes move names and links
/// meanwhile. Three rules make it so: a name is one component (`HostName`), looked up from a directory that we hold;
/// a link is never followed; and a file is opened through the descriptor that found it, not through its name again.
///
/// - Note: A directory that the host's owner moves out of here stays with those who hold it, as for any process.
package final class HostDirectory: Sendable {
  /// Refuses every change, whoever asks.
  package let isReadOnly: Bool
  let top: Descriptor
  /// `/proc/self/fd`, through which a node is opened by its descriptor's number.
  let proc: Descriptor

  /// Lends out the directory at `path`, which the owner of the machine named and which may be a link.
  package init(path: String, isReadOnly: Bool) throws(HostError) {
    self.isReadOnly = isReadOnly
    (top, proc) = try HostDirectory.open(path)
  }

  func requireWritable(_ operation: String) throws(HostError) {
    if isReadOnly { throw .readOnly(operation) }
  }
}
