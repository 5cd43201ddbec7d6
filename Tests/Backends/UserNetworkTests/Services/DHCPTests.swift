import Kit
import Testing

@testable import UserNetwork

private typealias Code = DHCPMessage.Code

private struct DHCPBench {
  var plan = UserNetworkPlan()
  var names = NetworkNames()
  let sender = RecordingSender()

  func server() -> DHCPServer { DHCPServer(plan: plan, names: names) }

  /// What the guest gets for a request.
  func ask(_ request: DHCPMessage) -> (message: DHCPMessage, sent: RecordingSender.Sent)? {
    let server = server()
    server.receive(
      Datagram(
        request.bytes(limit: 1400), from: Endpoint(.anyV4, 68), to: Endpoint(.broadcast, 67)),
      sender)
    guard let sent = sender.take().last, let message = DHCPMessage(sent.payload) else { return nil }
    return (message, sent)
  }
}

private func request(
  _ kind: DHCPMessage.Kind, _ options: [(Code, [UInt8])] = []
) -> DHCPMessage {
  var message = DHCPMessage()
  message.transaction = 0x1234_5678
  message.clientHardware = guestHardware
  message.options = [(.messageType, [kind.rawValue])]
  message.options += options.map { (code: $0.0, value: $0.1) }
  return message
}

private let guest = IPAddress(10, 0, 2, 15)
private let gateway = IPAddress(10, 0, 2, 2)

@Suite struct `DHCP for version 4` {
  // RFC 2131 3.1
  @Test func `a guest that asks is offered its address, and given it`() throws {
    let bench = DHCPBench()
    let offer = try #require(bench.ask(request(.discover)))
    #expect(offer.message.kind == .offer && offer.message.isReply)
    #expect(offer.message.transaction == 0x1234_5678)
    #expect(offer.message.yourAddress == guest)
    #expect(offer.message.address(.serverIdentifier) == gateway)
    #expect(offer.message.address(.subnetMask) == IPAddress(255, 255, 255, 0))
    #expect(offer.message.address(.router) == gateway)
    #expect(offer.message.address(.nameServers) == IPAddress(10, 0, 2, 3))
    #expect(offer.message[.leaseTime] == [0, 1, 0x51, 0x80])
    #expect(offer.message[.interfaceMTU] == [5, 0xdc])
    #expect(offer.message[.hostName] == Array("roost".utf8))
    #expect(offer.message[.domainName] == Array("roost.internal".utf8))
    #expect(
      offer.message[.domainSearch] == [5] + Array("roost".utf8) + [8] + Array("internal".utf8) + [0]
    )
    let given = try #require(
      bench.ask(
        request(
          .request, [(.serverIdentifier, gateway.bytes), (.requestedAddress, guest.bytes)])))
    #expect(given.message.kind == .acknowledge && given.message.yourAddress == guest)
  }

  // RFC 2131 4.1
  @Test func `an answer goes to the guest's card, or to all if it asks for that`() throws {
    let bench = DHCPBench()
    var message = request(.discover)
    let direct = try #require(bench.ask(message)).sent
    #expect(direct.from == Endpoint(gateway, 67) && direct.to == Endpoint(guest, 68))
    #expect(direct.hardware == guestHardware)
    message.wantsBroadcast = true
    let toAll = try #require(bench.ask(message)).sent
    #expect(toAll.to == Endpoint(.broadcast, 68) && toAll.hardware == .broadcast)
    message = request(.request)
    message.clientAddress = guest
    message.wantsBroadcast = true
    #expect(try #require(bench.ask(message)).sent.to == Endpoint(guest, 68))
  }

  // RFC 2131 4.3.2
  @Test func `an address of another network is refused`() throws {
    let bench = DHCPBench()
    let other = IPAddress(192, 168, 1, 7)
    let rebooted = try #require(bench.ask(request(.request, [(.requestedAddress, other.bytes)])))
    #expect(rebooted.message.kind == .refuse && rebooted.message.yourAddress == .anyV4)
    #expect(rebooted.sent.to == Endpoint(.broadcast, 68))
    var renewing = request(.request)
    renewing.clientAddress = IPAddress(10, 0, 2, 99)
    #expect(bench.ask(renewing)?.message.kind == .refuse)
    renewing.clientAddress = other
    #expect(bench.ask(renewing)?.message.kind == .refuse)
    renewing.clientAddress = guest
    #expect(bench.ask(renewing)?.message.kind == .acknowledge)
  }

  @Test func `a request to another server is not ours`() {
    let message = request(
      .request, [(.serverIdentifier, [10, 0, 2, 77]), (.requestedAddress, guest.bytes)])
    #expect(DHCPBench().ask(message) == nil)
  }

  // RFC 2131 4.3.5
  @Test func `who has an address is told the rest`() throws {
    let bench = DHCPBench()
    var message = request(.inform)
    message.clientAddress = guest
    let answer = try #require(bench.ask(message)).message
    #expect(answer.kind == .acknowledge && answer.yourAddress == .anyV4)
    #expect(answer[.leaseTime] == nil && answer.address(.router) == gateway)
  }

  @Test func `releases and declines are counted, and not answered`() {
    let server = DHCPBench().server()
    let sender = RecordingSender()
    for kind in [DHCPMessage.Kind.release, .decline, .offer] {
      server.receive(
        Datagram(
          request(kind).bytes(limit: 1400), from: Endpoint(guest, 68), to: Endpoint(gateway, 67)),
        sender)
    }
    #expect(sender.sent.isEmpty)
    #expect(server.statistics.releases == 1 && server.statistics.declines == 1)
  }

  @Test func `another card than the guest's, a relay, and a group are not answered`() {
    var bench = DHCPBench()
    bench.plan.guestHardware = MACAddress(rawValue: 0x5254_0000_0001)
    #expect(bench.ask(request(.discover)) == nil)
    bench.plan.guestHardware = guestHardware
    #expect(bench.ask(request(.discover)) != nil)
    var message = request(.discover)
    message.relayAddress = IPAddress(10, 0, 2, 9)
    #expect(bench.ask(message) == nil)
    bench.plan.guestHardware = nil
    message = request(.discover)
    message.clientHardware = MACAddress(rawValue: 0x0100_0000_0001)
    #expect(bench.ask(message) == nil)
  }

  @Test func `who asks for some parameters is given those`() throws {
    let message = request(.discover, [(.parameterRequestList, [1, 3])])
    let answer = try #require(DHCPBench().ask(message)).message
    #expect(answer[.subnetMask] != nil && answer[.router] != nil)
    #expect(answer[.hostName] == nil && answer[.nameServers] == nil)
  }

  // RFC 6842 3
  @Test func `a client's identifier comes back`() throws {
    let message = request(.discover, [(.clientIdentifier, [1, 2, 3, 4])])
    #expect(try #require(DHCPBench().ask(message)).message[.clientIdentifier] == [1, 2, 3, 4])
  }

  // RFC 2131 2, RFC 2132 9.4 and 9.5
  @Test func `a boot ROM is told server and file, in fields and options`() throws {
    var bench = DHCPBench()
    bench.names.bootFile = "pxelinux.0"
    let answer = try #require(
      bench.ask(request(.discover, [(.parameterRequestList, [1, 66, 67])]))
    )
    .message
    #expect(answer.nextServer == gateway)
    #expect(answer.bootFile == Array("pxelinux.0".utf8))
    #expect(answer[.bootFileName] == Array("pxelinux.0".utf8))
    #expect(answer[.bootServerName] == Array("10.0.2.2".utf8))
    bench.names.bootServer = IPAddress(192, 0, 2, 1)
    #expect(bench.ask(request(.discover))?.message.nextServer == IPAddress(192, 0, 2, 1))
  }

  // RFC 3442
  @Test func `classless routes have short prefixes and the way out`() throws {
    var bench = DHCPBench()
    bench.names.routes = [
      try #require(.init(IPAddress(10, 229, 0, 128), 25, via: IPAddress(10, 0, 2, 1)))
    ]
    let answer = try #require(bench.ask(request(.discover))).message
    #expect(
      answer[.classlessRoutes]
        == [25, 10, 229, 0, 128, 10, 0, 2, 1] + [0, 10, 0, 2, 2])
  }

  // RFC 2132 9.3, RFC 3396 5
  @Test func `options go on in the fields for file and server, and long ones are put together`()
    throws
  {
    var bytes = request(.request).bytes(limit: 1400)
    let options: [UInt8] = [53, 1, 3, 52, 1, 3, 61, 2, 1, 2, 255]
    bytes.replaceSubrange(240..<240 + options.count, with: options)
    let file: [UInt8] = [50, 4, 10, 0, 2, 15, 255]
    bytes.replaceSubrange(108..<108 + file.count, with: file)
    let server: [UInt8] = [0, 0, 61, 2, 3, 4]
    bytes.replaceSubrange(44..<44 + server.count, with: server)
    let message = try #require(DHCPMessage(bytes))
    #expect(message.address(.requestedAddress) == guest)
    #expect(message[.clientIdentifier] == [1, 2, 3, 4])
    #expect(message.bootFile.isEmpty && message.serverName.isEmpty)
  }

  @Test func `an option that leaves its field spoils the message`() {
    var bytes = request(.discover).bytes(limit: 1400)
    bytes.replaceSubrange(240..<244, with: [53, 1, 1, 12])
    bytes[244] = 255
    #expect(DHCPMessage(Array(bytes[..<250])) == nil)
    #expect(DHCPMessage(Array(bytes[..<239])) == nil)
    bytes[236] = 0
    #expect(DHCPMessage(bytes) == nil)
  }

  // RFC 2132 9.10
  @Test func `an answer is as long as the guest takes, and no longer`() throws {
    var bench = DHCPBench()
    bench.names.searchDomains = try (0..<15).map {
      try #require(DomainName("a-rather-long-name-of-a-domain-\($0).example.org"))
    }
    let short = try #require(bench.ask(request(.discover)))
    #expect(short.sent.payload.count <= 548 && short.message[.domainSearch] == nil)
    let long = try #require(bench.ask(request(.discover, [(.maximumMessageSize, [5, 0xdc])])))
    #expect(long.sent.payload.count <= 1472)
    #expect(try #require(long.message[.domainSearch]).count > 600)
  }

  @Test func `nothing that a guest sends makes it trap`() {
    var chance = Kit.Chance(seed: 21)
    let server = DHCPBench().server()
    let sender = RecordingSender()
    for _ in 0..<5000 {
      let kind = DHCPMessage.Kind(rawValue: UInt8(1 + chance.number(below: 8))) ?? .discover
      let options = (0..<chance.number(below: 6)).map { _ in
        (Code(rawValue: UInt8(1 + chance.number(below: 130))), chance.bytes(upTo: 40))
      }
      var message = request(kind, options)
      message.clientAddress = IPAddress(v4: UInt32(truncatingIfNeeded: chance.value()))
      let bytes = chance.spoilt(message.bytes(limit: 1400))
      server.receive(
        Datagram(bytes, from: Endpoint(.anyV4, 68), to: Endpoint(.broadcast, 67)), sender)
      for sent in sender.take() {
        #expect(sent.payload.count <= 1472)
        #expect(DHCPMessage(sent.payload) != nil)
        #expect(sent.to.address == .broadcast || UserNetworkPlan().isInside(sent.to.address))
      }
    }
  }
}
