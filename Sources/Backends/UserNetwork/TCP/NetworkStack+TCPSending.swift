import HostOS
import Networks

/// What goes to the guest (RFC 9293 3.8), and when.
extension NetworkStack {
  /// Sends what may be sent now and sets the connection's timer: after everything that happens to it.
  func attend(_ flow: TCPFlow) {
    pump(flow)
    guard !flow.isGone else { return }
    account(flow)
    setDeadline(flow)
  }

  /// Sends again what was lost, then what the host has, as far as guest, network and memory let it.
  func pump(_ flow: TCPFlow) {
    guard resend(flow) else { return }
    while flow.isSending, flow.mayRead, let host = flow.host {
      var allowance = flow.sender.allowance
      if held > limits.heldBytes {
        allowance = flow.sender.isEmpty ? min(allowance, flow.sender.segmentSize) : 0
      }
      // RFC 9293 3.8.6.2.1: a sliver of the window is not worth a segment while others are under way.
      if allowance == 0 || (allowance < flow.sender.segmentSize && !flow.sender.isEmpty) { return }
      guard room > 0 else { return wait(flow) }
      guard let headers = headers(of: flow, [.ack, .psh]) else { return }
      let transfer = sendNew(flow, host, allowance, behind: headers)
      switch transfer {
      case .moved(0):
        flow.hostHasEnded = true
        sendEnd(flow)
      case .moved: break
      case .blocked: flow.mayRead = false
      case .failed:
        return resetGuest(flow)
      }
    }
  }

  private func wait(_ flow: TCPFlow) {
    guard !flow.waitsForRoom else { return }
    flow.waitsForRoom = true
    waiting.append(flow.token)
  }

  /// The data of one frame that the guest cuts.
  private static let longestFrame = 65535 - 60
  /// The data of all frames that one read fills. Each read has the host's TCP acknowledge, which costs more than copying
  /// half a megabyte does.
  private static let shortestRead = 2 << 10
  private static let longestRead = 1 << 20

  /// Reads once from the host, right behind headers, and sends what that brings: a segment in each frame, or many where
  /// the guest cuts them.
  private func sendNew(
    _ flow: TCPFlow, _ host: any HostConnection, _ allowance: Int, behind headers: SegmentHeaders
  ) -> Transfer {
    let isLong = accepted.contains(flow.key.guest.address.isV6 ? .segmentTCPv6 : .segmentTCPv4)
    let segmentSize = flow.sender.segmentSize
    var count = min(allowance, flow.readSize)
    if count > segmentSize { count -= count % segmentSize }
    let frameSize = isLong ? Self.longestFrame - Self.longestFrame % segmentSize : segmentSize
    let size = min(frameSize, count)
    var bytes: [UInt8] = []
    let transfer = host.receive(
      upTo: count, piecesOf: size, behind: headers.bytes, into: &bytes)
    guard case .moved(let moved) = transfer, moved > 0 else { return transfer }
    if moved == count {
      flow.readSize = min(2 * flow.readSize, Self.longestRead)
    } else if moved < flow.readSize / 4 {
      flow.readSize = max(flow.readSize / 2, Self.shortestRead)
    }
    bytes.shrink()
    sendData(flow, &bytes, behind: headers, framesOf: headers.bytes.count + size)
    return transfer
  }

  /// Sends new data in frames of `step` bytes with their headers, which all share an array, and keeps it.
  private func sendData(
    _ flow: TCPFlow, _ bytes: inout [UInt8], behind headers: SegmentHeaders, framesOf step: Int
  ) {
    let window = nextWindow(of: flow)
    let prefix = headers.bytes.count
    var sequence = flow.sender.next
    var span = bytes.mutableSpan
    for start in stride(from: 0, to: span.count, by: step) {
      let frame = start..<min(start + step, span.count)
      nextIdentification &+= 1
      headers.complete(
        &span, frame, at: sequence, window: window, identification: nextIdentification)
      sequence = sequence + (frame.count - prefix)
    }
    emit(bytes, framesOf: step) { headers.unfinished(dataCount: $0 - prefix) }
    flow.sender.sent(
      FramedData(bytes, behind: prefix, piecesOf: step - prefix), isLast: false, now: now)
    if flow.resendAt == nil { flow.resendAt = now &+ flow.sender.timeout.value }
  }

  /// The host's stream has ended.
  private func sendEnd(_ flow: TCPFlow) {
    flow.state = flow.state == .closeWait ? .lastAck : .finWait1
    sendControl(
      flow, [.fin, .ack], sequence: flow.sender.next, acknowledgment: flow.receiver.next)
    flow.sender.sent(.none, isLast: true, now: now)
    if flow.resendAt == nil { flow.resendAt = now &+ flow.sender.timeout.value }
  }

  /// Sends lost segments again. Answers `false` if there was no room for all that may go.
  private func resend(_ flow: TCPFlow) -> Bool {
    while flow.sender.mayResend {
      guard room > 0 else {
        wait(flow)
        return false
      }
      guard let segment = flow.sender.takeLost(now: now) else { break }
      statistics.retransmissions &+= 1
      guard let headers = headers(of: flow, segment.isLast ? [.ack, .psh, .fin] : [.ack, .psh])
      else { break }
      var bytes: [UInt8] = []
      bytes.reserveCapacity(headers.bytes.count + segment.data.count)
      bytes += headers.bytes
      segment.data.append(to: &bytes)
      nextIdentification &+= 1
      var span = bytes.mutableSpan
      headers.complete(
        &span, 0..<span.count, at: segment.start, window: nextWindow(of: flow),
        identification: nextIdentification)
      emit(bytes, headers.unfinished(dataCount: segment.data.count))
      flow.resendAt = now &+ flow.sender.timeout.value
    }
    return true
  }

  // MARK: Segments

  /// What the next segments with data begin with; `nil`: there is no guest to send to.
  private func headers(of flow: TCPFlow, _ flags: TCPHeader.Flags) -> SegmentHeaders? {
    let start = headerLength(isV6: flow.key.guest.address.isV6)
    var bytes = [UInt8](repeating: 0, count: start + TCPHeader.length)
    writeTCP(
      &bytes, flow.key, flags, sequence: flow.sender.next, acknowledgment: flow.receiver.next,
      window: 0, headerLength: TCPHeader.length)
    guard
      writeHeaders(
        &bytes, from: flow.key.remote.address, to: flow.key.guest.address, IPProtocol.tcp)
    else { return nil }
    return SegmentHeaders(
      bytes, of: flow.key, segmentSize: flow.sender.segmentSize,
      leavesSum: accepted.contains(.checksum))
  }

  /// The window that a segment tells, which leaves now: it acknowledges too.
  private func nextWindow(of flow: TCPFlow) -> UInt16 {
    flow.receiver.openWindow(segmentSize: flow.sender.segmentSize)
    flow.owesAcknowledgment = false
    return flow.receiver.window(scaled: flow.windowShift != nil)
  }

  /// A segment without data or options.
  func sendControl(
    _ flow: TCPFlow, _ flags: TCPHeader.Flags, sequence: SequenceNumber,
    acknowledgment: SequenceNumber, options: [UInt8] = []
  ) {
    let window =
      flags.contains(.rst)
      ? 0
      : flow.receiver.window(scaled: flow.windowShift != nil && !flags.contains(.syn))
    sendSegment(
      flow.key, flags, sequence: sequence, acknowledgment: acknowledgment, window: window,
      options: options)
  }

  private func sendSegment(
    _ key: FlowKey, _ flags: TCPHeader.Flags, sequence: SequenceNumber,
    acknowledgment: SequenceNumber, window: UInt16, options: [UInt8] = []
  ) {
    let start = headerLength(isV6: key.guest.address.isV6)
    let length = TCPHeader.length + options.count
    var bytes = [UInt8](repeating: 0, count: start + length)
    for (index, byte) in options.enumerated() { bytes[start + TCPHeader.length + index] = byte }
    writeTCP(
      &bytes, key, flags, sequence: sequence, acknowledgment: acknowledgment, window: window,
      headerLength: length)
    let unfinished = finishSum(
      &bytes, at: start, offset: 16, from: key.remote.address, to: key.guest.address,
      IPProtocol.tcp)
    guard writeHeaders(&bytes, from: key.remote.address, to: key.guest.address, IPProtocol.tcp)
    else { return }
    emit(bytes, unfinished)
  }

  private func writeTCP(
    _ bytes: inout [UInt8], _ key: FlowKey, _ flags: TCPHeader.Flags, sequence: SequenceNumber,
    acknowledgment: SequenceNumber, window: UInt16, headerLength length: Int
  ) {
    let start = headerLength(isV6: key.guest.address.isV6)
    bytes.put(key.remote.port, start)
    bytes.put(key.guest.port, start + 2)
    bytes.put(sequence.raw, start + 4)
    bytes.put(flags.contains(.ack) ? acknowledgment.raw : 0, start + 8)
    bytes[start + 12] = UInt8(truncatingIfNeeded: length / 4) &<< 4
    bytes[start + 13] = flags.rawValue
    bytes.put(window, start + 14)
  }

  /// Our SYN, with or without an acknowledgment of the guest's; again each time the timer rings.
  func sendHandshake(_ flow: TCPFlow) {
    let isAnswer = flow.state == .synReceived
    let isV6 = flow.key.guest.address.isV6
    let size = UInt16(clamping: plan.maximumTransmissionUnit - (isV6 ? 60 : 40))
    var options: [UInt8] = [
      TCPHeader.Option.maximumSegmentSize, 4, UInt8(truncatingIfNeeded: size &>> 8),
      UInt8(truncatingIfNeeded: size),
    ]
    if !isAnswer || flow.offer.maySelect {
      options += [
        TCPHeader.Option.nothing, TCPHeader.Option.nothing, TCPHeader.Option.maySelect, 2,
      ]
    }
    if !isAnswer || flow.windowShift != nil {
      options += [
        TCPHeader.Option.nothing, TCPHeader.Option.windowScale, 3, TCPReceiver.scale,
      ]
    }
    sendControl(
      flow, isAnswer ? [.syn, .ack] : .syn, sequence: flow.initialSent,
      acknowledgment: flow.receiver.next, options: options)
    let delay = Self.handshakeInterval &<< UInt64(min(flow.attempts, 5))
    flow.deadline = now &+ delay
    deadlines.schedule(flow)
  }

  /// Says what has come in and how much more may, with what came out of order.
  func acknowledge(_ flow: TCPFlow) {
    flow.owesAcknowledgment = false
    flow.receiver.openWindow(segmentSize: flow.sender.segmentSize)
    var options: [UInt8] = []
    if flow.receiver.hasEarly, flow.offer.maySelect {
      let blocks = flow.receiver.selected
      options = [TCPHeader.Option.nothing, TCPHeader.Option.nothing, TCPHeader.Option.selected]
      options.append(UInt8(truncatingIfNeeded: 2 + 8 * blocks.count))
      for index in 0..<blocks.count {
        for place in [blocks[index].start.raw, blocks[index].end.raw] {
          for shift in stride(from: UInt32(24), through: 0, by: -8) {
            options.append(UInt8(truncatingIfNeeded: place &>> shift))
          }
        }
      }
    }
    sendControl(
      flow, .ack, sequence: flow.sender.next, acknowledgment: flow.receiver.next,
      options: options)
  }

  /// RFC 9293 3.10.7.1: a segment that belongs to no connection is answered so that its sender gives up.
  func refuse(_ header: TCPHeader, _ packet: Packet) {
    guard !header.flags.contains(.rst) else { return }
    let key = FlowKey(
      transport: .tcp, guest: Endpoint(packet.source, header.sourcePort),
      remote: Endpoint(packet.destination, header.destinationPort))
    guard !packet.source.isUnspecified else { return }
    if header.flags.contains(.ack) {
      sendSegment(
        key, .rst, sequence: header.acknowledgment, acknowledgment: SequenceNumber(0), window: 0)
    } else {
      let length =
        header.data.count + (header.flags.contains(.syn) ? 1 : 0)
        + (header.flags.contains(.fin) ? 1 : 0)
      sendSegment(
        key, [.rst, .ack], sequence: SequenceNumber(0),
        acknowledgment: header.sequence + length, window: 0)
    }
  }
}
