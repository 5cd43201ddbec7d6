import HostOS
import Synchronization
import UserNetwork
import Work

/// A host made of memory: every socket is an object whose other end the test holds.
final class FakeHost: HostNetwork {
  private struct State {
    var user: (any HostNetworkUser)?
    var refusals: [Endpoint: Int32] = [:]
    var connections: [FakeConnection] = []
    var datagrams: [FakeDatagrams] = []
    var listeners: [FakeListener] = []
    var events: [(UInt64, Readiness)] = []
    var connectsAtOnce = true
    var answersStreams: (@Sendable (FakeConnection) -> Void)?
  }
  private let state = Mutex(State())

  func attach(_ user: any HostNetworkUser) { state.withLock { $0.user = user } }

  /// Connecting to `endpoint` fails at once, with the host's error number.
  func refuse(_ endpoint: Endpoint, _ code: Int32) {
    state.withLock { $0.refusals[endpoint] = code }
  }

  var connectsAtOnce: Bool {
    get { state.withLock { $0.connectsAtOnce } }
    set { state.withLock { $0.connectsAtOnce = newValue } }
  }

  var connections: [FakeConnection] { state.withLock { $0.connections } }
  var datagrams: [FakeDatagrams] { state.withLock { $0.datagrams } }
  var listeners: [FakeListener] { state.withLock { $0.listeners } }

  /// Lets go of what the network has closed.
  func forgetClosed() {
    state.withLock { state in
      state.connections.removeAll { $0.isClosed }
      state.datagrams.removeAll { $0.isClosed }
    }
    for connection in connections { connection.forget() }
    for socket in datagrams { socket.forget() }
  }

  func forgetConnections() { state.withLock { $0.connections = [] } }

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

  private func check(_ endpoint: Endpoint) throws(HostError) {
    if let code = state.withLock({ $0.refusals[endpoint] }) {
      throw HostError("connect", code: code)
    }
  }

  func connectStream(
    to: Endpoint, token: UInt64
  ) throws(HostError) -> any HostConnection {
    try check(to)
    let connection = FakeConnection(self, token, to)
    state.withLock { $0.connections.append(connection) }
    if connectsAtOnce { tell(token, .writable) }
    return connection
  }

  func connectDatagrams(to: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams {
    try check(to)
    let socket = FakeDatagrams(self, token, to)
    state.withLock { $0.datagrams.append(socket) }
    return socket
  }

  func connectEcho(to: IPAddress, token: UInt64) throws(HostError) -> any HostDatagrams {
    try connectDatagrams(to: Endpoint(to, 0), token: token)
  }

  func listen(at: Endpoint, token: UInt64) throws(HostError) -> any HostListener {
    try check(at)
    let listener = FakeListener(self, token, at)
    state.withLock { $0.listeners.append(listener) }
    return listener
  }

  func bindDatagrams(at: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams {
    try connectDatagrams(to: at, token: token)
  }

  func isLoopback(_ address: IPAddress) -> Bool { address == IPAddress(10, 99, 99, 99) }
}

/// A stream of the host's. What the network sends ends up in `received`; what the test offers, the network receives.
final class FakeConnection: HostConnection, @unchecked Sendable {
  // Sendable although it varies: a test and its network are one thread.
  let host: FakeHost
  let token: UInt64
  let remote: Endpoint
  var error: SocketFailure?
  private(set) var received: [UInt8] = []
  private(set) var receivedCount = 0
  var keepsReceived = true
  var onReceive: (([UInt8], Range<Int>) -> Void)?
  /// How much the socket takes before it blocks.
  var room = Int.max
  private var offered: [UInt8] = []
  private var offeredHead = 0
  /// Makes bytes up to a total, in place of `offered`.
  var source: ((Int, Int) -> [UInt8])?
  var sourceTotal = 0
  private(set) var sourceSent = 0
  private var ending: Transfer?
  private(set) var sawEnd = false
  private(set) var isClosed = false
  private(set) var isAborted = false

  init(_ host: FakeHost, _ token: UInt64, _ remote: Endpoint) {
    self.host = host
    self.token = token
    self.remote = remote
  }

  // The test's end.

  func connect() { host.tell(token, .writable) }

  func forget() { received = [] }

  func fail(_ failure: SocketFailure) {
    error = failure
    host.tell(token, [.writable, .ended])
  }

  func offer(_ bytes: [UInt8]) {
    offered += bytes
    host.tell(token, .readable)
  }

  func offer(total: Int, _ make: @escaping (Int, Int) -> [UInt8]) {
    source = make
    sourceTotal = total
    host.tell(token, .readable)
  }

  /// The other end finishes its stream.
  func end() {
    ending = .moved(0)
    host.tell(token, [.readable, .ended])
  }

  /// The other end breaks off.
  func breakOff() {
    ending = .failed(.reset)
    host.tell(token, [.readable, .ended])
  }

  func open(room: Int) {
    self.room = room
    host.tell(token, .writable)
  }

  var waiting: Int { offered.count - offeredHead + sourceTotal - sourceSent }

  // The network's end.

  func takeError() -> SocketFailure? { error }

  func send(_ bytes: [UInt8], _ range: Range<Int>) -> Transfer {
    if isClosed || sawEnd { return .failed(.reset) }
    if ending == .failed(.reset) { return .failed(.reset) }
    let count = min(range.count, room)
    guard count > 0 else { return .blocked }
    let part = range.lowerBound..<range.lowerBound + count
    if keepsReceived { received += bytes[part] }
    onReceive?(bytes, part)
    receivedCount += count
    if room != .max { room -= count }
    return .moved(count)
  }

  func send(_ pieces: [StreamPiece]) -> Transfer {
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

  private func take(_ count: Int) -> [UInt8]? {
    if sourceSent < sourceTotal, let source {
      let number = min(count, sourceTotal - sourceSent)
      defer { sourceSent += number }
      return source(sourceSent, number)
    }
    let number = min(count, offered.count - offeredHead)
    guard number > 0 else { return nil }
    defer {
      offeredHead += number
      if offeredHead == offered.count {
        offered = []
        offeredHead = 0
      }
    }
    return Array(offered[offeredHead..<offeredHead + number])
  }

  func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer {
    bytes = []
    guard let all = take(count) else { return ending ?? .blocked }
    for from in stride(from: 0, to: all.count, by: size) {
      bytes += head + all[from..<min(from + size, all.count)]
    }
    return .moved(all.count)
  }

  func finishSending() { sawEnd = true }
  func close() { isClosed = true }

  func abort() {
    isAborted = true
    isClosed = true
  }
}

/// Datagrams of the host's.
final class FakeDatagrams: HostDatagrams, @unchecked Sendable {
  // Sendable although it varies: a test and its network are one thread.
  let host: FakeHost
  let token: UInt64
  let remote: Endpoint
  private(set) var sent: [(bytes: [UInt8], to: Endpoint?)] = []
  private var incoming: [(bytes: [UInt8], from: Endpoint)] = []
  var failure: SocketFailure?
  var sendFailure: SocketFailure?
  var pathLimit: Int? = 1400
  var local: Endpoint? { remote }
  private(set) var isClosed = false

  init(_ host: FakeHost, _ token: UInt64, _ remote: Endpoint) {
    self.host = host
    self.token = token
    self.remote = remote
  }

  func forget() { sent = [] }

  func answer(_ bytes: [UInt8], from: Endpoint? = nil) {
    incoming.append((bytes, from ?? remote))
    host.tell(token, .readable)
  }

  func fail(_ failure: SocketFailure) {
    self.failure = failure
    host.tell(token, [.readable, .ended])
  }

  func send(_ bytes: [UInt8], _ range: Range<Int>, to: Endpoint?) -> Transfer {
    if let sendFailure { return .failed(sendFailure) }
    sent.append((Array(bytes[range]), to))
    return .moved(range.count)
  }

  func receive(
    upTo count: Int, behind prefix: Int, into bytes: inout [UInt8], from: inout Endpoint?
  ) -> Transfer {
    if let failure {
      self.failure = nil
      return .failed(failure)
    }
    guard !incoming.isEmpty else { return .blocked }
    let first = incoming.removeFirst()
    bytes = [UInt8](repeating: 0, count: prefix) + first.bytes.prefix(count)
    from = first.from
    return .moved(first.bytes.count)
  }

  func close() { isClosed = true }
}

/// A port of the host's at which the test calls.
final class FakeListener: HostListener, @unchecked Sendable {
  // Sendable although it varies: a test and its network are one thread.
  let host: FakeHost
  let token: UInt64
  let endpoint: Endpoint
  private var callers: [Pending] = []
  private(set) var isClosed = false
  var local: Endpoint? { Endpoint(endpoint.address, endpoint.port == 0 ? 40000 : endpoint.port) }

  init(_ host: FakeHost, _ token: UInt64, _ endpoint: Endpoint) {
    self.host = host
    self.token = token
    self.endpoint = endpoint
  }

  final class Pending: PendingConnection {
    let peer: Endpoint
    let host: FakeHost
    var connection: FakeConnection?

    init(_ peer: Endpoint, _ host: FakeHost) {
      self.peer = peer
      self.host = host
    }

    func adopt(token: UInt64) throws(HostError) -> any HostConnection {
      let connection = FakeConnection(host, token, peer)
      self.connection = connection
      host.tell(token, .writable)
      return connection
    }
  }

  func call(from peer: Endpoint) -> Pending {
    let caller = Pending(peer, host)
    callers.append(caller)
    host.tell(token, .readable)
    return caller
  }

  func accept() -> (any PendingConnection)? { callers.isEmpty ? nil : callers.removeFirst() }
  func close() { isClosed = true }
}
