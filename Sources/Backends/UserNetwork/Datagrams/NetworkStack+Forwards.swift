import HostOS

/// Ports of the host's that lead to the guest.
extension NetworkStack {
  func addForward(
    _ transport: Transport, at requested: Endpoint, to guestPort: UInt16
  ) throws(HostError) -> Endpoint {
    let token = flows.makeToken()
    do throws(HostError) {
      let door: Forward.Door
      let local: Endpoint?
      if transport == .tcp {
        let listener = try host.listen(at: requested, token: token)
        local = listener.local
        door = .streams(listener)
      } else {
        let socket = try host.bindDatagrams(at: requested, token: token)
        local = socket.local
        door = .datagrams(socket)
      }
      let forward = Forward(
        token: token, transport: transport, requested: requested, local: local ?? requested,
        guestPort: guestPort, door: door)
      flows.add(forward)
      return forward.local
    } catch {
      flows.release(token)
      throw error
    }
  }

  func removeForward(_ transport: Transport, at place: Endpoint) -> Bool {
    let found = flows.allForwards.first {
      $0.transport == transport && ($0.requested == place || $0.local == place)
    }
    guard let found else { return false }
    remove(found)
    return true
  }

  /// Connections through the forward go on; flows of datagrams end.
  func remove(_ forward: Forward) {
    for flow in forward.flows.values { end(flow) }
    forward.close()
    flows.remove(forward)
  }

  func forwardReady(_ forward: Forward) {
    switch forward.door {
    case .streams(let listener):
      for _ in 0..<Self.acceptBatch {
        guard let client = listener.accept() else { return }
        accept(client, forward)
      }
      wait(forward)
    case .datagrams(let socket): receiveForwarded(forward, socket)
    }
  }

  private static let acceptBatch = 64

  private func wait(_ forward: Forward) {
    guard !forward.waitsForRoom else { return }
    forward.waitsForRoom = true
    waiting.append(forward.token)
  }

  /// How the guest sees somebody who calls from outside: by its own address where that can be told apart from the
  /// network's and answered there, and as the gateway otherwise.
  func appearance(of peer: Endpoint, _ transport: Transport, guest: Endpoint) -> Endpoint? {
    let address = peer.address
    let isPlain =
      !address.isV6 && !guest.address.isV6 && !address.isLoopback && !plan.isInside(address)
      && !address.isUnspecified && !address.isMulticast
    let shown = isPlain ? address : guest.address.isV6 ? plan.gatewayV6 : plan.gatewayV4
    // Its port, unless another peer has that already.
    for attempt in 0..<UInt16(1024) {
      let port = attempt == 0 ? peer.port : (peer.port &+ attempt &* 61) | 0x8000
      let endpoint = Endpoint(shown, port)
      let key = FlowKey(transport: transport, guest: guest, remote: endpoint)
      if case .none = flows[key] { return endpoint }
    }
    return nil
  }

  func guestEndpoint(_ port: UInt16) -> Endpoint {
    Endpoint(plan.hasV4 ? guestV4 : plan.guestV6, port)
  }

  private func receiveForwarded(_ forward: Forward, _ socket: any HostDatagrams) {
    let guest = guestEndpoint(forward.guestPort)
    let prefix = headerLength(isV6: guest.address.isV6) + UDP.headerLength
    for _ in 0..<Self.acceptBatch {
      guard room > 0 else { break }
      var bytes: [UInt8] = []
      var source: Endpoint?
      switch socket.receive(upTo: 65535, behind: prefix, into: &bytes, from: &source) {
      case .moved:
        guard let source, let flow = forwardedFlow(forward, socket, source, guest) else { continue }
        touch(flow)
        bytes.shrink()
        sendUDP(&bytes, from: flow.key.remote, to: flow.key.guest)
      case .blocked: return
      // A peer that went away; the others go on.
      case .failed: continue
      }
    }
    wait(forward)
  }

  private func forwardedFlow(
    _ forward: Forward, _ socket: any HostDatagrams, _ peer: Endpoint, _ guest: Endpoint
  ) -> DatagramFlow? {
    if let flow = forward.flows[peer], flow.key.guest == guest { return flow }
    if let stale = forward.flows[peer] { end(stale) }
    guard let shown = appearance(of: peer, .udp, guest: guest) else {
      statistics.drop(.noFlow)
      return nil
    }
    if flows.datagrams >= limits.datagramFlows, let oldest = useOrder.oldest {
      statistics.datagramFlowsEvicted &+= 1
      end(oldest)
    }
    let flow = DatagramFlow(
      key: FlowKey(transport: .udp, guest: guest, remote: shown), token: nil, socket: socket,
      peer: peer, forward: forward, now: now)
    flows.add(flow)
    forward.flows[peer] = flow
    useOrder.append(flow)
    statistics.datagramFlowsOpened &+= 1
    return flow
  }
}
