/// What of the outside the guest may reach.
extension NetworkStack {
  enum Route {
    /// To this endpoint, as the host names it.
    case outside(Endpoint)
    /// Nobody answers at this port of the network's own addresses.
    case closed
    case unreachable
    case forbidden
  }

  /// Where a new flow leads. The host's own services on its loopback are behind no firewall and ask for no password, so
  /// they are reached by the gateway's address only, and only if the plan says so; so are link-local addresses, at
  /// which clouds keep a host's credentials.
  func route(to endpoint: Endpoint, _ transport: Transport) -> Route {
    let address = endpoint.address
    if plan.isOwn(address) {
      let isGateway = address == plan.gatewayV4 || address == plan.gatewayV6
      guard plan.allowsHostLoopback, isGateway else { return .closed }
      let loopback = address.isV6 ? IPAddress.loopbackV6 : .loopbackV4
      return mayConnect(endpoint, transport)
        ? .outside(Endpoint(loopback, endpoint.port)) : .forbidden
    }
    if plan.isInside(address) { return .unreachable }
    guard isOutside(address), !host.isLoopback(address), mayConnect(endpoint, transport) else {
      return .forbidden
    }
    return .outside(endpoint)
  }

  private func mayConnect(_ endpoint: Endpoint, _ transport: Transport) -> Bool {
    policy?.mayConnect(to: endpoint, transport) ?? true
  }

  /// Whether the address is one of another host's, by its form.
  private func isOutside(_ address: IPAddress) -> Bool {
    guard !address.isMulticast, !address.isLoopback, !address.isUnspecified else { return false }
    guard address.isV6 else {
      // RFC 1122 3.2.1.3 (a), RFC 1112 4, RFC 919 7: this network, reserved, broadcast.
      let first = address.v4 &>> 24
      return first != 0 && first < 240 && (plan.allowsLinkLocal || !address.isLinkLocal)
    }
    // A link-local address of version 6 says nothing without its link, and mapped ones are the host's own notation.
    if address.isLinkLocal { return false }
    guard let embedded = address.embeddedV4 else { return true }
    return address.high != 0 && isOutside(embedded) && !host.isLoopback(embedded)
  }
}
