import Glibc
import HostOS
import Kit
import Synchronization
import Testing
import Work

@testable import UserNetwork

@Suite struct `Domain names` {
  @Test func `names are compared without case, and kept as they were`() throws {
    let name = try #require(DomainName("Deb.Debian.ORG."))
    #expect(name == DomainName("deb.debian.org") && name.description == "Deb.Debian.ORG")
    #expect(Set([name, DomainName("deb.debian.org")!]).count == 1)
    #expect(DomainName("ab.c") != DomainName("a.bc"))
  }

  @Test func `names that cannot be are refused`() {
    let long = String(repeating: "x", count: 64)
    for text in [
      "", ".", "a..b", ".a", long,
      "\(long.dropLast()).\(long.dropLast()).\(long.dropLast()).\(long.dropLast())",
    ] {
      #expect(DomainName(text) == nil, "\(text)")
    }
  }

  // RFC 1035 4.1.4
  @Test func `compressed names are followed, and circles are not`() throws {
    let message: [UInt8] = [1, 0x62, 0, 1, 0x61, 0xc0, 0, 0xc0, 7, 0xc0, 10, 0xc0, 9]
    let (name, end) = try #require(DomainName.read(from: message, at: 3))
    #expect(name == DomainName("a.b") && end == 7)
    #expect(DomainName.read(from: message, at: 7) == nil)  // to itself
    #expect(DomainName.read(from: message, at: 9) == nil)  // forward
    #expect(DomainName.read(from: message, at: 11) == nil)  // into a pointer's middle and out again
    #expect(DomainName.read(from: message, at: 12) == nil)
    #expect(DomainName.read(from: [5, 1, 2], at: 0) == nil)
    #expect(DomainName.read(from: [0x40, 0], at: 0) == nil)
    #expect(DomainName.read(from: [UInt8](repeating: 1, count: 600), at: 0) == nil)
  }
}

@Suite struct `Name server` {
  @Test func `a question is passed on letter by letter under another number`() throws {
    let bench = try NameBench()
    let question = DNSWire.question("wWw.ExAmPlE.org", edns: true)
    bench.ask(question)
    let outside = try #require(bench.outside.questions.first)
    #expect(outside.resolver == Endpoint(IPAddress(203, 0, 113, 1), 53))
    #expect(outside.message.dropFirst(2) == question.dropFirst(2))
    let record = DNSWire.record("wWw.ExAmPlE.org", type: 1, DNSWire.address)
    outside.answer(DNSWire.answer(outside.message, [record]))
    let sent = try #require(bench.sender.take().first)
    #expect(sent.payload == DNSWire.answer(question, [record]))
    #expect(sent.from == Endpoint(UserNetworkPlan().dnsV4, 53))
    #expect(sent.to == Endpoint(UserNetworkPlan().guestV4, 40_000))
    #expect(bench.server.statistics.answeredOutside == 1)
  }

  @Test func `numbers outside are not the guest's`() throws {
    let bench = try NameBench()
    for number in 0..<64 { bench.ask(DNSWire.question("n\(number).org", identifier: 1)) }
    let numbers = Set(bench.outside.questions.map { Array($0.message[..<2]) })
    #expect(numbers.count == 64)
  }

  // RFC 5452 9.1
  @Test func `an answer that does not repeat number and letters is not one`() throws {
    let bench = try NameBench()
    bench.ask(DNSWire.question("wWw.example.org"))
    let outside = try #require(bench.outside.questions.first)
    var wrong = DNSWire.answer(outside.message)
    wrong[0] ^= 1
    outside.answer(wrong)
    wrong = DNSWire.answer(outside.message)
    wrong[13] ^= 0x20
    outside.answer(wrong)
    outside.answer(outside.message)
    outside.answer([])
    #expect(bench.sender.sent.isEmpty && bench.server.statistics.strayAnswers == 4)
    outside.answer(DNSWire.answer(outside.message))
    #expect(bench.sender.sent.count == 1)
    outside.answer(DNSWire.answer(outside.message))
    #expect(bench.sender.sent.count == 1)
  }

  @Test func `a silent resolver is followed by the next, and in the end the guest is told`() throws
  {
    let bench = try NameBench()
    bench.ask(DNSWire.question("example.org"))
    var asked: [UInt8] = []
    for _ in 0..<4 {
      asked.append(bench.outside.questions.last!.resolver.address.bytes[3])
      #expect(bench.sender.sent.isEmpty)
      bench.clock.advance(by: NameServer.patience)
    }
    #expect(asked == [1, 2, 1, 2])
    #expect(bench.answer()?.outcome == 2)
  }

  @Test func `a resolver that is unable, or cannot be reached, is followed by the next`() throws {
    let bench = try NameBench()
    bench.ask(DNSWire.question("example.org"))
    bench.outside.questions[0].answer(
      DNSWire.answer(bench.outside.questions[0].message, outcome: 2))
    #expect(bench.outside.questions.count == 2 && bench.sender.sent.isEmpty)
    bench.outside.questions[1].answer(nil)
    #expect(bench.outside.questions.count == 3 && bench.sender.sent.isEmpty)
    bench.outside.questions[2].answer(
      DNSWire.answer(bench.outside.questions[2].message, outcome: 3))
    #expect(bench.answer()?.outcome == 3)
  }

  @Test func `a repeated question is asked once`() throws {
    let bench = try NameBench()
    bench.ask(DNSWire.question("example.org"))
    bench.ask(DNSWire.question("example.org"))
    #expect(bench.outside.questions.count == 1)
    bench.ask(DNSWire.question("example.org"), from: 40_001)
    bench.ask(DNSWire.question("example.org", identifier: 2))
    #expect(bench.outside.questions.count == 3)
  }

  @Test func `questions that wait are bounded`() throws {
    let bench = try NameBench()
    for number in 0..<NameServer.capacity + 5 { bench.ask(DNSWire.question("n\(number).org")) }
    #expect(bench.outside.questions.count == NameServer.capacity)
    #expect(bench.sender.take().count == 5)
    bench.clock.advance(by: 4 * NameServer.patience)
    #expect(bench.sender.take().count == NameServer.capacity)
    bench.ask(DNSWire.question("again.org"))
    #expect(bench.sender.sent.isEmpty)
  }

  @Test func `without resolvers, or when the host refuses, the guest is told at once`() throws {
    let none = try NameBench(resolvers: 0)
    none.ask(DNSWire.question("example.org"))
    #expect(none.answer()?.outcome == 2)
    let refusing = try NameBench()
    refusing.outside.setRefuses(true)
    refusing.ask(DNSWire.question("example.org"))
    #expect(refusing.answer()?.outcome == 2 && refusing.outside.questions.count == 4)
  }

  @Test func `the network's own names are answered here`() throws {
    var names = NetworkNames()
    names.hosts[DomainName("files.example")!] = [IPAddress(192, 0, 2, 9)]
    let bench = try NameBench(names: names)
    let plan = UserNetworkPlan()
    for (name, type, address) in [
      ("host.roost.internal", 1, plan.gatewayV4), ("HOST.roost.internal", 28, plan.gatewayV6),
      ("roost.roost.internal", 1, plan.guestV4), ("roost", 1, plan.guestV4),
      ("dns.roost.internal", 1, plan.dnsV4), ("files.example", 1, IPAddress(192, 0, 2, 9)),
    ] {
      bench.ask(DNSWire.question(name, type: UInt16(type)))
      let answer = try #require(bench.answer())
      #expect(answer.outcome == 0 && answer.data == [address.bytes], "\(name)")
    }
    bench.ask(DNSWire.question("files.example", type: 28))
    #expect(try #require(bench.answer()).data.isEmpty)
    bench.ask(DNSWire.question("other.roost.internal"))
    #expect(bench.answer()?.outcome == 3)
    bench.ask(DNSWire.question("15.2.0.10.in-addr.arpa", type: 12))
    #expect(bench.answer()?.data == [DomainName("roost.roost.internal")!.wire])
    #expect(bench.outside.questions.isEmpty)
  }

  @Test func `what is no question is refused or dropped`() throws {
    let bench = try NameBench()
    var bytes = DNSWire.question("example.org")
    bytes[2] |= 0x80
    bench.ask(bytes)  // an answer
    bench.ask(Array(bytes[..<11]))
    #expect(bench.sender.take().isEmpty)
    bytes = DNSWire.question("example.org")
    bytes[2] |= 0x28  // UPDATE
    bench.ask(bytes)
    #expect(bench.answer()?.outcome == 4)
    bytes = DNSWire.question("example.org")
    bytes[5] = 2
    bench.ask(bytes)
    #expect(bench.sender.take().first?.payload[3] == 1)
    #expect(bench.outside.questions.isEmpty)
  }

  @Test func `a name that is not on the list is refused, and asked nowhere`() throws {
    let bench = try NameBench(["*.debian.org"])
    bench.ask(DNSWire.question("secret.evil.org"))
    #expect(bench.answer()?.outcome == 5)
    #expect(bench.outside.questions.isEmpty)
    bench.ask(DNSWire.question("deb.debian.org"))
    #expect(bench.outside.questions.count == 1)
  }

  @Test func `addresses become reachable by way of aliases, for the shortest life on the way`()
    throws
  {
    let bench = try NameBench(["deb.debian.org"])
    let rules = try #require(bench.rules)
    bench.ask(DNSWire.question("deb.debian.org"))
    let outside = try #require(bench.outside.questions.first)
    let unrelated: [UInt8] = [198, 51, 100, 99]
    outside.answer(
      DNSWire.answer(
        outside.message,
        [
          DNSWire.record("deb.debian.org", type: 5, ttl: 100, DomainName("a.cdn.net")!.wire),
          DNSWire.record("A.cdn.net", type: 5, ttl: 400, DomainName("b.cdn.net")!.wire),
          DNSWire.record("b.cdn.net", type: 1, ttl: 300, DNSWire.address),
          DNSWire.record("other.net", type: 1, ttl: 300, unrelated),
        ]))
    #expect(bench.answer()?.data.count == 4)
    let endpoint = Endpoint(IPAddress(bytes: DNSWire.address)!, 443)
    #expect(rules.mayConnect(to: endpoint, .tcp))
    #expect(!rules.mayConnect(to: Endpoint(IPAddress(bytes: unrelated)!, 443), .tcp))
    bench.clock.advance(by: 101_000_000_000)
    #expect(!rules.mayConnect(to: endpoint, .tcp))
  }

  @Test func `aliases in a circle end`() throws {
    let bench = try NameBench(["*"])
    bench.ask(DNSWire.question("a.org"))
    let outside = try #require(bench.outside.questions.first)
    outside.answer(
      DNSWire.answer(
        outside.message,
        [
          DNSWire.record("a.org", type: 5, DomainName("b.org")!.wire),
          DNSWire.record("b.org", type: 5, DomainName("a.org")!.wire),
        ]))
    #expect(bench.answer()?.outcome == 0)
  }

  @Test(
    arguments: [[10, 0, 2, 2], [127, 0, 0, 1], [169, 254, 169, 254], [192, 168, 1, 1]] as [[UInt8]])
  func `a public name with a private address is not believed`(_ address: [UInt8]) throws {
    let bench = try NameBench(["*.evil.org"])
    bench.ask(DNSWire.question("rebind.evil.org"))
    let outside = try #require(bench.outside.questions.first)
    outside.answer(
      DNSWire.answer(
        outside.message,
        [
          DNSWire.record("rebind.evil.org", type: 1, DNSWire.address),
          DNSWire.record("rebind.evil.org", type: 1, address),
        ]))
    #expect(bench.answer()?.outcome == 5)
    let rules = try #require(bench.rules)
    #expect(!rules.mayConnect(to: Endpoint(IPAddress(bytes: address)!, 80), .tcp))
    #expect(!rules.mayConnect(to: Endpoint(IPAddress(bytes: DNSWire.address)!, 80), .tcp))
    #expect(rules.statistics.rebindings == 1)
  }

  @Test func `an answer whose records are not there fails`() throws {
    let bench = try NameBench()
    bench.ask(DNSWire.question("example.org"))
    let outside = try #require(bench.outside.questions.first)
    var bytes = DNSWire.answer(
      outside.message, [DNSWire.record("example.org", type: 1, DNSWire.address)])
    bytes.removeLast()
    outside.answer(bytes)
    #expect(bench.answer()?.outcome == 2)
  }

  @Test func `nothing that guest or resolver send makes it trap`() throws {
    var chance = Kit.Chance(seed: 23)
    let bench = try NameBench(["*.org"])
    let names = ["a.org", "host.roost.internal", "B.c.org", "x.net", "2.2.0.10.in-addr.arpa"]
    for _ in 0..<5000 {
      let name = names[Int(chance.number(below: UInt64(names.count)))]
      let question = DNSWire.question(
        name, type: UInt16(chance.number(below: 40)), edns: chance.number(below: 2) == 0)
      bench.ask(chance.spoilt(question), from: UInt16(chance.number(below: 65536)))
      if let outside = bench.outside.questions.last {
        let records = (0..<chance.number(below: 5)).map { _ in
          DNSWire.record(
            names[Int(chance.number(below: UInt64(names.count)))],
            type: [1, 5, 28, 12][Int(chance.number(below: 4))], chance.bytes(upTo: 20))
        }
        let answer = DNSWire.answer(outside.message, records)
        outside.answer(chance.number(below: 20) == 0 ? nil : chance.spoilt(answer))
      }
      if chance.number(below: 50) == 0 {
        bench.clock.advance(by: chance.number(below: 3_000_000_000))
      }
      _ = bench.sender.take()
    }
    bench.clock.advance(by: 60_000_000_000)
    _ = bench.sender.take()
    bench.ask(DNSWire.question("last.org"))
    #expect(bench.sender.sent.isEmpty)
  }
}

@Suite struct `The host's resolvers` {
  // resolv.conf(5)
  @Test func `at most three are taken from the file`() {
    let text = """
      # nameserver 192.0.2.99
      search example.org
      nameserver\t192.0.2.1
      nameserver 2001:db8::1   ; a comment
      nameserver fe80::1%eth0
      nameserver nonsense
      nameserver 127.0.0.53
      nameserver 192.0.2.4
      """
    #expect(
      HostResolvers.parse(Array(text.utf8)).map(\.address.description)
        == ["192.0.2.1", "2001:db8::1", "127.0.0.53"])
  }

  @Test func `without any it is the one on this host`() {
    #expect(HostResolvers.parse([]) == [Endpoint(.loopbackV4, 53)])
    #expect(HostResolvers(path: "/nonexistent").resolvers == [Endpoint(.loopbackV4, 53)])
  }

  @Test func `a changed file is read again`() throws {
    let path = "/tmp/roost-resolv-\(UInt64.random(in: 0...UInt64.max))"
    defer { unlink(path) }
    try HostFile.create(path).writeAll(Array("nameserver 192.0.2.1\n".utf8))
    let resolvers = HostResolvers(path: path)
    #expect(resolvers.resolvers.map(\.address.description) == ["192.0.2.1"])
    try HostFile.create(path).writeAll(Array("nameserver 192.0.2.200\n".utf8))
    #expect(resolvers.resolvers.map(\.address.description) == ["192.0.2.200"])
  }

  @Test func `a resolver on this host's loopback is asked through a socket`() throws {
    let loop = try EventLoop(name: "dns")
    defer { loop.stop() }
    let resolver = try InternetSocket.bind(
      .datagram, at: SocketAddress(isV6: false, high: 0, low: 0x7f00_0001, port: 0))
    let address = try #require(resolver.localAddress)
    let watch = try loop.watch(resolver.handle, for: .readable) { _ in
      var bytes: [UInt8] = []
      var source: SocketAddress?
      if case .moved = resolver.receive(upTo: 512, behind: 0, into: &bytes, from: &source),
        let source
      {
        let answer = DNSWire.answer(
          bytes, [DNSWire.record("example.org", type: 1, DNSWire.address)])
        _ = resolver.send(answer, 0..<answer.count, to: source)
      }
    }
    defer { watch.cancel() }
    let sender = RecordingSender()
    let endpoint = Endpoint(.loopbackV4, address.port)
    let server = NameServer(
      plan: UserNetworkPlan(), resolvers: FixedResolvers([endpoint]),
      transport: HostResolverTransport(on: loop), clock: ManualClock(), loop: loop)
    loop.post {
      server.receive(
        Datagram(
          DNSWire.question("example.org"), from: Endpoint(UserNetworkPlan().guestV4, 40_000),
          to: Endpoint(UserNetworkPlan().dnsV4, 53)), sender)
    }
    let deadline = HostClock.now.advanced(by: 60_000_000_000)
    while sender.sent.isEmpty, HostClock.now < deadline {
      Thread.sleep(until: HostClock.now.advanced(by: 1_000_000))
    }
    #expect(sender.sent.first?.payload.suffix(4) == DNSWire.address[...])
  }
}
