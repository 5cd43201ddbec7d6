import Networks

/// Version 6 (RFC 8200).
extension NetworkStack {
  func receiveIPv6(_ frame: Frame, _ hardware: MACAddress) {
    let bytes = frame.bytes
    let start = Ethernet.headerLength
    guard bytes.count >= start + IPv6.headerLength, bytes[start] &>> 4 == 6 else {
      return statistics.drop(.malformed)
    }
    let end = start + IPv6.headerLength + Int(bytes.word16(start + 4))
    guard end <= bytes.count else { return statistics.drop(.malformed) }
    let isUnfinished = frame.unfinished.segmentSize != nil || frame.unfinished.isChecked
    guard end - start <= plan.maximumTransmissionUnit || isUnfinished else {
      return statistics.drop(.tooLong)
    }
    let source = bytes.addressV6(start + 8)
    // Only discovery speaks without an address; `receiveICMPv6` sees to it.
    guard source.isUnspecified || mayBeGuest(source) else { return statistics.drop(.spoofed) }
    hear(hardware)
    followHeaders(
      Packet(
        bytes: bytes, hardwareSource: hardware, source: source,
        destination: bytes.addressV6(start + 24), transport: bytes[start + 6],
        timeToLive: bytes[start + 7], header: start, start: start + IPv6.headerLength, end: end,
        isChecked: frame.unfinished.isChecked || frame.unfinished.checksum != nil))
  }

  private static let headerLimit = 8

  /// Goes along the extension headers (RFC 8200 4) to the message.
  func followHeaders(_ packet: Packet) {
    let bytes = packet.bytes
    var transport = packet.transport
    var at = packet.start
    for _ in 0..<Self.headerLimit {
      switch transport {
      case IPProtocol.hopByHop, IPProtocol.destinationOptions, IPProtocol.routing:
        guard at + 8 <= packet.end else { return statistics.drop(.malformed) }
        let length = (Int(bytes[at + 1]) + 1) * 8
        guard at + length <= packet.end else { return statistics.drop(.malformed) }
        if transport == IPProtocol.routing {
          // Nobody is routed through here (RFC 5095).
          guard bytes[at + 3] == 0 else { return statistics.drop(.forbidden) }
        } else if !optionsMaySkip(bytes, at + 2..<at + length) {
          return statistics.drop(.malformed)
        }
        transport = bytes[at]
        at += length
      case IPProtocol.fragment:
        return receiveFragment(packet, at)
      default:
        guard !packet.source.isUnspecified || transport == IPProtocol.icmpV6 else {
          return statistics.drop(.spoofed)
        }
        return deliver(
          Packet(
            bytes: bytes, hardwareSource: packet.hardwareSource, source: packet.source,
            destination: packet.destination, transport: transport,
            timeToLive: packet.timeToLive, header: packet.header, start: at, end: packet.end,
            isChecked: packet.isChecked), isToAll: false)
      }
    }
    statistics.drop(.malformed)
  }

  /// RFC 8200 4.2: whether all options may be skipped by who does not know them.
  private func optionsMaySkip(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    var at = range.lowerBound
    while at < range.upperBound {
      if bytes[at] == 0 {
        at += 1
        continue
      }
      guard bytes[at] &>> 6 == 0 || bytes[at] == 5, at + 1 < range.upperBound else { return false }
      at += 2 + Int(bytes[at + 1])
    }
    return at == range.upperBound
  }

  /// RFC 8200 4.5.
  private func receiveFragment(_ packet: Packet, _ at: Int) {
    let bytes = packet.bytes
    let data = at + IPv6.fragmentHeaderLength
    guard data <= packet.end else { return statistics.drop(.malformed) }
    let field = bytes.word16(at + 2)
    let name = FragmentStore.Name(
      source: packet.source, destination: packet.destination, transport: bytes[at],
      identification: bytes.word32(at + 4))
    joinFragment(
      FragmentStore.Piece(offset: Int(field & 0xfff8), bytes: bytes, data: data..<packet.end),
      of: name, isLast: field & 1 == 0, packet.hardwareSource, packet.timeToLive)
  }
}
