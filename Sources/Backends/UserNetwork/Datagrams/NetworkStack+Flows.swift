import HostOS

extension NetworkStack {
  /// The flow that a packet belongs to, begun if it is a new one; `nil`: it goes nowhere, which the guest was told.
  func datagramFlow(_ key: FlowKey, about packet: Packet) -> DatagramFlow? {
    if case .datagrams(let flow) = flows[key] { return flow }
    switch route(to: key.remote, key.transport) {
    case .closed:
      sendError(.portUnreachable, about: packet)
    case .unreachable:
      sendError(.hostUnreachable, about: packet)
    case .forbidden:
      statistics.drop(.forbidden)
      sendError(.forbidden, about: packet)
    case .outside(let endpoint):
      return beginFlow(key, to: endpoint, about: packet)
    }
    return nil
  }

  private func beginFlow(
    _ key: FlowKey, to endpoint: Endpoint, about packet: Packet
  ) -> DatagramFlow? {
    if flows.datagrams >= limits.datagramFlows { evictOldest() }
    let token = flows.makeToken()
    do throws(HostError) {
      let socket =
        key.transport == .echo
        ? try host.connectEcho(to: endpoint.address, token: token)
        : try host.connectDatagrams(to: endpoint, token: token)
      let flow = DatagramFlow(key: key, token: token, socket: socket, now: now)
      flows.add(flow)
      useOrder.append(flow)
      statistics.datagramFlowsOpened &+= 1
      return flow
    } catch {
      flows.release(token)
      statistics.drop(.hostRefused)
      let failure = SocketFailure(code: error.code)
      sendError(failure == .notPermitted ? .forbidden : .hostUnreachable, about: packet)
      return nil
    }
  }

  private func evictOldest() {
    guard let oldest = useOrder.oldest else { return }
    statistics.datagramFlowsEvicted &+= 1
    end(oldest)
  }

  /// Closes a flow.
  func end(_ flow: DatagramFlow) {
    useOrder.remove(flow)
    flows.remove(flow)
    if let peer = flow.peer { flow.forward?.flows[peer] = nil } else { flow.socket.close() }
  }

  func touch(_ flow: DatagramFlow) {
    flow.lastUsed = now
    useOrder.touch(flow)
  }

  /// Passes a datagram of the guest's on.
  func sendOut(_ flow: DatagramFlow, _ packet: Packet, _ payload: Range<Int>) {
    touch(flow)
    switch flow.socket.send(packet.bytes, payload, to: flow.peer) {
    case .moved: break
    case .blocked: statistics.drop(.noRoom)
    case .failed(.tooLong):
      sendError(.tooBig(flow.socket.pathLimit ?? plan.maximumTransmissionUnit), about: packet)
    case .failed(.refused): sendError(.portUnreachable, about: packet)
    case .failed(.unreachable), .failed(.timedOut): sendError(.hostUnreachable, about: packet)
    case .failed(.notPermitted): sendError(.forbidden, about: packet)
    case .failed: statistics.drop(.hostRefused)
    }
  }

  private static let batch = 64
  private static let longest = 65535

  /// Passes on what the host has received, as far as there is room for it.
  func datagramsReady(_ flow: DatagramFlow) {
    let isV6 = flow.key.guest.address.isV6
    let isEcho = flow.key.transport == .echo
    let prefix = headerLength(isV6: isV6) + (isEcho ? 0 : UDP.headerLength)
    for _ in 0..<Self.batch {
      guard room > 0 else { break }
      var bytes: [UInt8] = []
      var source: Endpoint?
      switch flow.socket.receive(
        upTo: Self.longest, behind: prefix, into: &bytes, from: &source)
      {
      case .moved:
        touch(flow)
        bytes.shrink()
        if isEcho {
          receiveEchoReply(&bytes, flow)
        } else {
          sendUDP(&bytes, from: flow.key.remote, to: flow.key.guest)
        }
      case .blocked: return
      case .failed(let failure): return hostFailed(flow, failure)
      }
    }
    guard let token = flow.token, !flow.waitsForRoom else { return }
    flow.waitsForRoom = true
    waiting.append(token)
  }

  /// The outside refused an earlier datagram: the guest hears of it as if it had been this one's empty successor.
  private func hostFailed(_ flow: DatagramFlow, _ failure: SocketFailure) {
    let isV6 = flow.key.guest.address.isV6
    let start = headerLength(isV6: isV6)
    let transport =
      flow.key.transport == .udp ? IPProtocol.udp : isV6 ? IPProtocol.icmpV6 : IPProtocol.icmp
    var bytes = [UInt8](repeating: 0, count: start + UDP.headerLength)
    guard failure == .refused || failure == .unreachable,
      writeHeaders(
        &bytes, from: flow.key.guest.address, to: flow.key.remote.address, transport)
    else { return }
    if transport == IPProtocol.udp {
      bytes.put(flow.key.guest.port, start)
      bytes.put(flow.key.remote.port, start + 2)
      bytes.put(UInt16(UDP.headerLength), start + 4)
    } else {
      bytes[start] = isV6 ? ICMP.echoRequestV6 : ICMP.echoRequest
      bytes.put(flow.key.guest.port, start + 4)
    }
    sendError(
      failure == .refused ? .portUnreachable : .hostUnreachable, about: bytes,
      start..<bytes.count, from: flow.key.guest.address, to: flow.key.remote.address)
  }
}

extension Array where Element == UInt8 {
  /// Gives back room that is not used, if that is most of it: the array will wait in a queue.
  mutating func shrink() {
    if capacity > 2 * count + 256 { self = self.withExactCapacity }
  }

  private var withExactCapacity: [UInt8] {
    var copy: [UInt8] = []
    copy.reserveCapacity(count)
    copy += self[...]
    return copy
  }
}
