import Foundation
import Synchronization
import Testing

/// A server on the host's loopback, which serves one caller after another until it is let go.
final class HostServer: Sendable {
  let port: UInt16
  private let listener: Int32

  init(_ serve: @escaping @Sendable (Connection) -> Void) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    port = try #require(Self.listen(listener))
    self.listener = listener
    Thread.detachNewThread {
      while true {
        let handle = accept(listener, nil, nil)
        guard handle >= 0 else { break }
        serve(Connection(handle: handle))
        close(handle)
      }
      close(listener)
    }
  }

  /// Lets a socket listen at a port that nobody uses; `nil`: it cannot.
  private static func listen(_ listener: Int32) -> UInt16? {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listens = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && Foundation.listen(listener, 8) == 0
          && getsockname(listener, $0, &length) == 0
      }
    }
    return listens ? UInt16(bigEndian: address.sin_port) : nil
  }

  deinit { shutdown(listener, Int32(SHUT_RDWR)) }

  /// A caller's connection; calls wait until they are done.
  struct Connection {
    let handle: Int32

    func send(_ bytes: [UInt8]) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes {
          Foundation.send(handle, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
      }
    }

    /// All that comes until the caller has no more to say.
    func receive() -> [UInt8] {
      var received: [UInt8] = []
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = recv(handle, &piece, piece.count, 0), count > 0 {
        received += piece.prefix(count)
      }
      return received
    }
  }
}
