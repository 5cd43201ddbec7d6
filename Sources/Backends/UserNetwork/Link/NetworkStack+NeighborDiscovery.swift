/// Neighbor discovery for version 6 (RFC 4861).
extension NetworkStack {
  /// Section 7.1.1 and 6.1.1: what was sent from off the link would have a lower hop limit.
  private static let hopLimit: UInt8 = 255

  func receiveNeighborSolicitation(_ packet: Packet) {
    guard packet.timeToLive == Self.hopLimit, packet.count >= 24 else {
      return statistics.drop(.malformed)
    }
    let target = packet.bytes.addressV6(packet.start + 8)
    guard plan.isOwn(target) else { return }
    let start = headerLength(isV6: true)
    // Section 4.4, with the option of 4.6.1.
    var reply = [UInt8](repeating: 0, count: start + 32)
    let router: UInt8 = target == plan.dnsV6 ? 0 : 0x80
    let solicited: UInt8 = packet.source.isUnspecified ? 0 : 0x40
    let override: UInt8 = 0x20
    reply[start] = ICMP.neighborAdvertisement
    reply[start + 4] = router | solicited | override
    reply.put(target, start + 8)
    reply[start + 24] = 2
    reply[start + 25] = 1
    reply.put(plan.gatewayHardware, start + 26)
    sendToSolicitor(&reply, from: target, packet)
  }

  func receiveRouterSolicitation(_ packet: Packet) {
    guard packet.timeToLive == Self.hopLimit else { return statistics.drop(.malformed) }
    guard let message = advertiser?.routerAdvertisement(), message.count >= 16 else { return }
    var reply = [UInt8](repeating: 0, count: headerLength(isV6: true)) + message
    sendToSolicitor(&reply, from: plan.routerLinkLocal, packet)
  }

  private func sendToSolicitor(
    _ reply: inout [UInt8], from source: IPAddress, _ packet: Packet
  ) {
    let isKnown = !packet.source.isUnspecified
    sendICMP(
      &reply, from: source, to: isKnown ? packet.source : IPv6.allNodes,
      timeToLive: Self.hopLimit,
      // RFC 2464 7: a group's Ethernet address.
      hardware: isKnown ? nil : MACAddress(rawValue: 0x3333_0000_0001))
  }
}
