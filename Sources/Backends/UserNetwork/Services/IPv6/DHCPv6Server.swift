import Synchronization

/// Hands the guest its address of version 6, name servers and what to boot.
///
/// As with version 4 there is one address, so that nothing is remembered.
///
/// - SeeAlso: RFC 8415 §16 "Message Validation", §18.3 "Server Behavior".
package final class DHCPv6Server: DatagramService {
  private let plan: UserNetworkPlan
  private let names: NetworkNames
  private let counters = Mutex(Counters())

  package init(plan: UserNetworkPlan, names: NetworkNames = NetworkNames()) {
    self.plan = plan
    self.names = names
  }

  package var ports: [UInt16] { [Self.serverPort] }

  private static let serverPort: UInt16 = 547

  package struct Counters: Sendable, Equatable {
    package var answered: UInt64 = 0
    package var declines: UInt64 = 0
    package var ignored: UInt64 = 0
  }
  package var statistics: Counters { counters.withLock { $0 } }

  package func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
    guard plan.hasV6, datagram.source.address.isV6,
      plan.guestHardware == nil || plan.guestHardware == datagram.hardwareSource,
      let request = DHCPv6Message(datagram.payload),
      let reply = answer(to: request)
    else { return counters.withLock { $0.ignored += 1 } }
    counters.withLock { $0.answered += 1 }
    let own = datagram.source.address.isLinkLocal ? plan.routerLinkLocal : plan.gatewayV6
    sender.send(
      reply.bytes, from: Endpoint(own, Self.serverPort), to: datagram.source,
      hardwareDestination: datagram.hardwareSource)
  }

  /// Our name: DUID-LL, §11.4.
  private var identifier: [UInt8] { [0, 3, 0, 1] + plan.gatewayHardware.bytes }
}

// MARK: - What is answered

extension DHCPv6Server {
  /// `nil`: nothing is to be answered.
  func answer(to request: DHCPv6Message) -> DHCPv6Message? {
    guard isValid(request) else { return nil }
    var reply = DHCPv6Message(.reply, transaction: request.transaction)
    if let client = request[.clientIdentifier] {
      reply.options.append(.init(.clientIdentifier, client))
    }
    reply.options.append(.init(.serverIdentifier, identifier))
    switch request.kind {
    case .solicit:
      if request[.rapidCommit] != nil {
        reply.options.append(.init(.rapidCommit))
      } else {
        reply.kind = .advertise
      }
      addAddresses(to: &reply, request)
    case .request, .renew, .rebind: addAddresses(to: &reply, request)
    case .confirm:
      // §18.3.3: a client that lists nothing is not answered.
      guard let isOnLink = isOnLink(request) else { return nil }
      reply.options.append(Self.status(isOnLink ? .success : .notOnLink))
    case .release: reply.options.append(Self.status(.success))
    case .decline:
      counters.withLock { $0.declines += 1 }
      reply.options.append(Self.status(.success))
    case .informationRequest: break
    case .advertise, .reply, .reconfigure: return nil
    }
    addParameters(to: &reply, request)
    return reply
  }

  /// §16: which messages name a client, and this server, and which may not.
  private func isValid(_ request: DHCPv6Message) -> Bool {
    let client = request[.clientIdentifier]
    // §11.1: at most 130 bytes.
    if let client, !(1...130).contains(client.count) { return false }
    let server = request[.serverIdentifier]
    switch request.kind {
    case .solicit, .confirm, .rebind: return client != nil && server == nil
    case .request, .renew, .release, .decline: return client != nil && server == identifier
    case .informationRequest:
      let hasAssociation = request.options.contains {
        [.addresses, .temporaryAddresses, .prefixes].contains($0.code)
      }
      return !hasAssociation && (server == nil || server == identifier)
    case .advertise, .reply, .reconfigure: return false
    }
  }

  /// Whether all addresses that the client has are of this link; `nil`: it has none.
  private func isOnLink(_ request: DHCPv6Message) -> Bool? {
    let addresses = request.options.filter { $0.code == .addresses }
      .flatMap { IdentityAssociation($0.value)?.addresses ?? [] }
    return addresses.isEmpty ? nil : addresses.allSatisfy(plan.isInside)
  }

  /// The one address goes into the first association; further ones stay without.
  private func addAddresses(to reply: inout DHCPv6Message, _ request: DHCPv6Message) {
    var hasGiven = false
    for option in request.options.prefix(Self.mostAssociations) {
      switch option.code {
      case .addresses:
        guard let association = IdentityAssociation(option.value) else { continue }
        reply.options.append(
          .init(.addresses, answer(to: association, gives: !hasGiven)))
        hasGiven = true
      case .temporaryAddresses where option.value.count >= 4:
        reply.options.append(
          .init(
            .temporaryAddresses,
            option.value.prefix(4) + DHCPv6Message.bytes([Self.status(.noAddresses)])))
      case .prefixes where option.value.count >= 12:
        reply.options.append(
          .init(
            .prefixes,
            option.value.prefix(4) + [UInt8](repeating: 0, count: 8)
              + DHCPv6Message.bytes([Self.status(.noPrefixes)])))
      default: break
      }
    }
  }

  /// Options that are looked at for associations, so that a message's answer is not much longer than it.
  private static let mostAssociations = 32

  private func answer(to association: IdentityAssociation, gives: Bool) -> [UInt8] {
    let valid = names.leaseSeconds
    let preferred = valid / 8 * 5
    var value: [UInt8] = []
    value.append(bigEndian: association.identifier)
    // §21.4: when to renew, and to rebind.
    value.append(bigEndian: gives ? preferred / 2 : 0)
    value.append(bigEndian: gives ? preferred / 5 * 4 : 0)
    guard gives else { return value + DHCPv6Message.bytes([Self.status(.noAddresses)]) }
    func address(_ address: IPAddress, _ preferred: UInt32, _ valid: UInt32)
      -> DHCPv6Message.Option
    {
      var value = address.bytes
      value.append(bigEndian: preferred)
      value.append(bigEndian: valid)
      return .init(.address, value)
    }
    var options = [address(plan.guestV6, preferred, valid)]
    // §18.3.4: addresses that the client should not use have no life left.
    for other in association.addresses.prefix(8) where other != plan.guestV6 {
      options.append(address(other, 0, 0))
    }
    return value + DHCPv6Message.bytes(options)
  }

  private func addParameters(to reply: inout DHCPv6Message, _ request: DHCPv6Message) {
    let wanted = request[.optionRequest].map { value in
      Set(
        stride(from: 0, to: value.count - 1, by: 2).map {
          UInt16(value[$0]) &<< 8 | UInt16(value[$0 + 1])
        })
    }
    let list = ([names.domain] + names.searchDomains).prefix(16).flatMap(\.wire)
    var parameters: [DHCPv6Message.Option] = [
      .init(.nameServers, plan.dnsV6.bytes), .init(.searchList, list),
    ]
    if let url = names.bootFileURL {
      parameters.append(.init(.bootFileURL, Array(url.utf8.prefix(1024))))
    }
    reply.options += parameters.filter { wanted?.contains($0.code.rawValue) ?? true }
  }

  private static func status(_ status: DHCPv6Message.Status) -> DHCPv6Message.Option {
    var value: [UInt8] = []
    value.append(bigEndian: status.rawValue)
    return .init(.status, value)
  }
}
