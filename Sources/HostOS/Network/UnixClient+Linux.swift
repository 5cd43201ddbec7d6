import Glibc

extension UnixClient {
  /// Connects to whoever listens at `path`; answers a non-blocking socket. Does not wait.
  package static func connect(_ path: String) throws(HostError) -> Descriptor {
    let operation = "connect to the Unix socket \"\(path)\""
    guard var address = sockaddr_un(path) else { throw HostError(operation, code: ENAMETOOLONG) }
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let handle = socket(AF_UNIX, type, 0)
    guard handle >= 0 else { throw .last(operation) }
    let socket = Descriptor(owning: handle)
    guard address.withSocketAddress({ Glibc.connect(handle, $0, $1) }) == 0 else {
      throw .last(operation)
    }
    return socket
  }
}
