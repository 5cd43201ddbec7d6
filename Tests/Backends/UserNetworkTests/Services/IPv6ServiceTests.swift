import Kit
import Testing

@testable import UserNetwork

private typealias Option = DHCPv6Message.Option

private let client: [UInt8] = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]
private let server: [UInt8] = [0, 3, 0, 1, 0x52, 0x55, 0x0a, 0, 2, 2]
private let guestLinkLocal = IPAddress(v6: 0xfe80_0000_0000_0000, 0x5054_00ff_fe12_3456)

private func association(_ identifier: UInt8, _ addresses: [IPAddress] = []) -> Option {
  Option(
    .addresses,
    [0, 0, 0, identifier] + [UInt8](repeating: 0, count: 8)
      + DHCPv6Message.bytes(
        addresses.map { Option(.address, $0.bytes + [UInt8](repeating: 0, count: 8)) }))
}

private func ask(
  _ kind: DHCPv6Message.Kind, _ options: [Option], names: NetworkNames = NetworkNames()
) -> DHCPv6Message? {
  DHCPv6Server(plan: UserNetworkPlan(), names: names).answer(
    to: DHCPv6Message(kind, transaction: 0xabcdef, options: options))
}

/// Address, preferred and valid seconds of each address in an association.
private func addresses(_ value: [UInt8]) -> [(IPAddress, UInt32, UInt32)] {
  (DHCPv6Message.options(Array(value[12...])) ?? []).filter { $0.code == .address }.map {
    func number(_ at: Int) -> (DHCPv6Message.Option) -> UInt32 {
      { option in option.value[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
    }
    return (IPAddress(bytes: $0.value[..<16])!, number(16)($0), number(20)($0))
  }
}

@Suite struct `Router advertisements` {
  // RFC 4861 4.2, 4.6; RFC 8106 5
  @Test func `prefix, router, name server, search list and unit are told`() {
    let bytes = RouterAdvertisement(plan: UserNetworkPlan()).routerAdvertisement()
    #expect(bytes[..<8] == [134, 0, 0, 0, 64, 0xc0, 7, 8])
    var options: [UInt8: [UInt8]] = [:]
    var offset = 16
    while offset < bytes.count {
      let length = Int(bytes[offset + 1]) * 8
      options[bytes[offset]] = Array(bytes[offset..<offset + length])
      offset += length
    }
    #expect(offset == bytes.count)
    #expect(options[1] == [1, 1, 0x52, 0x55, 0x0a, 0, 2, 2])
    #expect(options[5] == [5, 1, 0, 0, 0, 0, 5, 0xdc])
    #expect(options[3]?[..<4] == [3, 4, 64, 0xc0])
    #expect(options[3]?.suffix(16) == UserNetworkPlan().prefixV6.bytes[...])
    #expect(options[25]?.suffix(16) == UserNetworkPlan().dnsV6.bytes[...])
    #expect(
      options[31]?[8..<24] == ([5] + Array("roost".utf8) + [8] + Array("internal".utf8) + [0])[...])
  }

  @Test func `a network without version 6 advertises nothing`() {
    var plan = UserNetworkPlan()
    plan.hasV6 = false
    #expect(RouterAdvertisement(plan: plan).routerAdvertisement().isEmpty)
  }

  @Test func `a list that would not fit is cut at a name`() throws {
    var names = NetworkNames()
    let label = String(repeating: "x", count: 60)
    names.searchDomains = try (0..<60).map {
      try #require(DomainName("\(label).\(label).\(label).n\($0)"))
    }
    let bytes = RouterAdvertisement(plan: UserNetworkPlan(), names: names).routerAdvertisement()
    #expect(bytes.count % 8 == 0 && bytes.count < 1232)
  }
}

@Suite struct `DHCP for version 6` {
  // RFC 8415 18.3.1, 18.3.2
  @Test func `a guest that solicits is advertised its address, and given it`() throws {
    let advertised = try #require(
      ask(.solicit, [Option(.clientIdentifier, client), association(7)]))
    #expect(advertised.kind == .advertise && advertised.transaction == 0xabcdef)
    #expect(advertised[.clientIdentifier] == client && advertised[.serverIdentifier] == server)
    let value = try #require(advertised[.addresses])
    #expect(value[..<4] == [0, 0, 0, 7])
    #expect(addresses(value).map(\.0) == [UserNetworkPlan().guestV6])
    #expect(addresses(value).allSatisfy { 0 < $0.1 && $0.1 <= $0.2 })
    #expect(advertised[.nameServers] == UserNetworkPlan().dnsV6.bytes)
    let given = try #require(
      ask(
        .request,
        [Option(.clientIdentifier, client), Option(.serverIdentifier, server), association(7)]))
    #expect(given.kind == .reply)
    #expect(addresses(try #require(given[.addresses])).map(\.0) == [UserNetworkPlan().guestV6])
  }

  // RFC 8415 18.3.1
  @Test func `a hurried guest is served at once`() throws {
    let reply = try #require(
      ask(.solicit, [Option(.clientIdentifier, client), Option(.rapidCommit), association(1)]))
    #expect(reply.kind == .reply && reply[.rapidCommit] == [])
  }

  // RFC 8415 16
  @Test func `messages that name nobody, or another server, are dropped`() {
    let id = Option(.clientIdentifier, client)
    let own = Option(.serverIdentifier, server)
    let other = Option(.serverIdentifier, [0, 3, 0, 1, 1, 1, 1, 1, 1, 1])
    #expect(ask(.solicit, [association(1)]) == nil)
    #expect(ask(.solicit, [id, own]) == nil)
    #expect(ask(.request, [id, association(1)]) == nil)
    #expect(ask(.request, [id, other, association(1)]) == nil)
    #expect(ask(.rebind, [id, own]) == nil)
    #expect(ask(.informationRequest, [association(1)]) == nil)
    #expect(ask(.informationRequest, [other]) == nil)
    #expect(ask(.reply, [id, own]) == nil)
    #expect(ask(.solicit, [Option(.clientIdentifier, [UInt8](repeating: 1, count: 131))]) == nil)
    #expect(ask(.solicit, [Option(.clientIdentifier)]) == nil)
  }

  // RFC 8415 18.3.3
  @Test func `a moved guest learns whether its address is still of this link`() throws {
    let id = Option(.clientIdentifier, client)
    let here = try #require(ask(.confirm, [id, association(1, [UserNetworkPlan().guestV6])]))
    #expect(here[.status] == [0, 0])
    let elsewhere = IPAddress(v6: 0x2001_0db8_0000_0000, 1)
    let there = try #require(ask(.confirm, [id, association(1, [elsewhere])]))
    #expect(there[.status] == [0, 4])
    #expect(ask(.confirm, [id, association(1)]) == nil)
  }

  // RFC 8415 18.3.4
  @Test func `other addresses lose their life, and a second association gets none`() throws {
    let id = Option(.clientIdentifier, client)
    let other = IPAddress(v6: 0x2001_0db8_0000_0000, 1)
    let reply = try #require(
      ask(.renew, [id, Option(.serverIdentifier, server), association(1, [other]), association(2)]))
    let associations = reply.options.filter { $0.code == .addresses }.map(\.value)
    #expect(associations.count == 2)
    #expect(addresses(associations[0]).map(\.0) == [UserNetworkPlan().guestV6, other])
    #expect(addresses(associations[0])[1].2 == 0)
    #expect(addresses(associations[1]).isEmpty)
    #expect(associations[1].suffix(2) == [0, 2])
  }

  // RFC 5970 3.1
  @Test func `a boot ROM is told where its file is, if it asks`() throws {
    var names = NetworkNames()
    names.bootFileURL = "tftp://[fd00::2]/boot.efi"
    let asked = try #require(
      ask(.informationRequest, [Option(.optionRequest, [0, 59])], names: names))
    #expect(asked[.bootFileURL] == Array("tftp://[fd00::2]/boot.efi".utf8))
    #expect(asked[.nameServers] == nil)
    let other = try #require(
      ask(.informationRequest, [Option(.optionRequest, [0, 23])], names: names))
    #expect(other[.bootFileURL] == nil && other[.nameServers] != nil)
  }

  @Test func `an answer goes back to where the question came from`() throws {
    let sender = RecordingSender()
    let message = DHCPv6Message(
      .solicit, transaction: 1, options: [Option(.clientIdentifier, client), association(1)])
    let group = IPAddress(v6: 0xff02_0000_0000_0000, 0x1_0002)
    DHCPv6Server(plan: UserNetworkPlan()).receive(
      Datagram(message.bytes, from: Endpoint(guestLinkLocal, 546), to: Endpoint(group, 547)), sender
    )
    let sent = try #require(sender.sent.first)
    #expect(sent.from == Endpoint(UserNetworkPlan().routerLinkLocal, 547))
    #expect(sent.to == Endpoint(guestLinkLocal, 546) && sent.hardware == guestHardware)
  }

  @Test func `nothing that a guest sends makes it trap, or answer at length`() {
    var chance = Kit.Chance(seed: 22)
    let service = DHCPv6Server(plan: UserNetworkPlan())
    let sender = RecordingSender()
    for _ in 0..<5000 {
      let kind = DHCPv6Message.Kind(rawValue: UInt8(1 + chance.number(below: 11))) ?? .solicit
      var options = [Option(.clientIdentifier, client)]
      if chance.number(below: 2) == 0 { options.append(Option(.serverIdentifier, server)) }
      for _ in 0..<chance.number(below: 40) {
        switch chance.number(below: 3) {
        case 0: options.append(association(chance.byte(), [UserNetworkPlan().guestV6]))
        default:
          options.append(
            Option(
              .init(rawValue: UInt16(chance.number(below: 80))), chance.bytes(upTo: 40)))
        }
      }
      let bytes = chance.spoilt(DHCPv6Message(kind, transaction: 1, options: options).bytes)
      service.receive(
        Datagram(
          bytes, from: Endpoint(guestLinkLocal, 546),
          to: Endpoint(UserNetworkPlan().gatewayV6, 547)),
        sender)
      for sent in sender.take() {
        #expect(DHCPv6Message(sent.payload) != nil)
        #expect(sent.payload.count < bytes.count * 4 + 4096)
      }
    }
  }
}
