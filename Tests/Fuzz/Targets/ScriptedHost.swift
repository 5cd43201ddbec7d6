import HostOS
import Synchronization
import UserNetwork
import Work

/// A host whose sockets do what a script says.
final class ScriptedHost: HostNetwork {
  private struct State {
    weak var user: (any HostNetworkUser)?
    var sockets: [ScriptedSocket] = []
    var listeners: [ScriptedListener] = []
    var events: [(UInt64, Readiness)] = []
    var refuses = false
  }
  private let state = Mutex(State())

  func attach(_ user: any HostNetworkUser) { state.withLock { $0.user = user } }
  func isLoopback(_ address: IPAddress) -> Bool { address.isLoopback }

  func tell(_ token: UInt64, _ readiness: Readiness) {
    state.withLock { $0.events.append((token, readiness)) }
  }

  /// Tells the network what has changed; answers whether anything had.
  func deliver() -> Bool {
    let (user, events) = state.withLock { state in
      defer { state.events = [] }
      return (state.user, state.events)
    }
    guard !events.isEmpty else { return false }
    user?.socketsReady { body in for event in events { body(event.0, event.1) } }
    return true
  }

  private func make(_ token: UInt64, _ remote: Endpoint) throws(HostError) -> ScriptedSocket {
    if state.withLock({ $0.refuses }) { throw HostError("connect", code: 111) }
    let socket = ScriptedSocket(self, token, remote)
    state.withLock { $0.sockets.append(socket) }
    return socket
  }

  func connectStream(to: Endpoint, token: UInt64) throws(HostError) -> any HostConnection {
    try make(token, to)
  }
  func connectDatagrams(to: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams {
    try make(token, to)
  }
  func connectEcho(to: IPAddress, token: UInt64) throws(HostError) -> any HostDatagrams {
    try make(token, Endpoint(to, 0))
  }
  func bindDatagrams(at: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams {
    try make(token, at)
  }
  func listen(at: Endpoint, token: UInt64) throws(HostError) -> any HostListener {
    let listener = ScriptedListener(self, token, at)
    state.withLock { $0.listeners.append(listener) }
    return listener
  }

  /// Something happens at the other end of a socket, or a caller comes.
  func stir(_ script: inout Script) {
    let number = script.byte()
    if number == 0xff {
      state.withLock { $0.refuses.toggle() }
      return
    }
    let (sockets, listeners) = state.withLock { ($0.sockets, $0.listeners) }
    if number & 0xf0 == 0xf0, let listener = listeners.first {
      listener.call(from: Endpoint(IPAddress(192, 0, 2, number & 15), 1000))
      return
    }
    guard !sockets.isEmpty else { return }
    sockets[Int(number) % sockets.count].stir(&script)
  }
}

/// A connection or a way for datagrams, whichever it was opened as.
final class ScriptedSocket: HostConnection, HostDatagrams, @unchecked Sendable {
  // Sendable although it varies: a script and its network are one thread.
  private unowned let host: ScriptedHost
  private let token: UInt64
  private let remote: Endpoint
  private var offered: [[UInt8]] = []
  private var ending: Transfer?
  private var failure: SocketFailure?
  private var room = Int.max
  var pathLimit: Int? { 1400 }
  var local: Endpoint? { remote }

  init(_ host: ScriptedHost, _ token: UInt64, _ remote: Endpoint) {
    self.host = host
    self.token = token
    self.remote = remote
  }

  func stir(_ script: inout Script) {
    switch script.byte() & 7 {
    case 0: host.tell(token, .writable)
    case 1:
      failure = [.refused, .reset, .unreachable, .timedOut][script.pick(4)]
      host.tell(token, [.readable, .writable, .ended])
    case 2:
      ending = .moved(0)
      host.tell(token, [.readable, .ended])
    case 3:
      ending = .failed(.reset)
      host.tell(token, [.readable, .ended])
    case 4:
      room = Int(script.byte()) * 16
      host.tell(token, .writable)
    case 5:
      offered.append([UInt8](repeating: 1, count: Int(script.byte()) * 64))
      host.tell(token, .readable)
    default:
      offered.append(script.piece())
      host.tell(token, .readable)
    }
  }

  func takeError() -> SocketFailure? { failure }

  func send(_ bytes: [UInt8], _ range: Range<Int>) -> Transfer {
    require(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a piece is in its array")
    if let failure { return .failed(failure) }
    let count = min(range.count, room)
    if room != .max { room -= count }
    return count > 0 || range.isEmpty ? .moved(count) : .blocked
  }

  func send(_ pieces: [StreamPiece]) -> Transfer {
    require(pieces.count <= StreamPiece.limit, "no more pieces than a call takes")
    var total = 0
    for piece in pieces {
      switch send(piece.bytes, piece.range) {
      case .moved(let count):
        total += count
        if count < piece.range.count { return .moved(total) }
      case let other: return total > 0 ? .moved(total) : other
      }
    }
    return .moved(total)
  }

  func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer {
    bytes = []
    var taken: [UInt8] = []
    while taken.count < count, !offered.isEmpty {
      let part = offered[0].prefix(count - taken.count)
      taken += part
      offered[0].removeFirst(part.count)
      if offered[0].isEmpty { offered.removeFirst() }
    }
    guard !taken.isEmpty else { return ending ?? .blocked }
    for from in stride(from: 0, to: taken.count, by: size) {
      bytes += head + taken[from..<min(from + size, taken.count)]
    }
    return .moved(taken.count)
  }

  func send(_ bytes: [UInt8], _ range: Range<Int>, to: Endpoint?) -> Transfer {
    send(bytes, range)
  }

  func receive(
    upTo count: Int, behind prefix: Int, into bytes: inout [UInt8], from: inout Endpoint?
  ) -> Transfer {
    if let failure {
      self.failure = nil
      return .failed(failure)
    }
    guard !offered.isEmpty else { return .blocked }
    let first = offered.removeFirst()
    bytes = [UInt8](repeating: 0, count: prefix) + first.prefix(count)
    from = remote
    return .moved(first.count)
  }

  func finishSending() {}
  func close() {}
  func abort() {}
}

/// A port of the host's at which a script calls.
final class ScriptedListener: HostListener, @unchecked Sendable {
  private unowned let host: ScriptedHost
  private let token: UInt64
  private let endpoint: Endpoint
  private var callers: [Endpoint] = []
  var local: Endpoint? { endpoint }

  init(_ host: ScriptedHost, _ token: UInt64, _ endpoint: Endpoint) {
    self.host = host
    self.token = token
    self.endpoint = endpoint
  }

  private struct Caller: PendingConnection {
    let peer: Endpoint
    let host: ScriptedHost
    func adopt(token: UInt64) throws(HostError) -> any HostConnection {
      try host.connectStream(to: peer, token: token)
    }
  }

  func call(from peer: Endpoint) {
    callers.append(peer)
    host.tell(token, .readable)
  }

  func accept() -> (any PendingConnection)? {
    callers.isEmpty ? nil : Caller(peer: callers.removeFirst(), host: host)
  }
  func close() {}
}
