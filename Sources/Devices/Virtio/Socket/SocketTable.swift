import Streams

/// The connections of one guest, and what it is owed. Not `Sendable`: it belongs to the device's loop.
///
/// - SeeAlso: VIRTIO 1.3 §5.10.6 "Device Operation".
final class SocketTable {
  private typealias Key = SocketConnection.Key

  private let guestCID: UInt64
  private let host: any VsockHost
  private let limit: Int
  private var connections: [Key: SocketConnection] = [:]
  /// Connections that have something for the guest, in turn.
  private var queue: [Key] = []
  /// Packets that belong to no connection: resets.
  private var strays: [SocketHeader] = []
  private var nextPort = SocketTable.firstPort

  /// Ports from which programs of the host's seem to call.
  private static let firstPort: UInt32 = 1 << 30
  /// Beyond so many, no packet of the guest's is looked at.
  private static let mostStrays = 256

  init(guestCID: UInt64, host: any VsockHost, limit: Int) {
    self.guestCID = guestCID
    self.host = host
    self.limit = limit
  }

  /// Packets of the guest's wait until what follows from them has room.
  var holdsUpGuest = false

  var hasPackets: Bool { !strays.isEmpty || !queue.isEmpty }
  /// Whether what may follow from a packet has room.
  var takesPackets: Bool { strays.count < Self.mostStrays }

  /// Hangs up on everybody.
  func removeAll() {
    for connection in connections.values { connection.abort() }
    connections = [:]
    queue = []
    strays = []
  }

  /// Changes a connection, and sees to it that it gets its turn.
  private func update(_ key: Key, _ change: (inout SocketConnection) -> Void) {
    guard var connection = connections.removeValue(forKey: key) else { return }
    change(&connection)
    if connection.hasPacket, !connection.isQueued {
      connection.isQueued = true
      queue.append(key)
    }
    connections[key] = connection
  }
}

// MARK: - From the guest

extension SocketTable {
  /// Takes a packet of the guest's. One whose sender is not the guest is nobody's, and gets no answer.
  func take(_ header: SocketHeader, _ data: [UInt8], _ user: any VsockUser) {
    guard header.source.cid == guestCID else { return }
    guard header.destination.cid == SocketAddress.hostCID, header.type == .stream else {
      return refuse(header)
    }
    let key = Key(hostPort: header.destination.port, guestPort: header.source.port)
    guard let (isEstablished, isCalled) = connections[key].map({ ($0.isEstablished, $0.isCalled) })
    else {
      return header.operation == .request ? open(key, header, user) : refuse(header)
    }
    update(key) { $0.note(header) }
    switch header.operation {
    case .reset: remove(key)?.abort()
    case .response where isCalled:
      update(key) { connection in
        connection.stream.accepted(port: key.hostPort)
        connection.isEstablished = true
      }
    case .data where isEstablished:
      var isAllowed = false
      update(key) { isAllowed = $0.take(data) }
      if !isAllowed { reset(key) }
    case .shutdown where isEstablished:
      var isOver = false
      update(key) { isOver = $0.shutDown(SocketShutdown(rawValue: header.flags)) }
      if isOver { end(key) }
    case .creditUpdate where isEstablished: break
    case .creditRequest where isEstablished:
      update(key) { $0.owed.insert(.creditUpdate) }
    default: reset(key)
    }
  }

  private func open(_ key: Key, _ header: SocketHeader, _ user: any VsockUser) {
    guard connections.count < limit, let stream = host.connect(toPort: key.hostPort) else {
      return refuse(header)
    }
    stream.attach(user, as: key.number)
    var connection = SocketConnection(key, stream, isEstablished: true, owed: .response)
    connection.note(header)
    insert(connection)
  }

  private func insert(_ connection: SocketConnection) {
    connections[connection.key] = connection
    update(connection.key) { _ in }
  }

  private func remove(_ key: Key) -> SocketConnection? {
    guard let connection = connections.removeValue(forKey: key) else { return nil }
    if connection.isQueued { queue.removeAll { $0 == key } }
    return connection
  }

  /// §5.10.6.4.1: what belongs to no connection is answered by a reset, but for a reset.
  private func refuse(_ header: SocketHeader) {
    guard header.operation != .reset else { return }
    var answer = SocketHeader(from: header.destination, to: header.source, .reset)
    answer.type = header.type
    strays.append(answer)
  }

  private func sendReset(_ key: Key) {
    strays.append(SocketHeader(from: hostAddress(key), to: guestAddress(key), .reset))
  }

  /// Ends a connection that the guest has broken.
  private func reset(_ key: Key) {
    remove(key)?.abort()
    sendReset(key)
  }

  /// Ends a connection that the guest has closed in both directions.
  private func end(_ key: Key) {
    if var connection = remove(key) { connection.close() }
    sendReset(key)
  }

  private func hostAddress(_ key: Key) -> SocketAddress {
    SocketAddress(cid: SocketAddress.hostCID, port: key.hostPort)
  }

  private func guestAddress(_ key: Key) -> SocketAddress {
    SocketAddress(cid: guestCID, port: key.guestPort)
  }
}

// MARK: - From the host

extension SocketTable {
  /// A program of the host's calls the guest.
  func call(_ stream: any VsockStream, port: UInt32, _ user: any VsockUser) -> Bool {
    guard connections.count < limit else { return false }
    // There are more ports than connections.
    var key = Key(hostPort: nextPort, guestPort: port)
    while connections[key] != nil { key = Key(hostPort: portAfter(key.hostPort), guestPort: port) }
    nextPort = portAfter(key.hostPort)
    stream.attach(user, as: key.number)
    insert(SocketConnection(key, stream, isEstablished: false, owed: .request))
    return true
  }

  private func portAfter(_ port: UInt32) -> UInt32 {
    port == Self.firstPort | (Self.firstPort - 1) ? Self.firstPort : port + 1
  }

  func streamReady(_ id: UInt64, _ events: VsockEvents) {
    let key = Key(number: id)
    if events.contains(.ended), let connection = connections[key], !connection.isEstablished {
      // The program did not wait for the guest's answer.
      _ = remove(key)
      connection.abort()
      if connection.isCalled { sendReset(key) }
      return
    }
    update(key) { connection in
      if events.contains(.mayReceive) { connection.hostMayHaveSent = true }
      if events.contains(.maySend) { connection.flush() }
      if events.contains(.ended) { connection.hostLeft() }
    }
  }

  /// The next packet for the guest, with at most `room` bytes of data; `nil`: there is none after all.
  func nextPacket(room: Int) -> [UInt8]? {
    if !strays.isEmpty { return strays.removeFirst().bytes }
    // Each connection that is asked and has nothing leaves the queue.
    while !queue.isEmpty {
      let key = queue.removeFirst()
      var packet: [UInt8]?
      update(key) { connection in
        connection.isQueued = false
        packet = connection.nextPacket(
          room: room, from: hostAddress(key), to: guestAddress(key))
      }
      if let packet { return packet }
    }
    return nil
  }
}
