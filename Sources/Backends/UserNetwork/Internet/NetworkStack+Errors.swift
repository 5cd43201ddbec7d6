/// Errors that are told to the guest (RFC 792, RFC 4443 3).
extension NetworkStack {
  enum DeliveryError {
    case timeExceeded
    case reassemblyTooSlow
    case hostUnreachable
    case portUnreachable
    case protocolUnreachable
    /// By the plan or the egress policy.
    case forbidden
    /// The outside takes packets of so many bytes at most.
    case tooBig(Int)

    func message(isV6: Bool) -> (type: UInt8, code: UInt8, rest: UInt32) {
      switch self {
      case .timeExceeded: isV6 ? (3, 0, 0) : (11, 0, 0)
      case .reassemblyTooSlow: isV6 ? (3, 1, 0) : (11, 1, 0)
      case .hostUnreachable: isV6 ? (1, 3, 0) : (3, 1, 0)
      case .portUnreachable: isV6 ? (1, 4, 0) : (3, 3, 0)
      // The pointer is to the field that names the protocol.
      case .protocolUnreachable: isV6 ? (4, 1, 6) : (3, 2, 0)
      case .forbidden: isV6 ? (1, 1, 0) : (3, 13, 0)
      case .tooBig(let limit):
        isV6 ? (2, 0, UInt32(clamping: limit)) : (3, 4, UInt32(UInt16(clamping: limit)))
      }
    }
  }

  /// Tells the guest what came of its packet. Nothing is said of errors (RFC 1122 3.2.2).
  func sendError(_ error: DeliveryError, about packet: Packet) {
    let isICMP = packet.transport == IPProtocol.icmp || packet.transport == IPProtocol.icmpV6
    if isICMP {
      guard packet.count > 0, Self.isEchoRequest(packet.bytes[packet.start]) else { return }
    }
    sendError(
      error, about: packet.bytes, packet.start..<packet.end, quotingFrom: packet.header,
      from: packet.source, to: packet.destination)
  }

  private static func isEchoRequest(_ type: UInt8) -> Bool {
    type == ICMP.echoRequest || type == ICMP.echoRequestV6
  }

  /// `message` is the packet's data in `bytes`, and its header begins at `header`.
  func sendError(
    _ error: DeliveryError, about bytes: [UInt8], _ message: Range<Int>,
    quotingFrom header: Int = Ethernet.headerLength, from source: IPAddress,
    to destination: IPAddress
  ) {
    guard !source.isUnspecified, !source.isMulticast, !destination.isMulticast else { return }
    let isV6 = source.isV6
    // RFC 1812 4.3.2.3: at most 576 bytes in all; RFC 4443 2.4 (c): at most 1280.
    let quoted = isV6 ? 1280 - IPv6.headerLength - 8 : 576 - IPv4.headerLength - 8
    let quote = bytes[header..<min(message.upperBound, header + quoted)]
    let (type, code, rest) = error.message(isV6: isV6)
    let start = headerLength(isV6: isV6)
    var reply = [UInt8](repeating: 0, count: start + 8)
    reply.reserveCapacity(start + 8 + quote.count)
    reply[start] = type
    reply[start + 1] = code
    reply.put(rest, start + 4)
    reply += quote
    sendICMP(&reply, from: isV6 ? plan.gatewayV6 : plan.gatewayV4, to: source)
  }

  /// Sends an ICMP message that stands behind room for the headers.
  func sendICMP(
    _ bytes: inout [UInt8], from source: IPAddress, to destination: IPAddress,
    timeToLive: UInt8 = IPv4.timeToLive, hardware: MACAddress? = nil
  ) {
    let start = headerLength(isV6: source.isV6)
    let transport = source.isV6 ? IPProtocol.icmpV6 : IPProtocol.icmp
    bytes.put(UInt16(0), start + 2)
    if source.isV6 {
      _ = finishSum(
        &bytes, at: start, offset: 2, from: source, to: destination, transport, mayLeave: false)
    } else {
      bytes.put(~internetSum(bytes, start), start + 2)
    }
    sendMessage(
      &bytes, from: source, to: destination, transport, timeToLive: timeToLive,
      hardware: hardware)
  }
}
