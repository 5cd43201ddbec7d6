import Synchronization

/// Hands the guest its address of version 4, and what else it needs to use the network.
///
/// There is one guest and one address, so that nothing is to be remembered: whoever asks is offered the same address
/// again, also after the machine was restored elsewhere.
///
/// - SeeAlso: RFC 2131 §4.3 "DHCP server behavior".
package final class DHCPServer: DatagramService {
  let plan: UserNetworkPlan
  let names: NetworkNames
  private let counters = Mutex(Counters())

  package init(plan: UserNetworkPlan, names: NetworkNames = NetworkNames()) {
    self.plan = plan
    self.names = names
  }

  package var ports: [UInt16] { [Self.serverPort] }

  private static let serverPort: UInt16 = 67
  private static let clientPort: UInt16 = 68

  /// What was asked and answered, for inspection.
  package struct Counters: Sendable, Equatable {
    package var offers: UInt64 = 0
    package var acknowledgements: UInt64 = 0
    package var refusals: UInt64 = 0
    package var releases: UInt64 = 0
    /// The guest found somebody else with its address.
    package var declines: UInt64 = 0
    package var ignored: UInt64 = 0
  }
  package var statistics: Counters { counters.withLock { $0 } }

  package func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
    guard plan.hasV4, let request = DHCPMessage(datagram.payload),
      let reply = answer(to: request)
    else { return counters.withLock { $0.ignored += 1 } }
    let (destination, hardware) = destination(of: reply, to: request)
    // Without the headers of IP and UDP; RFC 2132 9.10 counts them.
    let size = request[.maximumMessageSize].map { $0.reduce(0) { ($0 &<< 8 | Int($1)) & 0xffff } }
    let limit = min(max(576, size ?? 576), plan.maximumTransmissionUnit) - 28
    sender.send(
      reply.bytes(limit: limit), from: Endpoint(plan.gatewayV4, Self.serverPort),
      to: Endpoint(destination, Self.clientPort), hardwareDestination: hardware)
  }

  /// RFC 2131 §4.1: where the answer goes.
  private func destination(
    of reply: DHCPMessage, to request: DHCPMessage
  ) -> (IPAddress, MACAddress) {
    if reply.kind == .refuse { return (.broadcast, .broadcast) }
    if !request.clientAddress.isUnspecified {
      return (request.clientAddress, request.clientHardware)
    }
    if request.wantsBroadcast { return (.broadcast, .broadcast) }
    return (reply.yourAddress, request.clientHardware)
  }
}

// MARK: - What is answered

extension DHCPServer {
  /// `nil`: nothing is to be answered.
  func answer(to request: DHCPMessage) -> DHCPMessage? {
    guard !request.isReply, request.relayAddress.isUnspecified, let kind = request.kind,
      !request.clientHardware.isGroup,
      plan.guestHardware == nil || plan.guestHardware == request.clientHardware
    else { return nil }
    // A client address outside the subnet would have us send to anybody.
    guard request.clientAddress.isUnspecified || plan.isInside(request.clientAddress) else {
      return kind == .request ? refusal(of: request) : nil
    }
    switch kind {
    case .discover: return count(\.offers, lease(.offer, request))
    case .request: return answerRequest(request)
    case .inform:
      guard !request.clientAddress.isUnspecified else { return nil }
      return count(\.acknowledgements, information(request))
    case .release:
      counters.withLock { $0.releases += 1 }
      return nil
    case .decline:
      counters.withLock { $0.declines += 1 }
      return nil
    case .offer, .acknowledge, .refuse: return nil
    }
  }

  /// RFC 2131 §4.3.2 "DHCPREQUEST message".
  private func answerRequest(_ request: DHCPMessage) -> DHCPMessage? {
    let wanted: IPAddress
    if request[.serverIdentifier] != nil {
      // Selecting: the offer of another server was taken.
      guard request.address(.serverIdentifier) == plan.gatewayV4 else { return nil }
      wanted = request.address(.requestedAddress) ?? .anyV4
    } else if request[.requestedAddress] != nil {
      wanted = request.address(.requestedAddress) ?? .anyV4  // after a reboot
    } else {
      wanted = request.clientAddress  // renewing, rebinding
    }
    guard wanted == plan.guestV4 else { return refusal(of: request) }
    return count(\.acknowledgements, lease(.acknowledge, request))
  }

  private func count(
    _ counter: WritableKeyPath<Counters, UInt64>, _ reply: DHCPMessage
  ) -> DHCPMessage {
    counters.withLock { $0[keyPath: counter] += 1 }
    return reply
  }

  private func reply(_ kind: DHCPMessage.Kind, _ request: DHCPMessage) -> DHCPMessage {
    var reply = DHCPMessage()
    reply.isReply = true
    reply.transaction = request.transaction
    reply.wantsBroadcast = request.wantsBroadcast
    reply.relayAddress = request.relayAddress
    reply.clientHardware = request.clientHardware
    reply.options = [
      (.messageType, [kind.rawValue]), (.serverIdentifier, plan.gatewayV4.bytes),
    ]
    // RFC 6842 3: the client's identifier comes back.
    if let identifier = request[.clientIdentifier], identifier.count <= 255 {
      reply.options.append((.clientIdentifier, identifier))
    }
    return reply
  }

  private func refusal(of request: DHCPMessage) -> DHCPMessage {
    var reply = reply(.refuse, request)
    reply.options.append((.message, Array("the address is not on this network".utf8)))
    return count(\.refusals, reply)
  }

  private func lease(_ kind: DHCPMessage.Kind, _ request: DHCPMessage) -> DHCPMessage {
    var reply = reply(kind, request)
    reply.clientAddress = kind == .acknowledge ? request.clientAddress : .anyV4
    reply.yourAddress = plan.guestV4
    // RFC 2131 §4.4.5: half the time, and seven eighths of it.
    let lease = names.leaseSeconds
    for (code, seconds) in [
      (.leaseTime, lease), (.renewalTime, lease / 2), (.rebindingTime, lease / 8 * 7),
    ] as [(DHCPMessage.Code, UInt32)] {
      var value: [UInt8] = []
      value.append(bigEndian: seconds)
      reply.options.append((code, value))
    }
    addParameters(to: &reply, request)
    return reply
  }

  /// RFC 2131 §4.3.5 "DHCPINFORM message": everything but an address.
  private func information(_ request: DHCPMessage) -> DHCPMessage {
    var reply = reply(.acknowledge, request)
    reply.clientAddress = request.clientAddress
    addParameters(to: &reply, request)
    return reply
  }
}
