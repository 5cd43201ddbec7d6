import HostOS
import Networks
import Testing
import UserNetwork

@Suite struct ManyFlowsTests {
  @Test func `ten thousand connections and four thousand flows of datagrams live at once`() {
    let bench = Bench()
    let remote = IPAddress(93, 184, 216, 34)
    let count = 10_000
    for index in 0..<count {
      let mine = Endpoint(Guest.v4, UInt16(1024 + index))
      let to = Endpoint(remote, 80)
      _ = bench.network.send([
        Frame(
          Make.tcp([], from: mine, to: to, sequence: 9, acknowledgment: 0, flags: Flag.syn))
      ])
    }
    let answers = bench.reads()
    #expect(answers.count == count)
    for answer in answers {
      _ = bench.network.send([
        Frame(
          Make.tcp(
            Make.big(answer.destinationPort, 2),
            from: Endpoint(Guest.v4, answer.destinationPort), to: Endpoint(remote, 80),
            sequence: 10, acknowledgment: answer.sequence &+ 1, flags: Flag.ack))
      ])
    }
    _ = bench.take()
    #expect(bench.network.statistics.streams == count)
    for connection in bench.host.connections { connection.offer([1] + connection.received) }
    // More than waits for the guest at once: the rest comes when there is room.
    var data: [Read] = []
    while case let reads = bench.reads(), !reads.isEmpty {
      data += reads.filter { !$0.data.isEmpty }
    }
    #expect(data.count == count)
    #expect(data.allSatisfy { Array($0.data) == [1] + Make.big($0.destinationPort, 2) })
    for index in 0..<4000 {
      bench.send(
        Make.udp(
          [1], from: Endpoint(Guest.v4, UInt16(1024 + index)), to: Endpoint(remote, 53)))
    }
    #expect(bench.network.statistics.datagramFlows == 4000)
    for read in data {
      _ = bench.network.send([
        Frame(
          Make.tcp(
            [], from: Endpoint(Guest.v4, read.destinationPort), to: Endpoint(remote, 80),
            sequence: 12, acknowledgment: read.sequence &+ 3, flags: Flag.rst | Flag.ack))
      ])
    }
    bench.settle()
    #expect(bench.network.statistics.streams == 0)
    #expect(bench.host.connections.allSatisfy { $0.isAborted })
  }

  @Test func `one connection more than the limit is refused, unless another is over`() {
    var limits = UserNetworkLimits()
    limits.streams = 3
    let bench = Bench(limits: limits)
    func open(_ port: UInt16) -> UInt8? {
      bench.send(
        Make.tcp(
          [], from: Endpoint(Guest.v4, port), to: Endpoint(IPAddress(8, 8, 8, 8), 80),
          sequence: 9, acknowledgment: 0, flags: Flag.syn))
      guard let answer = bench.reads().last else { return nil }
      bench.send(
        Make.tcp(
          [], from: Endpoint(Guest.v4, port), to: Endpoint(IPAddress(8, 8, 8, 8), 80),
          sequence: 10, acknowledgment: answer.sequence &+ 1, flags: Flag.ack))
      _ = bench.take()
      return answer.flags
    }
    for port in 1...3 as ClosedRange<UInt16> { #expect(open(port) == Flag.syn | Flag.ack) }
    #expect(open(4) == Flag.rst | Flag.ack)
    bench.host.connections[0].breakOff()
    _ = bench.take()
    #expect(open(4) == Flag.syn | Flag.ack)
  }

  @Test
  func `a guest that takes no frames stops hosts from being read, and all goes on when it does`() {
    let bench = Bench(offloads: [.checksum, .segmentTCPv4])
    let transfer = TransferBench(bench)
    var checks: [PatternCheck] = []
    var options = GuestTCP.Options()
    options.window = 8 << 20
    for port in 1...20 as ClosedRange<UInt16> {
      let guest = GuestTCP(
        from: Endpoint(Guest.v4, port), to: Endpoint(IPAddress(8, 8, 8, 8), 80), options: options)
      let check = PatternCheck()
      guest.onReceive = check.take
      checks.append(check)
      transfer.add(guest)
      guest.connect(now: 0)
    }
    #expect(transfer.run { transfer.guests.values.allSatisfy { $0.state == .established } })
    for connection in bench.host.connections { connection.offer(total: 1 << 20, Pattern.bytes) }
    bench.settle()
    bench.settle()
    let read = bench.host.connections.reduce(0) { $0 + $1.sourceSent }
    #expect(read < 5 << 20)
    #expect(transfer.run { checks.allSatisfy { $0.count == 1 << 20 } })
    #expect(checks.allSatisfy { $0.isRight })
  }
}
