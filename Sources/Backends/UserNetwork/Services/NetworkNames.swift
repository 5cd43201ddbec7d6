/// What the services of a user network hand out beside addresses: names, boot files, routes.
package struct NetworkNames: Sendable {
  /// The domain of the guest and of the names that are answered here: never asked for outside.
  package var domain = DomainName("roost.internal") ?? .root
  /// Where the guest looks for short names, after `domain`.
  package var searchDomains: [DomainName] = []
  /// Names that are answered here, whatever the outside says.
  package var hosts: [DomainName: [IPAddress]] = [:]

  /// The file that a guest boots from the network, as TFTP knows it.
  package var bootFile: String?
  /// Where a guest without version 4 finds it: RFC 5970 3.1.
  package var bootFileURL: String?
  /// The server of `bootFile`; `nil`: the router, which is ours.
  package var bootServer: IPAddress?

  /// Networks of version 4 that are reached by other ways than the router.
  package var routes: [Route] = []
  /// Seconds for which the guest may keep its address without asking again.
  package var leaseSeconds: UInt32 = 86_400

  package init() {}

  /// A classless static route.
  package struct Route: Sendable, Hashable {
    package var prefix: IPAddress
    package var prefixLength: Int
    package var router: IPAddress

    /// `nil`: not of version 4, or a prefix of more than its bits.
    package init?(_ prefix: IPAddress, _ prefixLength: Int, via router: IPAddress) {
      guard !prefix.isV6, !router.isV6, (0...32).contains(prefixLength) else { return nil }
      self.prefix = prefix
      self.prefixLength = prefixLength
      self.router = router
    }
  }
}

extension NetworkNames {
  /// All names that are answered here: those given, the guest's, and `host`, `gateway` and `dns` in the domain.
  func answers(_ plan: UserNetworkPlan) -> [DomainName: [IPAddress]] {
    func addresses(_ v4: IPAddress, _ v6: IPAddress) -> [IPAddress] {
      (plan.hasV4 ? [v4] : []) + (plan.hasV6 ? [v6] : [])
    }
    var result: [DomainName: [IPAddress]] = [:]
    func add(_ label: String, _ addresses: [IPAddress], alsoAlone: Bool = false) {
      if let name = DomainName("\(label).\(domain)") { result[name] = addresses }
      if alsoAlone, let name = DomainName(label) { result[name] = addresses }
    }
    add("host", addresses(plan.gatewayV4, plan.gatewayV6))
    add("gateway", addresses(plan.gatewayV4, plan.gatewayV6))
    add("dns", addresses(plan.dnsV4, plan.dnsV6))
    add(plan.hostName, addresses(plan.guestV4, plan.guestV6), alsoAlone: true)
    return result.merging(hosts) { $1 }
  }
}
