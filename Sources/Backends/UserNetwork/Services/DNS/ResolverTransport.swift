package import HostOS

/// Carries questions to resolvers.
package protocol ResolverTransport: AnyObject, Sendable {
  /// Opens a way to one resolver, for one question. `answer` runs on the network's loop for each datagram from there;
  /// with `nil` when the resolver cannot be reached. `nil`: the host refuses.
  func open(
    to resolver: Endpoint, _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)?
}

/// A way to one resolver, closed when its user lets go.
package protocol ResolverChannel: AnyObject, Sendable {
  /// Answers `false` if it cannot go.
  func send(_ message: [UInt8]) -> Bool
}

/// Datagrams through sockets of the host's: one for each question, so that whoever forges an answer must guess its port
/// as well as its number (RFC 5452 §9.2).
package final class HostResolverTransport: ResolverTransport {
  private let loop: EventLoop

  package init(on loop: EventLoop) { self.loop = loop }

  package func open(
    to resolver: Endpoint, _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? {
    let address = SocketAddress(
      isV6: resolver.address.isV6, high: resolver.address.high, low: resolver.address.low,
      port: resolver.port)
    do throws(HostError) {
      let socket = try InternetSocket.connect(.datagram, to: address)
      let source = try loop.watch(socket.handle, for: .readable) { _ in
        Channel.receive(from: socket, answer)
      }
      return Channel(socket, source)
    } catch {
      return nil
    }
  }

  private final class Channel: ResolverChannel {
    private let socket: InternetSocket
    private let source: HandleSource

    init(_ socket: InternetSocket, _ source: HandleSource) {
      self.socket = socket
      self.source = source
    }

    deinit { source.cancel() }

    func send(_ message: [UInt8]) -> Bool {
      socket.send(message, 0..<message.count) == .moved(message.count)
    }

    /// One datagram a turn: the loop comes back for the next.
    static func receive(
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
}
