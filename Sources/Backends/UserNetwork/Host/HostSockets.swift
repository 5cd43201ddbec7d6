package import HostOS
import Synchronization
import Work

/// The host's real sockets, watched by one event loop.
package final class HostSockets: HostNetwork {
  private let loop: EventLoop
  private let set = Mutex<SocketSet?>(nil)

  /// Asks the host for as many handles as the process may have, since each flow has one; and has the process keep freed
  /// memory, of which frames come and go by the megabyte.
  package init(loop: EventLoop) {
    self.loop = loop
    InternetSocket.prepareProcess()
  }

  package func attach(_ user: any HostNetworkUser) {
    precondition(user.loop === loop, "a network's sockets are watched by its own loop")
    // Without handles for even that, every later `watch` fails and says so.
    let made = try? SocketSet(on: loop) { [weak user] events in user?.socketsReady(events.visit) }
    set.withLock { $0 = made }
  }

  package func connectStream(
    to: Endpoint, token: UInt64
  ) throws(HostError) -> any HostConnection {
    let socket = try InternetSocket.connect(.stream, to: SocketAddress(to))
    try watch(socket, token)
    return ConnectionSocket(socket)
  }

  package func connectDatagrams(
    to: Endpoint, token: UInt64
  ) throws(HostError) -> any HostDatagrams {
    let socket = try InternetSocket.connect(.datagram, to: SocketAddress(to))
    try watch(socket, token)
    return DatagramSocket(socket)
  }

  package func connectEcho(
    to: IPAddress, token: UInt64
  ) throws(HostError) -> any HostDatagrams {
    let socket = try InternetSocket.connect(.echo, to: SocketAddress(Endpoint(to, 0)))
    try watch(socket, token)
    return DatagramSocket(socket)
  }

  package func listen(at: Endpoint, token: UInt64) throws(HostError) -> any HostListener {
    let socket = try InternetSocket.bind(.stream, at: SocketAddress(at))
    try watch(socket, token)
    return ListenerSocket(socket, owner: self)
  }

  package func bindDatagrams(at: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams {
    let socket = try InternetSocket.bind(.datagram, at: SocketAddress(at))
    try watch(socket, token)
    return DatagramSocket(socket)
  }

  package func isLoopback(_ address: IPAddress) -> Bool {
    address.isLoopback || SocketAddress(Endpoint(address, 0)).isOnLoopbackInterface
  }

  fileprivate func watch(_ socket: InternetSocket, _ token: UInt64) throws(HostError) {
    guard let set = set.withLock({ $0 }) else { throw HostError("watch a socket", code: 24) }
    try set.add(socket, token: token)
  }
}

extension SocketAddress {
  init(_ endpoint: Endpoint) {
    self.init(
      isV6: endpoint.address.isV6, high: endpoint.address.high, low: endpoint.address.low,
      port: endpoint.port)
  }
}

extension Endpoint {
  init(_ address: SocketAddress) {
    self.init(
      address.isV6
        ? IPAddress(v6: address.high, address.low)
        : IPAddress(v4: UInt32(truncatingIfNeeded: address.low)), address.port)
  }
}

private final class ConnectionSocket: HostConnection {
  // Letting go of the socket closes it.
  private var socket: InternetSocket?

  init(_ socket: InternetSocket) { self.socket = socket }

  func takeError() -> SocketFailure? { socket?.takeError() }

  func send(_ bytes: [UInt8], _ range: Range<Int>) -> Transfer {
    socket?.send(bytes, range) ?? .failed(.reset)
  }

  func send(_ pieces: [StreamPiece]) -> Transfer { socket?.send(pieces) ?? .failed(.reset) }

  func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer {
    socket?.receive(upTo: count, piecesOf: size, behind: head, into: &bytes) ?? .failed(.reset)
  }

  func finishSending() { socket?.finishSending() }
  func close() { socket = nil }

  func abort() {
    socket?.abortOnClose()
    socket = nil
  }
}

private final class DatagramSocket: HostDatagrams {
  private var socket: InternetSocket?
  let local: Endpoint?

  init(_ socket: InternetSocket) {
    self.socket = socket
    local = socket.localAddress.map(Endpoint.init)
  }

  func send(_ bytes: [UInt8], _ range: Range<Int>, to: Endpoint?) -> Transfer {
    socket?.send(bytes, range, to: to.map(SocketAddress.init)) ?? .failed(.reset)
  }

  func receive(
    upTo count: Int, behind prefix: Int, into bytes: inout [UInt8], from: inout Endpoint?
  ) -> Transfer {
    var source: SocketAddress?
    let transfer =
      socket?.receive(upTo: count, behind: prefix, into: &bytes, from: &source)
      ?? .failed(.reset)
    from = source.map(Endpoint.init)
    return transfer
  }

  var pathLimit: Int? { socket?.pathLimit(isV6: local?.address.isV6 ?? false) }
  func close() { socket = nil }
}

private final class ListenerSocket: HostListener {
  private var socket: InternetSocket?
  private let owner: HostSockets
  let local: Endpoint?

  init(_ socket: InternetSocket, owner: HostSockets) {
    self.socket = socket
    self.owner = owner
    local = socket.localAddress.map(Endpoint.init)
  }

  func accept() -> (any PendingConnection)? {
    guard let (client, from) = socket?.accept() else { return nil }
    return Pending(peer: Endpoint(from), socket: client, owner: owner)
  }

  func close() { socket = nil }

  private struct Pending: PendingConnection {
    let peer: Endpoint
    let socket: InternetSocket
    let owner: HostSockets

    func adopt(token: UInt64) throws(HostError) -> any HostConnection {
      try owner.watch(socket, token)
      return ConnectionSocket(socket)
    }
  }
}
