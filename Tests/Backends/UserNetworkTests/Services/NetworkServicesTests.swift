import HostOS
import Kit
import Testing
import Work

@testable import UserNetwork

/// Resolvers that nobody can reach.
private final class NoTransport: ResolverTransport {
  func open(
    to resolver: Endpoint, by transport: Transport,
    _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? { nil }
}

@Suite struct `Services on the network` {
  private func bench(_ rules: [EgressRule]? = nil) -> (Bench, NetworkServices) {
    let loop = ManualLoop()
    let clock = ManualClock()
    let services = NetworkServices(
      plan: UserNetworkPlan(), rules: rules, resolvers: FixedResolvers([]),
      transport: NoTransport(), clock: clock, loop: loop)
    return (
      Bench(
        loop: loop, clock: clock, services: services.services,
        streamServices: services.streamServices,
        policy: services.policy, advertiser: services.advertiser),
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

  @Test(arguments: [false, true])
  func `a name of the network's own is answered by TCP over the cable`(_ isV6: Bool) throws {
    let (bench, services) = bench()
    let plan = UserNetworkPlan()
    let question: [UInt8] = DNSWire.question("host.roost.internal", type: isV6 ? 28 : 1)
    let stream = split(UInt16(question.count)) + question
    // The length and the question are in segments of their own: the first of one byte.
    var options = GuestTCP.Options()
    options.frameSize = 1
    let guest = GuestTCP(
      from: Endpoint(isV6 ? Guest.v6 : Guest.v4, 40_000),
      to: Endpoint(isV6 ? plan.dnsV6 : plan.dnsV4, 53), options: options)
    var received: [UInt8] = []
    guest.onReceive = { received += $0 }
    let cable = TransferBench(bench)
    cable.add(guest)
    guest.connect(now: cable.now)
    guest.send(
      total: stream.count, finishing: true, { Array(stream[$0..<$0 + $1]) }, now: cable.now)
    #expect(cable.run { guest.sawEnd && guest.endIsAcknowledged })
    #expect(received.count == Int(received[0]) << 8 + Int(received[1]) + 2)
    let message = try #require(DNSMessage(Array(received[2...])))
    let address = isV6 ? plan.gatewayV6 : plan.gatewayV4
    #expect(message.answers()?.map { Array(message.bytes[$0.data]) } == [address.bytes])
    #expect(services.nameServer.statistics.connections == 1)
    #expect(cable.run { bench.network.statistics.streams == 0 })
  }

  @Test func `a connection to the name server ends from its side when idle, and by a reset`() throws
  {
    let (bench, _) = bench()
    let plan = UserNetworkPlan()
    let cable = TransferBench(bench)
    let guests = (0..<2).map {
      GuestTCP(from: Endpoint(Guest.v4, 40_000 + $0), to: Endpoint(plan.dnsV4, 53))
    }
    for guest in guests {
      cable.add(guest)
      guest.connect(now: cable.now)
    }
    #expect(cable.run { guests.allSatisfy { $0.state == .established } })
    guests[0].reset()
    #expect(cable.run { bench.network.statistics.streams == 1 })
    bench.clock.advance(by: NameServer.idle)
    #expect(cable.run { guests[1].sawEnd })
  }

  @Test func `a reset of the machine closes the name server's connections`() throws {
    let (bench, services) = bench()
    let cable = TransferBench(bench)
    for round in 0..<NameServer.mostConnections + 1 {
      let guest = GuestTCP(
        from: Endpoint(Guest.v4, UInt16(1000 + round)), to: Endpoint(UserNetworkPlan().dnsV4, 53))
      cable.add(guest)
      guest.connect(now: cable.now)
      #expect(cable.run(turns: 20) { guest.state == .established })
      if round == NameServer.mostConnections - 1 { bench.network.reset() }
    }
    #expect(services.nameServer.statistics.connectionsRefused == 0)
    #expect(bench.network.statistics.streams == 1)
  }
}
