import HostOS
import Kit
import Synchronization
import Testing
import Work

@testable import UserNetwork

/// A name server, and one connection of a guest's to it.
private final class StreamBench {
  let bench: NameBench
  let connection: any HostConnection
  private var incoming: [UInt8] = []

  convenience init(_ rules: [String]? = nil, resolvers: Int = 2) throws {
    try self.init(NameBench(rules, resolvers: resolvers))
  }

  init(_ bench: NameBench, port: UInt16 = 40_000) throws {
    self.bench = bench
    let notes = Notes()
    connection = try #require(
      bench.server.accept(
        from: Endpoint(UserNetworkPlan().guestV4, port), at: Endpoint(UserNetworkPlan().dnsV4, 53)
      ) { readiness in notes.list.withLock { $0.append(readiness) } })
    self.notes = notes
  }

  private final class Notes: Sendable { let list = Mutex<[Readiness]>([]) }
  private let notes: Notes

  /// What the connection has become ready for since the last time.
  func takeNews() -> Readiness {
    notes.list.withLock { list in
      defer { list = [] }
      return list.reduce(into: []) { $0.formUnion($1) }
    }
  }

  @discardableResult
  func send(_ bytes: [UInt8]) -> Transfer { connection.send(bytes, 0..<bytes.count) }

  /// Reads what is there.
  func read(upTo count: Int = 1 << 20, piecesOf size: Int = 1460) -> Transfer {
    let head: [UInt8] = [1, 2, 3]
    var bytes: [UInt8] = []
    let transfer = connection.receive(upTo: count, piecesOf: size, behind: head, into: &bytes)
    for start in stride(from: 0, to: bytes.count, by: head.count + size) {
      let piece = bytes[start..<min(start + head.count + size, bytes.count)]
      #expect(piece.starts(with: head) && piece.count > head.count)
      incoming += piece.dropFirst(head.count)
    }
    return transfer
  }

  /// The whole messages that have come.
  func messages() -> [[UInt8]] {
    while case .moved(1...) = read() {}
    var found: [[UInt8]] = []
    while incoming.count >= 2 {
      let length = Int(incoming[0]) << 8 | Int(incoming[1])
      guard incoming.count >= 2 + length else { break }
      found.append(Array(incoming[2..<2 + length]))
      incoming.removeFirst(2 + length)
    }
    return found
  }

  var questions: [PlayedResolvers.Question] { bench.outside.questions }
}

private func framed(_ message: [UInt8]) -> [UInt8] { split(UInt16(message.count)) + message }

/// A record of text as long as wanted.
private func filler(_ count: Int) -> [UInt8] {
  DNSWire.record("example.org", type: 16, [UInt8](repeating: 0x2e, count: count))
}

@Suite struct `Name server by TCP` {
  // RFC 5625 4.4.1: what comes by TCP goes on by TCP.
  @Test func `a question by TCP goes on by TCP, and its answer comes back behind its length`()
    throws
  {
    let stream = try StreamBench()
    let question = DNSWire.question("wWw.example.org", edns: true)
    #expect(stream.send(framed(question)) == .moved(question.count + 2))
    #expect(stream.questions.map(\.transport) == [.tcp])
    let outside = try #require(stream.questions.first)
    #expect(outside.message.dropFirst(2) == question.dropFirst(2))
    #expect(stream.read() == .blocked)
    let record = DNSWire.record("wWw.example.org", type: 1, DNSWire.address)
    outside.answer(DNSWire.answer(outside.message, [record]))
    #expect(stream.takeNews() == .readable)
    #expect(stream.messages() == [DNSWire.answer(question, [record])])
    #expect(stream.bench.sender.sent.isEmpty)
  }

  // RFC 1035 4.2.2, RFC 7766 8.
  @Test(arguments: [1, 2, 3, 7, 30]) func `length and message may come in any pieces`(_ size: Int)
    throws
  {
    let stream = try StreamBench()
    let bytes =
      framed(DNSWire.question("a.example.org", identifier: 1))
      + framed(DNSWire.question("b.example.org", identifier: 2))
    for start in stride(from: 0, to: bytes.count, by: size) {
      let part = Array(bytes[start..<min(start + size, bytes.count)])
      #expect(stream.send(part) == .moved(part.count))
    }
    let names = stream.questions.map { DNSMessage($0.message)?.question.name.description }
    #expect(names == ["a.example.org", "b.example.org"])
  }

  @Test func `pieces of a stream are one stream`() throws {
    let stream = try StreamBench()
    let bytes = framed(DNSWire.question("host.roost.internal"))
    let pieces = [0..<1, 1..<9, 9..<bytes.count].map { StreamPiece(bytes: bytes, range: $0) }
    #expect(stream.connection.send(pieces) == .moved(bytes.count))
    #expect(stream.messages().count == 1)
  }

  // RFC 7766 6.2.1.1.
  @Test func `questions follow each other, and answers come as they are found`() throws {
    let stream = try StreamBench()
    stream.send((1...3).flatMap { framed(DNSWire.question("n\($0).org", identifier: $0)) })
    let outside = stream.questions
    #expect(outside.count == 3)
    for index in [2, 0, 1] { outside[index].answer(DNSWire.answer(outside[index].message)) }
    #expect(stream.messages().map { $0[1] } == [3, 1, 2])
  }

  // Unlike a datagram, which may be a retransmission.
  @Test func `a question that is repeated on a connection is answered twice`() throws {
    let stream = try StreamBench()
    let question = framed(DNSWire.question("example.org"))
    stream.send(question + question)
    for outside in stream.questions { outside.answer(DNSWire.answer(outside.message)) }
    #expect(stream.messages().count == 2)
  }

  @Test func `an answer of 64 KiB is read in pieces`() throws {
    let stream = try StreamBench()
    stream.send(framed(DNSWire.question("example.org")))
    let outside = try #require(stream.questions.first)
    let head = DNSWire.answer(outside.message).count
    let name = DNSWire.record("example.org", type: 16, []).count
    let answer = DNSWire.answer(outside.message, [filler(65535 - head - name)])
    #expect(answer.count == 65535)
    outside.answer(answer)
    #expect(stream.read(upTo: 1000) == .moved(1000))
    #expect(stream.read(upTo: 10_000, piecesOf: 500) == .moved(10_000))
    let messages = stream.messages()
    #expect(messages.count == 1 && messages[0].dropFirst(2) == answer.dropFirst(2))
  }

  @Test func `a cut answer is passed on in a datagram, and whole by TCP`() throws {
    let bench = try NameBench()
    let question = DNSWire.question("example.org")
    bench.ask(question)
    let first = try #require(bench.outside.questions.last)
    #expect(first.transport == .udp)
    var cut = DNSWire.answer(first.message)
    cut[2] |= 2
    first.answer(cut)
    let passed = try #require(bench.sender.take().first?.payload)
    #expect(DNSMessage(passed)?.isTruncated == true)
    let stream = try StreamBench(bench)
    stream.send(framed(question))
    let second = try #require(bench.outside.questions.last)
    #expect(second.transport == .tcp)
    second.answer(DNSWire.answer(second.message, [filler(3000)]))
    #expect(stream.messages().first.map(\.count) ?? 0 > 3000)
  }

  @Test func `resolvers that TCP does not reach are asked in datagrams`() throws {
    let stream = try StreamBench()
    stream.send(framed(DNSWire.question("example.org")))
    stream.questions[0].answer(nil)
    stream.bench.clock.advance(by: NameServer.patience)
    #expect(stream.questions.map(\.transport) == [.tcp, .tcp, .udp])
    #expect(stream.questions.map(\.resolver.address.bytes[3]) == [1, 2, 1])
    // Cut short it is of no use, since there is no other way to the rest.
    var cut = DNSWire.answer(stream.questions[2].message)
    cut[2] |= 2
    stream.questions[2].answer(cut)
    #expect(stream.questions.count == 4 && stream.messages().isEmpty)
    stream.questions[3].answer(DNSWire.answer(stream.questions[3].message))
    #expect(stream.messages().map { $0[3] & 0xf } == [0])
  }

  @Test func `a question that nobody answers whole fails`() throws {
    let stream = try StreamBench(resolvers: 1)
    stream.send(framed(DNSWire.question("example.org")))
    stream.questions[0].answer(nil)
    var cut = DNSWire.answer(stream.questions[1].message)
    cut[2] |= 2
    stream.questions[1].answer(cut)
    #expect(stream.messages().map { $0[3] & 0xf } == [2])
  }

  @Test func `a connection with many questions takes no more until answers are read`() throws {
    let stream = try StreamBench()
    let bytes = (1...12).flatMap { framed(DNSWire.question("n\($0).org", identifier: $0)) }
    let length = framed(DNSWire.question("n1.org")).count
    let taken = DNSConnection.mostQuestions * length
    #expect(stream.send(bytes) == .moved(taken))
    #expect(stream.send(Array(bytes[taken...])) == .blocked)
    _ = stream.takeNews()
    stream.questions[0].answer(DNSWire.answer(stream.questions[0].message))
    #expect(stream.takeNews() == .readable)
    #expect(stream.send(Array(bytes[taken...])) == .blocked)
    #expect(stream.messages().count == 1)
    #expect(stream.takeNews() == .writable)
    #expect(stream.send(Array(bytes[taken...])) == .moved(length))
    #expect(stream.questions.count == DNSConnection.mostQuestions + 1)
  }

  @Test func `a connection that is done asking gets its answers and then its end`() throws {
    let stream = try StreamBench()
    stream.send(framed(DNSWire.question("example.org")))
    stream.connection.finishSending()
    #expect(stream.read() == .blocked)
    stream.questions[0].answer(DNSWire.answer(stream.questions[0].message))
    #expect(stream.messages().count == 1)
    #expect(stream.takeNews().contains(.readable) && stream.read() == .moved(0))
  }

  @Test func `what is no question is refused, or goes unanswered`() throws {
    let stream = try StreamBench()
    var answer = DNSWire.question("example.org")
    answer[2] |= 0x80
    var two = DNSWire.question("example.org", identifier: 9)
    two[5] = 2
    stream.send(framed([]) + framed([1, 2, 3]) + framed(answer) + framed(two))
    #expect(stream.messages().map { [$0[1], $0[3]] } == [[9, 1]])
    #expect(stream.questions.isEmpty)
    // None of these counts as waiting.
    stream.send((1...20).flatMap { _ in framed([]) })
    #expect(stream.send(framed(DNSWire.question("example.org"))) != .blocked)
  }

  @Test func `the list of what may be reached holds by TCP too`() throws {
    let stream = try StreamBench(["*.debian.org"])
    stream.send(framed(DNSWire.question("evil.org")))
    #expect(stream.messages().map { $0[3] & 0xf } == [5])
    #expect(stream.questions.isEmpty)
    let rules = try #require(stream.bench.rules)
    let endpoint = Endpoint(IPAddress(bytes: DNSWire.address)!, 443)
    #expect(!rules.mayConnect(to: endpoint, .tcp))
    stream.send(framed(DNSWire.question("deb.debian.org")))
    let outside = stream.questions[0]
    outside.answer(
      DNSWire.answer(outside.message, [DNSWire.record("deb.debian.org", type: 1, DNSWire.address)]))
    #expect(stream.messages().count == 1 && rules.mayConnect(to: endpoint, .tcp))
  }
}

@Suite struct `Connections to the name server` {
  @Test func `one that is idle ends`() throws {
    let stream = try StreamBench()
    stream.bench.clock.advance(by: NameServer.idle / 2)
    stream.send(framed(DNSWire.question("host.roost.internal")))
    #expect(stream.messages().count == 1)
    stream.bench.clock.advance(by: NameServer.idle - 1)
    #expect(stream.read() == .blocked)
    _ = stream.takeNews()
    stream.bench.clock.advance(by: 1)
    #expect(stream.takeNews().contains(.readable) && stream.read() == .moved(0))
    #expect(stream.send([0]) == .failed(.reset))
  }

  @Test func `one that does not read its answers is broken off`() throws {
    let stream = try StreamBench()
    stream.send(framed(DNSWire.question("host.roost.internal")))
    stream.bench.clock.advance(by: NameServer.idle)
    #expect(stream.read() == .failed(.reset))
  }

  @Test func `beyond the limit the one that is idle longest makes room`() throws {
    let bench = try NameBench()
    let streams = try (0..<NameServer.mostConnections).map { number in
      bench.clock.advance(by: 1_000_000)
      return try StreamBench(bench, port: UInt16(number + 1))
    }
    // The first waits for an answer.
    streams[0].send(framed(DNSWire.question("example.org")))
    let next = try StreamBench(bench, port: 100)
    #expect(streams[1].read() == .moved(0) && streams[0].read() == .blocked)
    for stream in streams[2...] + [next] { stream.send(framed(DNSWire.question("example.org"))) }
    #expect(
      bench.server.accept(
        from: Endpoint(UserNetworkPlan().guestV4, 200), at: Endpoint(UserNetworkPlan().dnsV4, 53),
        { _ in }) == nil)
    #expect(bench.server.statistics.connectionsRefused == 1)
    streams[2].connection.close()
    _ = try StreamBench(bench, port: 201)
  }

  @Test func `a closed one's questions wait no longer`() throws {
    let bench = try NameBench()
    let number = NameServer.capacity / DNSConnection.mostQuestions
    #expect(number <= NameServer.mostConnections)
    let streams = try (0..<number).map { try StreamBench(bench, port: UInt16($0 + 1)) }
    for stream in streams {
      stream.send((1...8).flatMap { framed(DNSWire.question("n\($0).org", identifier: $0)) })
    }
    #expect(bench.outside.questions.count == NameServer.capacity)
    bench.ask(DNSWire.question("full.org"))
    #expect(bench.answer()?.outcome == 2)
    streams[0].connection.abort()
    bench.ask(DNSWire.question("room.org"))
    #expect(bench.outside.questions.count == NameServer.capacity + 1)
    // Late for somebody who has gone.
    let late = bench.outside.questions[0]
    late.answer(DNSWire.answer(late.message))
    #expect(bench.server.statistics.strayAnswers == 1)
    bench.clock.advance(by: 60_000_000_000)
  }

  @Test func `nothing that a guest sends on one makes it trap`() throws {
    var chance = Kit.Chance(seed: 31)
    let bench = try NameBench(["*.org"])
    var stream = try StreamBench(bench)
    for _ in 0..<3000 {
      var bytes = chance.spoilt(
        framed(DNSWire.question("a.org", type: UInt16(chance.number(below: 40)))))
      if chance.number(below: 3) == 0 { bytes = chance.spoilt(bytes + bytes) }
      if case .failed = stream.send(bytes) {
        stream.connection.close()
        stream = try StreamBench(bench)
      }
      if let outside = bench.outside.questions.last {
        outside.answer(
          chance.number(below: 9) == 0 ? nil : chance.spoilt(DNSWire.answer(outside.message)))
      }
      if chance.number(below: 3) == 0 { _ = stream.messages() }
      if chance.number(below: 50) == 0 { stream.connection.finishSending() }
      if chance.number(below: 20) == 0 {
        bench.clock.advance(by: chance.number(below: 9_000_000_000))
      }
    }
    stream.connection.close()
    bench.clock.advance(by: 60_000_000_000)
    let last = try StreamBench(bench)
    last.send(framed(DNSWire.question("host.roost.internal")))
    #expect(last.messages().count == 1)
  }
}

@Suite struct `How long an answer may be` {
  private func answer(_ question: [UInt8], _ size: Int) throws -> [UInt8] {
    let bench = try NameBench()
    bench.ask(question)
    let outside = try #require(bench.outside.questions.first)
    outside.answer(DNSWire.answer(outside.message, [filler(size)]))
    return try #require(bench.sender.take().first).payload
  }

  private func question(limit: UInt16, securityAware: Bool = false) -> [UInt8] {
    var question = DNSWire.question("example.org", edns: true)
    question.replaceSubrange(question.count - 8..<question.count - 6, with: split(limit))
    if securityAware { question[question.count - 4] = 0x80 }
    return question
  }

  // RFC 1035 4.2.1.
  @Test func `without EDNS a datagram holds 512 bytes`() throws {
    let question = DNSWire.question("example.org")
    let rest = DNSWire.answer(question, [filler(0)]).count
    #expect(try answer(question, 512 - rest).count == 512)
    let cut = try answer(question, 513 - rest)
    var expected = DNSWire.answer(question)
    expected[2] |= 2
    #expect(cut == expected)
  }

  // RFC 6891 6.2.3, 7.
  @Test func `with EDNS it holds what the guest says, and a cut answer has EDNS too`() throws {
    #expect(try answer(question(limit: 1232), 1100).count > 1100)
    let cut = try answer(question(limit: 1232, securityAware: true), 1232)
    let message = try #require(DNSMessage(cut))
    #expect(message.isTruncated && message.answers()?.isEmpty == true)
    let extensions = try #require(message.extensions)
    #expect(extensions.datagramLimit == 4096 && extensions.isSecurityAware)
  }

  // RFC 6891 6.2.3: less than 512 means 512.
  @Test func `a size below 512 is 512`() throws {
    let rest = DNSWire.answer(DNSWire.question("example.org"), [filler(0)]).count
    #expect(try answer(question(limit: 100), 500 - rest).count > 490)
  }

  // RFC 6891 6.1.1.
  @Test func `answers of our own have EDNS where the question has`() throws {
    let bench = try NameBench()
    bench.ask(DNSWire.question("host.roost.internal", edns: true))
    var message = try #require(DNSMessage(bench.sender.take()[0].payload))
    #expect(message.extensions != nil && message.answers()?.count == 1)
    bench.ask(DNSWire.question("host.roost.internal"))
    message = try #require(DNSMessage(bench.sender.take()[0].payload))
    #expect(message.extensions == nil && message.answers()?.count == 1)
  }

  @Test func `own names with more addresses than fit are cut, and whole by TCP`() throws {
    var names = NetworkNames()
    let addresses = (0..<60).map { IPAddress(192, 0, 2, UInt8($0)) }
    names.hosts[DomainName("many.example")!] = addresses
    let bench = try NameBench(names: names)
    bench.ask(DNSWire.question("many.example"))
    let sent = try #require(bench.sender.take().first)
    #expect(DNSMessage(sent.payload)?.isTruncated == true && sent.payload.count <= 512)
    #expect(bench.server.statistics.cutAnswers == 1)
    let stream = try StreamBench(bench)
    stream.send(framed(DNSWire.question("many.example")))
    let message = try #require(DNSMessage(stream.messages()[0]))
    #expect(!message.isTruncated && message.answers()?.count == 60)
  }
}

@Suite struct `Resolvers by TCP` {
  /// A resolver on this host, played by the test's thread, and what was heard of it.
  private final class Played: Sendable {
    let loop: EventLoop
    private let listener: InternetSocket
    private let heard = Mutex<[[UInt8]?]>([])
    private let channel = Mutex<(any ResolverChannel)?>(nil)

    init() throws {
      loop = try EventLoop(name: "dns")
      listener = try InternetSocket.bind(
        .stream, at: SocketAddress(isV6: false, high: 0, low: 0x7f00_0001, port: 0))
    }

    /// Asks it; answers its end of the connection, when the whole question is there.
    func ask(_ question: [UInt8]) throws -> InternetSocket {
      let resolver = Endpoint(.loopbackV4, try #require(listener.localAddress).port)
      loop.post { [self, loop] in
        let channel = HostResolverTransport(on: loop).open(to: resolver, by: .tcp) { message in
          self.heard.withLock { $0.append(message) }
        }
        _ = channel?.send(question)
        self.channel.withLock { $0 = channel }
      }
      let client = try #require(wait { listener.accept()?.0 })
      var asked: [UInt8] = []
      _ = wait { () -> Bool? in
        var bytes: [UInt8] = []
        var source: SocketAddress?
        _ = client.receive(upTo: 4096, behind: 0, into: &bytes, from: &source)
        asked += bytes
        return asked.count >= question.count + 2 ? true : nil
      }
      #expect(asked == framed(question))
      return client
    }

    func wait<T>(_ look: () -> T?) -> T? {
      let deadline = HostClock.now.advanced(by: 60_000_000_000)
      while HostClock.now < deadline {
        if let found = look() { return found }
        Thread.sleep(until: HostClock.now.advanced(by: 1_000_000))
      }
      return nil
    }

    func nextHeard() -> [UInt8]?? {
      wait { heard.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
    }

    func stop() {
      channel.withLock { $0 = nil }
      loop.stop()
    }
  }

  @Test func `an answer of 64 KiB may come in pieces`() throws {
    let played = try Played()
    defer { played.stop() }
    let client = try played.ask(DNSWire.question("example.org"))
    let answer = [UInt8]((0..<65535).map { UInt8(truncatingIfNeeded: $0 * 7) })
    let bytes = framed(answer)
    var sent = 0
    for end in [1, 2, 40_000, bytes.count] {
      while sent < end {
        if case .moved(let count) = client.send(bytes, sent..<end) { sent += count }
      }
      Thread.sleep(until: HostClock.now.advanced(by: 2_000_000))
    }
    #expect(try #require(played.nextHeard()) == answer)
  }

  @Test func `one that hangs up, or is not there, has no answer`() throws {
    let played = try Played()
    defer { played.stop() }
    _ = try played.ask(DNSWire.question("example.org"))
    // Nobody holds the resolver's end any more.
    #expect(try #require(played.nextHeard()) == nil)
  }
}
