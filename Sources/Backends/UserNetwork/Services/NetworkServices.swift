package import Work

/// All that answers the guest on a user network, made from what the network hands out: what `UserNetwork` is given.
package struct NetworkServices: Sendable {
  package let dhcp: DHCPServer
  package let dhcpV6: DHCPv6Server
  package let nameServer: NameServer
  package let tftp: TFTPServer?
  package let advertiser: RouterAdvertisement
  package let policy: EgressRules?

  /// `rules`: what the guest may reach; `nil`: everything. `folder`: what it may read by TFTP.
  package init(
    plan: UserNetworkPlan, names: NetworkNames = NetworkNames(), rules: [EgressRule]? = nil,
    folder: TFTPFolder? = nil, resolvers: any ResolverSource = HostResolvers(),
    transport: any ResolverTransport, clock: any VMClock, loop: any Loop
  ) {
    let policy = rules.map { EgressRules($0, clock: clock) }
    self.policy = policy
    dhcp = DHCPServer(plan: plan, names: names)
    dhcpV6 = DHCPv6Server(plan: plan, names: names)
    nameServer = NameServer(
      plan: plan, names: names, rules: policy, resolvers: resolvers, transport: transport,
      clock: clock, loop: loop)
    tftp = folder.map { TFTPServer(plan: plan, folder: $0, clock: clock, loop: loop) }
    advertiser = RouterAdvertisement(plan: plan, names: names)
  }

  /// Those that answer datagrams.
  package var services: [any DatagramService] {
    let always: [any DatagramService] = [dhcp, dhcpV6, nameServer]
    return always + (tftp.map { [$0] } ?? [])
  }

  /// Those that answer connections.
  package var streamServices: [any StreamService] { [nameServer] }
}
