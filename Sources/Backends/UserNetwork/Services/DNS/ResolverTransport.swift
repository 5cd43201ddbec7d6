package import HostOS

/// Carries questions to resolvers.
package protocol ResolverTransport: AnyObject, Sendable {
  /// Opens a way to one resolver, for one question, by UDP or TCP. `answer` runs on the network's loop for each message
  /// from there; with `nil` when the resolver cannot be reached, or has ended the connection. `nil`: the host refuses.
  func open(
    to resolver: Endpoint, by transport: Transport,
    _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)?
}

/// A way to one resolver, closed when its user lets go.
package protocol ResolverChannel: AnyObject, Sendable {
  /// Answers `false` if it cannot go. Once.
  func send(_ message: [UInt8]) -> Bool
}

/// Sockets of the host's: one for each question, so that whoever forges an answer must guess its port as well as its
/// number (RFC 5452 §9.2).
package final class HostResolverTransport: ResolverTransport {
  private let loop: EventLoop

  package init(on loop: EventLoop) { self.loop = loop }

  package func open(
    to resolver: Endpoint, by transport: Transport,
    _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? {
    let address = SocketAddress(resolver)
    do throws(HostError) {
      guard transport == .tcp else {
        return try DatagramResolverChannel(.connect(.datagram, to: address), on: loop, answer)
      }
      return try StreamResolverChannel(.connect(.stream, to: address), on: loop, answer)
    } catch {
      return nil
    }
  }
}

private final class DatagramResolverChannel: ResolverChannel {
  private let socket: InternetSocket
  private let source: HandleSource

  init(
    _ socket: InternetSocket, on loop: EventLoop, _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) throws(HostError) {
    self.socket = socket
    source = try loop.watch(socket.handle, for: .readable) { _ in
      Self.receive(from: socket, answer)
    }
  }

  deinit { source.cancel() }

  func send(_ message: [UInt8]) -> Bool {
    socket.send(message, 0..<message.count) == .moved(message.count)
  }

  /// One datagram a turn: the loop comes back for the next.
  private static func receive(
    from socket: InternetSocket, _ answer: @Sendable ([UInt8]?) -> Void
  ) {
    var bytes: [UInt8] = []
    var source: SocketAddress?
    switch socket.receive(upTo: 65535, behind: 0, into: &bytes, from: &source) {
    case .moved: answer(bytes)
    case .blocked: break
    case .failed: answer(nil)
    }
  }
}
