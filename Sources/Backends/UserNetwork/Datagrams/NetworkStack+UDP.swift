import HostOS

/// UDP (RFC 768) and what it shares with echo: flows of datagrams through sockets of the host's.
extension NetworkStack {
  func receiveUDP(_ packet: Packet, isOwn: Bool, isToGroup: Bool) {
    let bytes = packet.bytes
    guard packet.count >= UDP.headerLength else { return statistics.drop(.malformed) }
    let length = Int(bytes.word16(packet.start + 4))
    guard length >= UDP.headerLength, length <= packet.count else {
      return statistics.drop(.malformed)
    }
    let sum = bytes.word16(packet.start + 6)
    // Version 4 may do without; RFC 8200 8.1 forbids that.
    let isUnsummed = sum == 0 && !packet.source.isV6
    guard isUnsummed || hasRightSum(packet, length) else { return statistics.drop(.wrongChecksum) }
    let source = Endpoint(packet.source, bytes.word16(packet.start))
    let destination = Endpoint(packet.destination, bytes.word16(packet.start + 2))
    let payload = packet.start + UDP.headerLength..<packet.start + length
    let key = FlowKey(transport: .udp, guest: source, remote: destination)

    if isOwn || isToGroup {
      if case .datagrams(let flow) = flows[key] { return sendOut(flow, packet, payload) }
      if let service = services[destination.port] {
        return service.receive(
          Datagram(
            source: source, destination: destination, hardwareSource: packet.hardwareSource,
            payload: Array(bytes[payload])), replies)
      }
      if isToGroup { return statistics.drop(.misaddressed) }
    }
    guard !source.address.isUnspecified else { return statistics.drop(.spoofed) }
    guard let flow = datagramFlow(key, about: packet) else { return }
    sendOut(flow, packet, payload)
  }

  private func hasRightSum(_ packet: Packet, _ length: Int) -> Bool {
    if packet.isChecked { return true }
    let pseudo = pseudoSum(packet.source, packet.destination, IPProtocol.udp, length)
    let sum = InternetSum.of(packet.bytes, packet.start..<packet.start + length)
    return InternetSum.add(pseudo, sum) == 0xffff
  }

  /// Sends a datagram to the guest; the payload stands behind room for the headers.
  func sendUDP(
    _ bytes: inout [UInt8], from source: Endpoint, to destination: Endpoint,
    hardware: MACAddress? = nil
  ) {
    let start = headerLength(isV6: source.address.isV6)
    let length = bytes.count - start
    guard source.address.isV6 == destination.address.isV6, length >= UDP.headerLength,
      length <= 65535 - IPv4.headerLength
    else { return statistics.drop(.tooLong) }
    bytes.put(source.port, start)
    bytes.put(destination.port, start + 2)
    bytes.put(UInt16(length), start + 4)
    let isWhole = bytes.count - Ethernet.headerLength <= plan.maximumTransmissionUnit
    let unfinished = finishSum(
      &bytes, at: start, offset: 6, from: source.address, to: destination.address,
      IPProtocol.udp, mayLeave: isWhole)
    sendMessage(
      &bytes, from: source.address, to: destination.address, IPProtocol.udp, hardware: hardware,
      unfinished: unfinished)
  }
}
