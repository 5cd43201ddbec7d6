import Networks

extension NetworkStack {
  /// Takes a frame from the guest's card, if it is one of that card's.
  func receiveEthernet(_ frame: Frame) {
    let bytes = frame.bytes
    guard bytes.count >= Ethernet.headerLength else { return statistics.drop(.malformed) }
    guard bytes.count <= Frame.maximumLength else { return statistics.drop(.tooLong) }
    let source = bytes.hardwareAddress(6)
    guard !source.isGroup, source != plan.gatewayHardware, source.rawValue != 0,
      guestHardware == nil || guestHardware == source
    else { return statistics.drop(.spoofed) }
    let destination = bytes.hardwareAddress(0)
    guard destination.isGroup || destination == plan.gatewayHardware else {
      return statistics.drop(.misaddressed)
    }
    switch bytes.word16(12) {
    case Ethernet.Kind.arp where plan.hasV4: receiveARP(bytes, source)
    case Ethernet.Kind.ipv4 where plan.hasV4: receiveIPv4(frame, source)
    case Ethernet.Kind.ipv6 where plan.hasV6: receiveIPv6(frame, source)
    default: statistics.drop(.unknownProtocol)
    }
  }

  /// The guest speaks: from now on it is answered at this address.
  func hear(_ hardware: MACAddress) { if guestHardware == nil { guestHardware = hardware } }
}
