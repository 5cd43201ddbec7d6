import HostOS

/// How TCP connections begin and end.
extension NetworkStack {
  // Nanoseconds.
  static let timeWait: UInt64 = 10_000_000_000
  static let keepAliveIdle: UInt64 = 7_200_000_000_000
  static let keepAliveInterval: UInt64 = 75_000_000_000
  static let handshakeInterval: UInt64 = 1_000_000_000
  static let handshakeAttempts = 6
  static let keepAliveAttempts = 9
  static let resendAttempts = 12

  /// A place to begin that an old connection between the same ends is unlikely to have used (RFC 9293 3.4.1,
  /// RFC 6528): four microseconds a step, from an offset that is the connection's secret.
  func initialSequence(_ key: FlowKey) -> SequenceNumber {
    var mixed = secret
    for value in [
      key.guest.address.high, key.guest.address.low, key.remote.address.high,
      key.remote.address.low, UInt64(key.guest.port) &<< 16 | UInt64(key.remote.port),
    ] {
      mixed = (mixed ^ value) &* 0x9e37_79b9_7f4a_7c15
      mixed ^= mixed &>> 29
    }
    return SequenceNumber(
      UInt32(truncatingIfNeeded: mixed &>> 16) &+ UInt32(truncatingIfNeeded: now / 4000))
  }

  /// The guest wants to connect. It hears of the result when the host knows it.
  func open(_ key: FlowKey, _ header: TCPHeader, _ packet: Packet) {
    if plan.isOwn(key.remote.address), let service = streamServices[key.remote.port] {
      return open(key, header, packet, to: service)
    }
    switch route(to: key.remote, .tcp) {
    case .closed:
      statistics.streamsRefused &+= 1
      refuse(header, packet)
    case .unreachable:
      statistics.streamsRefused &+= 1
      sendError(.hostUnreachable, about: packet)
    case .forbidden:
      statistics.streamsRefused &+= 1
      statistics.drop(.forbidden)
      sendError(.forbidden, about: packet)
    case .outside(let endpoint):
      guard makeRoomForStream() else { return refuse(header, packet) }
      let token = flows.makeToken()
      do throws(HostError) {
        let stream = try host.connectStream(to: endpoint, token: token)
        _ = connecting(key, header, token, to: stream)
      } catch {
        flows.release(token)
        statistics.streamsRefused &+= 1
        statistics.drop(.hostRefused)
        tellFailure(SocketFailure(code: error.code), header, packet)
      }
    }
  }

  /// The guest calls a service of the network's own, which is there at once or not at all.
  private func open(
    _ key: FlowKey, _ header: TCPHeader, _ packet: Packet, to service: any StreamService
  ) {
    guard !key.guest.address.isUnspecified, makeRoomForStream() else {
      return refuse(header, packet)
    }
    let token = flows.makeToken()
    let replies = replies
    let stream = service.accept(from: key.guest, at: key.remote) { replies.ready(token, $0) }
    guard let stream else {
      flows.release(token)
      statistics.streamsRefused &+= 1
      return refuse(header, packet)
    }
    hostConnected(connecting(key, header, token, to: stream))
  }

  private func connecting(
    _ key: FlowKey, _ header: TCPHeader, _ token: UInt64, to stream: any HostConnection
  ) -> TCPFlow {
    let flow = TCPFlow(
      key: key, token: token, state: .connecting, initialSent: initialSequence(key))
    flow.host = stream
    flow.initialReceived = header.sequence
    flow.offer = header.options
    flow.lastHeard = now
    flow.receiver = TCPReceiver(next: header.sequence + 1)
    begin(flow, header)
    flows.add(flow)
    statistics.streamsOpened &+= 1
    return flow
  }

  private func tellFailure(_ failure: SocketFailure, _ header: TCPHeader, _ packet: Packet) {
    switch failure {
    case .unreachable, .timedOut: sendError(.hostUnreachable, about: packet)
    case .notPermitted: sendError(.forbidden, about: packet)
    default: refuse(header, packet)
    }
  }

  /// A connection that is over and only waits may go early.
  private func makeRoomForStream() -> Bool {
    if flows.streams < limits.streams { return true }
    for entry in flows.all {
      if case .stream(let flow) = entry, flow.state == .timeWait {
        finish(flow)
        return true
      }
    }
    statistics.drop(.noFlow)
    return false
  }

  /// Takes over what both SYNs agree on.
  func begin(_ flow: TCPFlow, _ header: TCPHeader) {
    let isV6 = flow.key.guest.address.isV6
    let largest = plan.maximumTransmissionUnit - (isV6 ? 60 : 40)
    // RFC 9293 3.7.1: what a guest takes that names no size.
    let offered = Int(header.options.maximumSegmentSize ?? (isV6 ? 1220 : 536))
    flow.sender = TCPSender(
      next: flow.initialSent + 1, segmentSize: min(largest, max(offered, 88)),
      maySelect: header.options.maySelect)
    flow.windowShift = header.options.windowScale.map(Int.init)
    flow.sender.beginWindow(
      Int(header.window), sequence: header.sequence, acknowledgment: header.acknowledgment)
    flow.receiver.openWindow(segmentSize: 1)
  }

  /// Somebody calls the guest through a forward.
  func accept(_ client: any PendingConnection, _ forward: Forward) {
    let guest = guestEndpoint(forward.guestPort)
    guard makeRoomForStream(), let shown = appearance(of: client.peer, .tcp, guest: guest) else {
      return statistics.drop(.noFlow)
    }
    let key = FlowKey(transport: .tcp, guest: guest, remote: shown)
    let token = flows.makeToken()
    do throws(HostError) {
      let stream = try client.adopt(token: token)
      let flow = TCPFlow(
        key: key, token: token, state: .synSent, initialSent: initialSequence(key))
      flow.host = stream
      flow.lastHeard = now
      flows.add(flow)
      statistics.streamsOpened &+= 1
      sendHandshake(flow)
    } catch {
      flows.release(token)
      statistics.drop(.hostRefused)
    }
  }

  /// The host's connection is there, or is not to be.
  func hostConnected(_ flow: TCPFlow) {
    guard let failure = flow.host?.takeError() else {
      flow.state = .synReceived
      flow.mayWrite = true
      return sendHandshake(flow)
    }
    statistics.streamsRefused &+= 1
    statistics.drop(.hostRefused)
    flow.host?.close()
    switch failure {
    case .unreachable, .timedOut, .notPermitted:
      quoteSYN(flow, failure == .notPermitted ? .forbidden : .hostUnreachable)
    default:
      sendControl(
        flow, [.rst, .ack], sequence: SequenceNumber(0), acknowledgment: flow.receiver.next)
    }
    finish(flow)
  }

  /// An error about the SYN that the guest has been waiting for an answer to.
  private func quoteSYN(_ flow: TCPFlow, _ error: DeliveryError) {
    let start = headerLength(isV6: flow.key.guest.address.isV6)
    var bytes = [UInt8](repeating: 0, count: start + TCPHeader.length)
    guard
      writeHeaders(
        &bytes, from: flow.key.guest.address, to: flow.key.remote.address, IPProtocol.tcp)
    else { return }
    bytes.put(flow.key.guest.port, start)
    bytes.put(flow.key.remote.port, start + 2)
    bytes.put(flow.initialReceived.raw, start + 4)
    bytes[start + 12] = 0x50
    bytes[start + 13] = TCPHeader.Flags.syn.rawValue
    sendError(
      error, about: bytes, start..<bytes.count, from: flow.key.guest.address,
      to: flow.key.remote.address)
  }

  /// Both sides have agreed.
  func establish(_ flow: TCPFlow) {
    flow.state = .established
    flow.attempts = 0
    flow.deadline = .max
    flow.mayRead = true
    flow.mayWrite = true
  }

  // MARK: Ends

  /// The host's side broke off: so does the guest's.
  func resetGuest(_ flow: TCPFlow) {
    statistics.streamsReset &+= 1
    sendControl(
      flow, [.rst, .ack], sequence: flow.sender.next, acknowledgment: flow.receiver.next)
    flow.host?.close()
    finish(flow)
  }

  /// The guest's side broke off: so does the host's.
  func resetHost(_ flow: TCPFlow) {
    statistics.streamsReset &+= 1
    flow.host?.abort()
    finish(flow)
  }

  /// Neither side answers any more.
  func abandon(_ flow: TCPFlow) {
    flow.host?.abort()
    flow.host = nil
    resetGuest(flow)
  }

  /// Forgets the connection. The host's socket has been closed, or is now.
  func finish(_ flow: TCPFlow) {
    flow.isGone = true
    flow.host?.close()
    flow.host = nil
    flow.receiver.discard()
    flow.sender.discard()
    account(flow)
    deadlines.remove(flow)
    flows.remove(flow)
  }

  /// Tells the host of the guest's end once all before it has gone, and lets go of what is over on both sides.
  func settle(_ flow: TCPFlow) {
    if flow.receiver.isFinished, flow.receiver.pending.isEmpty, !flow.hostWasToldEnd {
      flow.hostWasToldEnd = true
      flow.host?.finishSending()
    }
    guard flow.hostWasToldEnd else { return }
    switch flow.state {
    case .draining: finish(flow)
    case .timeWait:
      flow.host?.close()
      flow.host = nil
    default: break
    }
  }

  func account(_ flow: TCPFlow) {
    let holds = flow.sender.cost + flow.receiver.cost
    held += holds - flow.accounted
    flow.accounted = holds
  }
}
