import HostOS
import Kit
import Testing
import Work

@testable import UserNetwork

/// Resolvers that nobody can reach.
private final class NoTransport: ResolverTransport {
  func open(
    to resolver: Endpoint, _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? { nil }
}

@Suite struct `Services on the network` {
  private func bench(_ rules: [EgressRule]? = nil) -> (Bench, NetworkServices) {
    let loop = ManualLoop()
    let services = NetworkServices(
      plan: UserNetworkPlan(), rules: rules, resolvers: FixedResolvers([]),
      transport: NoTransport(), clock: ManualClock(), loop: loop)
    return (
      Bench(
        services: services.services, policy: services.policy, advertiser: services.advertiser),
      services
    )
  }

  @Test func `a guest without an address is offered one over the cable`() throws {
    let (bench, services) = bench()
    var discover = DHCPMessage()
    discover.clientHardware = Guest.hardware
    discover.options = [(.messageType, [1])]
    bench.send(
      Make.udp(
        discover.bytes(limit: 1400), from: Endpoint(.anyV4, 68), to: Endpoint(.broadcast, 67)))
    let reply = try #require(bench.reads().first)
    #expect(reply.destination == Guest.v4)
    #expect(services.dhcp.statistics.offers == 1)
  }

  @Test func `a name of the network's own is answered over the cable`() throws {
    let (bench, services) = bench()
    let question: [UInt8] =
      [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + DomainName("host.roost.internal")!.wire + [0, 1, 0, 1]
    bench.send(
      Make.udp(
        question, from: Endpoint(Guest.v4, 4000), to: Endpoint(UserNetworkPlan().dnsV4, 53)))
    #expect(bench.reads().count == 1)
    #expect(services.nameServer.statistics.answeredHere == 1)
  }
}
