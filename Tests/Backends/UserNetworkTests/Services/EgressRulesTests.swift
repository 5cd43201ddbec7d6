import Kit
import Testing
import Work

@testable import UserNetwork

private func rules(_ texts: String..., clock: ManualClock = ManualClock()) throws -> EgressRules {
  EgressRules(try texts.map { try EgressRule($0) }, clock: clock)
}

private let public1 = IPAddress(198, 51, 100, 7)
private let public2 = IPAddress(v6: 0x2001_0db8_0000_0000, 7)

@Suite struct `Egress rules` {
  @Test(arguments: [
    ("*", EgressRule(.anything)),
    ("debian.org", EgressRule(.name(DomainName("debian.org")!))),
    ("*.Debian.org", EgressRule(.below(DomainName("debian.org")!))),
    (
      "debian.org:80,8000-8100",
      EgressRule(.name(DomainName("debian.org")!), ports: [80...80, 8000...8100])
    ),
    ("192.0.2.1", EgressRule(.network(IPAddress(192, 0, 2, 1), length: 32))),
    (
      "192.0.2.0/24:53", EgressRule(.network(IPAddress(192, 0, 2, 0), length: 24), ports: [53...53])
    ),
    ("2001:db8::/32", EgressRule(.network(IPAddress(v6: 0x2001_0db8_0000_0000, 0), length: 32))),
    (
      "[2001:db8::7]:443",
      EgressRule(.network(IPAddress(v6: 0x2001_0db8_0000_0000, 7), length: 128), ports: [443...443])
    ),
  ])
  func `every form is understood`(_ text: String, _ rule: EgressRule) throws {
    #expect(try EgressRule(text) == rule)
  }

  @Test(arguments: [
    "", ":80", "a b", "debian.org:", "debian.org:x", "debian.org:0x50", "debian.org:80-70",
    "debian.org:70000", "debian.org:1-2-3", "*.", "a.*.b", "192.0.2.0/33", "192.0.2.0/24/1",
    "192.0.2.256", "[2001:db8::1", "[2001:db8::1]x", "http://debian.org", "debian.org/path",
    "1.2.3", "192.0.2.0/-1",
  ])
  func `everything else is refused with a sentence`(_ text: String) {
    let mistake = #expect(throws: EgressRule.Mistake.self) { try EgressRule(text) }
    #expect(mistake?.description.hasPrefix("cannot use the egress rule \"\(text)\": ") == true)
  }

  @Test func `addresses on the list may be reached, at its ports`() throws {
    let rules = try rules("198.51.100.0/24:80", "[2001:db8::/32]:443")
    #expect(rules.mayConnect(to: Endpoint(public1, 80), .tcp))
    #expect(!rules.mayConnect(to: Endpoint(public1, 81), .tcp))
    #expect(!rules.mayConnect(to: Endpoint(IPAddress(198, 51, 101, 7), 80), .tcp))
    #expect(rules.mayConnect(to: Endpoint(public2, 443), .udp))
    #expect(rules.mayConnect(to: Endpoint(public1, 1234), .echo))
    #expect(!rules.mayConnect(to: Endpoint(IPAddress(v6: 0x2001_0db9_0000_0000, 7), 443), .tcp))
  }

  @Test func `a pattern is for the names below, and a name for itself`() throws {
    let rules = try rules("*.debian.org", "example.org")
    #expect(rules.mayResolve(DomainName("deb.DEBIAN.org")!))
    #expect(rules.mayResolve(DomainName("a.b.debian.org")!))
    #expect(!rules.mayResolve(DomainName("debian.org")!))
    #expect(!rules.mayResolve(DomainName("notdebian.org")!))
    #expect(!rules.mayResolve(DomainName("debian.org.evil.com")!))
    #expect(rules.mayResolve(DomainName("example.org")!))
    #expect(!rules.mayResolve(DomainName("www.example.org")!))
  }

  @Test func `an address is reachable after an answer, for as long as that holds`() throws {
    let clock = ManualClock()
    let rules = try rules("*.debian.org:443", clock: clock)
    let endpoint = Endpoint(public1, 443)
    #expect(!rules.mayConnect(to: endpoint, .tcp))
    rules.resolved("deb.debian.org", to: [public1], ttl: 300)
    #expect(rules.mayConnect(to: endpoint, .tcp))
    #expect(!rules.mayConnect(to: Endpoint(public1, 80), .tcp))
    clock.advance(by: 299_000_000_000)
    #expect(rules.mayConnect(to: endpoint, .tcp))
    clock.advance(by: 2_000_000_000)
    #expect(!rules.mayConnect(to: endpoint, .tcp))
  }

  @Test
  func `short lives are made long enough to connect, and a short answer does not undo a long one`()
    throws
  {
    let clock = ManualClock()
    let rules = try rules("debian.org", clock: clock)
    rules.resolved("debian.org", to: [public1], ttl: 0)
    clock.advance(by: 59_000_000_000)
    #expect(rules.mayConnect(to: Endpoint(public1, 1), .tcp))
    rules.resolved("debian.org", to: [public1], ttl: 600)
    rules.resolved("debian.org", to: [public1], ttl: 0)
    clock.advance(by: 500_000_000_000)
    #expect(rules.mayConnect(to: Endpoint(public1, 1), .tcp))
  }

  @Test func `answers for other names make nothing reachable`() throws {
    let rules = try rules("debian.org")
    rules.resolved("evil.org", to: [public1], ttl: 300)
    #expect(!rules.mayConnect(to: Endpoint(public1, 443), .tcp))
  }

  @Test func `private addresses are believed only if the list has them`() throws {
    let rules = try rules("*", "10.1.0.0/16")
    for address in [
      IPAddress(10, 0, 0, 1), IPAddress(127, 0, 0, 1), IPAddress(192, 168, 0, 1),
      IPAddress(169, 254, 169, 254), IPAddress(100, 64, 0, 1), IPAddress(172, 31, 0, 1), .anyV4,
      .loopbackV6, IPAddress(v6: 0xfd00_0000_0000_0000, 1), IPAddress(v6: 0, 0xffff_0a00_0001),
      IPAddress(v6: 0xfe80_0000_0000_0000, 1), IPAddress(v6: 0x0064_ff9b_0000_0000, 0x0a00_0001),
    ] { #expect(!rules.mayBelieve(address), "\(address)") }
    for address in [public1, public2, IPAddress(10, 1, 2, 3), IPAddress(172, 32, 0, 1)] {
      #expect(rules.mayBelieve(address), "\(address)")
    }
  }

  @Test func `no number of answers takes more than its share of memory`() throws {
    let rules = try rules("*.evil.org")
    for number in 0..<20_000 {
      rules.resolved(
        "n\(number).evil.org", to: [IPAddress(v4: 0x0800_0000 + UInt32(number))],
        ttl: UInt32(number))
    }
    let known = (0..<20_000).count {
      rules.mayConnect(to: Endpoint(IPAddress(v4: 0x0800_0000 + UInt32($0)), 1), .tcp)
    }
    #expect(known <= EgressRules.capacity && known > EgressRules.capacity / 2)
    #expect(rules.mayConnect(to: Endpoint(IPAddress(v4: 0x0800_0000 + 19_999), 1), .tcp))
  }
}
