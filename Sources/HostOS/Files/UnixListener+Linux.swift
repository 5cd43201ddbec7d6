import CHostOS
import Glibc

extension UnixListener {
  static func listen(_ path: String) throws(HostError) -> Descriptor {
    let operation = "listen at the Unix socket \"\(path)\""
    guard var address = sockaddr_un(path) else { throw HostError(operation, code: ENAMETOOLONG) }
    let socket = try makeSocket(operation)
    if bind(socket.handle, &address) != 0 {
      let code = errno
      guard code == EADDRINUSE, isSocket(path), try isAbandoned(&address, operation) else {
        throw HostError(operation, code: code)
      }
      unlink(path)
      guard bind(socket.handle, &address) == 0 else { throw .last(operation) }
    }
    // Nobody can connect before `listen`, so that nobody can before the mode is right.
    guard chmod(path, 0o600) == 0, Glibc.listen(socket.handle, 4) == 0 else {
      throw .last(operation)
    }
    return socket
  }

  static func accept(_ handle: Int32) -> Descriptor? {
    let client = roost_accept(handle)
    return client >= 0 ? Descriptor(owning: client) : nil
  }

  static func remove(_ path: String) { unlink(path) }

  private static func makeSocket(_ operation: String) throws(HostError) -> Descriptor {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let handle = socket(AF_UNIX, type, 0)
    guard handle >= 0 else { throw .last(operation) }
    return Descriptor(owning: handle)
  }

  private static func bind(_ handle: Int32, _ address: inout sockaddr_un) -> Int32 {
    address.withSocketAddress { Glibc.bind(handle, $0, $1) }
  }

  /// Whether the file is a socket, and no file of another kind that happens to have the name: connecting to
  /// one is refused too.
  private static func isSocket(_ path: String) -> Bool {
    var information = stat()
    return lstat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFSOCK
  }

  /// Whether nobody listens at the socket any more.
  private static func isAbandoned(
    _ address: inout sockaddr_un, _ operation: String
  ) throws(HostError) -> Bool {
    let probe = try makeSocket(operation)
    let result = address.withSocketAddress { connect(probe.handle, $0, $1) }
    return result != 0 && errno == ECONNREFUSED
  }
}

extension sockaddr_un {
  /// `nil` if the path is longer than such an address holds.
  init?(_ path: String) {
    self.init()
    sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let fits = withUnsafeMutableBytes(of: &sun_path) { field in
      guard !bytes.isEmpty, bytes.count < field.count else { return false }
      field.copyBytes(from: bytes)
      return true
    }
    if !fits { return nil }
  }

  mutating func withSocketAddress<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    withUnsafePointer(to: self) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}

extension Descriptor {
  /// Sends what a non-blocking socket takes now; answers how many bytes that was.
  package func send(_ bytes: ArraySlice<UInt8>) throws(HostError) -> Int {
    let result = bytes.withUnsafeBytes {
      Glibc.send(handle, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
    if result >= 0 { return result }
    if errno == EAGAIN || errno == EINTR { return 0 }
    throw .last("send")
  }
}
