/// Datagrams between one port of the guest and one of the outside, or echo requests with one identifier.
final class DatagramFlow {
  let key: FlowKey
  /// The socket's number; `nil`: the socket is a forward's.
  let token: UInt64?
  let socket: any HostDatagrams
  /// Where on the host a forwarded flow comes from.
  let peer: Endpoint?
  let forward: Forward?
  var lastUsed: UInt64
  var waitsForRoom = false
  /// Neighbours in order of use.
  var older: DatagramFlow?
  var newer: DatagramFlow?

  init(
    key: FlowKey, token: UInt64?, socket: any HostDatagrams, peer: Endpoint? = nil,
    forward: Forward? = nil, now: UInt64
  ) {
    self.key = key
    self.token = token
    self.socket = socket
    self.peer = peer
    self.forward = forward
    lastUsed = now
  }
}

/// Flows in the order of their last use.
struct UseOrder {
  private(set) var oldest: DatagramFlow?
  private var newest: DatagramFlow?

  mutating func append(_ flow: DatagramFlow) {
    flow.older = newest
    newest?.newer = flow
    newest = flow
    if oldest == nil { oldest = flow }
  }

  mutating func remove(_ flow: DatagramFlow) {
    if let older = flow.older { older.newer = flow.newer } else { oldest = flow.newer }
    if let newer = flow.newer { newer.older = flow.older } else { newest = flow.older }
    flow.older = nil
    flow.newer = nil
  }

  mutating func touch(_ flow: DatagramFlow) {
    guard flow.newer != nil else { return }
    remove(flow)
    append(flow)
  }
}
