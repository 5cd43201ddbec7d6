import HostOS

/// What a segment of the guest's does (RFC 9293 3.10.7).
extension NetworkStack {
  func receiveTCP(_ packet: Packet) {
    guard let header = TCPHeader(packet) else { return statistics.drop(.malformed) }
    guard packet.hasRightSum else { return statistics.drop(.wrongChecksum) }
    let key = FlowKey(
      transport: .tcp, guest: Endpoint(packet.source, header.sourcePort),
      remote: Endpoint(packet.destination, header.destinationPort))
    if case .stream(let flow) = flows[key] { return arrive(flow, header, packet) }
    if header.flags.contains(.rst) { return statistics.drop(.noFlow) }
    if header.flags.intersection([.syn, .ack, .fin]) == .syn { return open(key, header, packet) }
    statistics.drop(.noFlow)
    refuse(header, packet)
  }

  private func arrive(_ flow: TCPFlow, _ header: TCPHeader, _ packet: Packet) {
    flow.lastHeard = now
    switch flow.state {
    case .connecting:
      if header.flags.contains(.rst), header.sequence - flow.receiver.next <= 0 { resetHost(flow) }
    case .synSent: arriveAtSYNSent(flow, header, packet)
    case .draining: refuse(header, packet)
    case .timeWait
    where header.flags.intersection([.syn, .ack, .rst]) == .syn
      && header.sequence > flow.receiver.next:
      // RFC 9293 3.6.1: the same ends begin anew.
      finish(flow)
      open(flow.key, header, packet)
    default: arriveSynchronized(flow, header, packet)
    }
    if !flow.isGone { attend(flow) }
  }

  private func arriveAtSYNSent(_ flow: TCPFlow, _ header: TCPHeader, _ packet: Packet) {
    let isAcknowledged =
      header.flags.contains(.ack) && header.acknowledgment == flow.initialSent + 1
    if header.flags.contains(.ack), !isAcknowledged {
      if !header.flags.contains(.rst) { refuse(header, packet) }
      return
    }
    if header.flags.contains(.rst) {
      if isAcknowledged {
        statistics.streamsRefused &+= 1
        resetHost(flow)
      }
      return
    }
    // Nobody in the guest calls the very port that is calling it: a SYN alone is not answered.
    guard header.flags.contains(.syn), isAcknowledged else { return }
    flow.initialReceived = header.sequence
    flow.offer = header.options
    flow.receiver = TCPReceiver(next: header.sequence + 1)
    begin(flow, header)
    establish(flow)
    acknowledge(flow)
  }

  private func arriveSynchronized(_ flow: TCPFlow, _ header: TCPHeader, _ packet: Packet) {
    let flags = header.flags
    if flow.state != .synReceived { flow.attempts = 0 }
    let next = flow.receiver.next
    let isFinal = flags.contains(.fin)
    let length = header.data.count + (isFinal ? 1 : 0) + (flags.contains(.syn) ? 1 : 0)
    if flow.state == .synReceived, flags.contains(.syn), header.sequence == flow.initialReceived {
      // The guest missed our SYN.
      return sendHandshake(flow)
    }
    // First, sequence number: something of it must be inside the window.
    let isBefore = length == 0 ? header.sequence < next : header.sequence + length <= next
    guard !isBefore, header.sequence <= flow.receiver.edge else {
      statistics.drop(.outsideWindow)
      if !flags.contains(.rst) { acknowledge(flow) }
      // What it acknowledges counts all the same: a retransmission carries the latest number.
      if isBefore, flags.intersection([.ack, .rst, .syn]) == .ack {
        takeAcknowledgment(flow, header)
      }
      return
    }
    // Second and fourth, RST and SYN; what is not exactly in place is questioned (RFC 5961 3.2, 4.2).
    if flags.contains(.rst) {
      if header.sequence == next { resetHost(flow) } else { acknowledge(flow) }
      return
    }
    if flags.contains(.syn) { return acknowledge(flow) }
    // Fifth, ACK.
    guard flags.contains(.ack) else { return statistics.drop(.malformed) }
    if flow.state == .synReceived {
      guard header.acknowledgment == flow.initialSent + 1 else { return refuse(header, packet) }
      flow.sender.beginWindow(
        scaled(flow, header.window), sequence: header.sequence,
        acknowledgment: header.acknowledgment)
      establish(flow)
    }
    guard takeAcknowledgment(flow, header), !flow.isGone else { return }
    // Seventh and eighth, data and FIN.
    if flow.isReceiving, length > 0 {
      takeData(flow, header, packet, isFinal: isFinal)
    } else if length > 0 {
      owe(flow)
    }
  }

  private func scaled(_ flow: TCPFlow, _ window: UInt16) -> Int {
    Int(window) &<< (flow.windowShift ?? 0)
  }

  /// Answers `false` for what acknowledges what was never sent.
  @discardableResult
  private func takeAcknowledgment(_ flow: TCPFlow, _ header: TCPHeader) -> Bool {
    let place = header.acknowledgment
    guard place <= flow.sender.next else {
      acknowledge(flow)
      return false
    }
    guard place >= flow.sender.unacknowledged else { return true }
    let window = scaled(flow, header.window)
    let wasShut = flow.sender.isShut
    // RFC 5681 2, "duplicate acknowledgment".
    let isDuplicate =
      place == flow.sender.unacknowledged && header.data.isEmpty
      && !header.flags.contains(.fin) && window == flow.sender.window
    let isProgress = flow.sender.acknowledge(
      place, header.options.selected, isDuplicate: isDuplicate, now: now)
    flow.sender.updateWindow(window, sequence: header.sequence, acknowledgment: place)
    if isProgress {
      flow.attempts = 0
      flow.resendAt = flow.sender.isEmpty ? nil : now &+ flow.sender.timeout.value
    }
    if wasShut, !flow.sender.isShut { flow.probeAt = nil }
    flow.probes = flow.sender.isShut ? flow.probes : 0
    if flow.sender.isEmpty, flow.hostHasEnded { endAcknowledged(flow) }
    return true
  }

  private func endAcknowledged(_ flow: TCPFlow) {
    switch flow.state {
    case .finWait1: flow.state = .finWait2
    case .closing: enterTimeWait(flow)
    case .lastAck:
      flow.state = .draining
      settle(flow)
    default: break
    }
  }

  func enterTimeWait(_ flow: TCPFlow) {
    flow.state = .timeWait
    flow.resendAt = nil
    flow.deadline = now &+ Self.timeWait
    settle(flow)
  }

  private static let worthSending = 64 << 10

  private func takeData(
    _ flow: TCPFlow, _ header: TCPHeader, _ packet: Packet, isFinal: Bool
  ) {
    let budget = limits.heldBytes - held
    let arrival = flow.receiver.accept(
      packet.bytes, header.data, at: header.sequence, isLast: isFinal, budget: budget)
    switch arrival {
    case .inOrder, .nothing: owe(flow)
    // RFC 5681 4.2: at once, so that the guest counts them.
    case .outOfOrder: acknowledge(flow)
    }
    // Enough to be worth a call by itself, and still in the processor's cache.
    if flow.receiver.pendingCount >= Self.worthSending { drain(flow) }
    guard !flow.isGone, flow.receiver.isFinished else { return }
    switch flow.state {
    case .established: flow.state = .closeWait
    case .finWait1: flow.state = .closing
    case .finWait2: enterTimeWait(flow)
    default: break
    }
    settle(flow)
  }

  /// Before the loop goes on, the host gets what came in and the guest an acknowledgment: once for a batch of frames.
  func owe(_ flow: TCPFlow) {
    flow.owesAcknowledgment = true
    guard !flow.isOwing else { return }
    flow.isOwing = true
    owing.append(flow)
  }

  /// The host's socket changed.
  func hostReady(_ flow: TCPFlow, _ readiness: Readiness) {
    if flow.state == .connecting {
      if !readiness.isDisjoint(with: [.writable, .ended]) { hostConnected(flow) }
      return
    }
    if readiness.contains(.writable), !flow.mayWrite {
      flow.mayWrite = true
      drain(flow)
    }
    if !readiness.isDisjoint(with: [.readable, .ended]) { flow.mayRead = true }
    if !flow.isGone { attend(flow) }
  }

  /// Gives the host what waits for it, until it takes no more.
  func drain(_ flow: TCPFlow) {
    guard flow.mayWrite, !flow.receiver.pending.isEmpty, let host = flow.host else { return }
    while !flow.receiver.pending.isEmpty {
      let (transfer, offered) = host.send(flow.receiver.pending)
      switch transfer {
      case .moved(let count): flow.receiver.sent(min(count, offered))
      case .blocked: break
      case .failed:
        return flow.state == .draining || flow.state == .timeWait
          ? finish(flow) : resetGuest(flow)
      }
      if transfer != .moved(offered) {
        flow.mayWrite = false
        break
      }
    }
    if flow.isReceiving, flow.receiver.isWorthTelling(segmentSize: flow.sender.segmentSize) {
      owe(flow)
    }
    settle(flow)
  }
}

extension HostConnection {
  /// Sends the first pieces in one call; answers how many bytes were offered.
  fileprivate func send(_ pending: Ring<StreamPiece>) -> (Transfer, offered: Int) {
    let first = pending[0]
    if pending.count == 1 { return (send(first.bytes, first.range), first.range.count) }
    let pieces = pending.first(StreamPiece.limit)
    return (send(pieces), pieces.reduce(0) { $0 + $1.range.count })
  }
}
