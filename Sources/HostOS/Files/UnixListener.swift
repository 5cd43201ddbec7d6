/// A Unix stream socket in the file system at which one client after another may call.
package final class UnixListener: Sendable {
  package let path: String
  private let socket: Descriptor
  package var handle: Int32 { socket.handle }

  /// Listens at `path`. A socket file that a dead process left there is replaced; a live one is not.
  /// Only the owner may connect.
  package init(path: String) throws(HostError) {
    self.path = path
    socket = try Self.listen(path)
  }

  deinit { Self.remove(path) }

  /// The next client, as a non-blocking socket; `nil` if there is none now.
  package func accept() -> Descriptor? { Self.accept(handle) }
}
