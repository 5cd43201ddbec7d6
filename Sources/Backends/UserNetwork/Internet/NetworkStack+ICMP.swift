import HostOS

/// RFC 792, RFC 4443 4: types.
enum ICMP {
  static let headerLength = 8
  static let echoReply: UInt8 = 0
  static let echoRequest: UInt8 = 8
  static let echoRequestV6: UInt8 = 128
  static let echoReplyV6: UInt8 = 129
  static let routerSolicitation: UInt8 = 133
  static let neighborSolicitation: UInt8 = 135
  static let neighborAdvertisement: UInt8 = 136
}

extension NetworkStack {
  func internetSum(_ bytes: [UInt8], _ start: Int) -> UInt16 {
    InternetSum.of(bytes, start..<bytes.count)
  }

  func receiveICMP(_ packet: Packet, isOwn: Bool) {
    guard packet.count >= ICMP.headerLength else { return statistics.drop(.malformed) }
    guard packet.isChecked || InternetSum.of(packet.bytes, packet.start..<packet.end) == 0xffff
    else { return statistics.drop(.wrongChecksum) }
    guard packet.bytes[packet.start] == ICMP.echoRequest else {
      return statistics.drop(.unknownProtocol)
    }
    receiveEcho(packet, isOwn: isOwn)
  }

  func receiveICMPv6(_ packet: Packet, isOwn: Bool) {
    guard packet.count >= ICMP.headerLength else { return statistics.drop(.malformed) }
    guard packet.hasRightSum else { return statistics.drop(.wrongChecksum) }
    switch packet.bytes[packet.start] {
    case ICMP.echoRequestV6 where !packet.source.isUnspecified:
      // All nodes and all routers: we are one of them.
      let isToGroup = packet.destination == IPv6.allNodes || packet.destination == IPv6.allRouters
      if packet.destination.isMulticast && !isToGroup { return }
      receiveEcho(packet, isOwn: isOwn || isToGroup)
    case ICMP.neighborSolicitation: receiveNeighborSolicitation(packet)
    case ICMP.routerSolicitation: receiveRouterSolicitation(packet)
    // Advertisements and reports of group membership change nothing here.
    default: break
    }
  }

  /// Answers an echo request to ourselves, and passes on any other.
  private func receiveEcho(_ packet: Packet, isOwn: Bool) {
    let isV6 = packet.source.isV6
    guard !isOwn else {
      let start = headerLength(isV6: isV6)
      var reply = [UInt8](repeating: 0, count: start)
      reply += packet.bytes[packet.start..<packet.end]
      reply[start] = isV6 ? ICMP.echoReplyV6 : ICMP.echoReply
      let source =
        packet.destination.isMulticast ? plan.routerLinkLocal : packet.destination
      return sendICMP(&reply, from: source, to: packet.source)
    }
    let identifier = packet.bytes.word16(packet.start + 4)
    let key = FlowKey(
      transport: .echo, guest: Endpoint(packet.source, identifier),
      remote: Endpoint(packet.destination, 0))
    guard let flow = datagramFlow(key, about: packet) else { return }
    sendOut(flow, packet, packet.start..<packet.end)
  }

  /// The host's reply carries an identifier of the host's: the guest gets its own.
  func receiveEchoReply(_ bytes: inout [UInt8], _ flow: DatagramFlow) {
    let isV6 = flow.key.guest.address.isV6
    let start = headerLength(isV6: isV6)
    guard bytes.count >= start + ICMP.headerLength,
      bytes[start] == (isV6 ? ICMP.echoReplyV6 : ICMP.echoReply)
    else { return }
    bytes.put(flow.key.guest.port, start + 4)
    sendICMP(&bytes, from: flow.key.remote.address, to: flow.key.guest.address)
  }
}
