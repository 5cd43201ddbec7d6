import HostOS
import Networks
import Testing
import UserNetwork

@Suite struct ForwardTests {
  private let peer = Endpoint(IPAddress(127, 0, 0, 1), 55555)

  @Test func `a call from the host reaches a port of the guest, and both ways carry data`() throws {
    let transfer = TransferBench(Bench())
    let bench = transfer.bench
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    _ = bench.take()
    let local = try bench.network.addForward(.tcp, hostPort: 2222, guestPort: 22)
    #expect(local == Endpoint(.loopbackV4, 2222))
    let caller = bench.host.listeners[0].call(from: peer)
    // It appears as the gateway, with its own port.
    let guest = GuestTCP(
      from: Endpoint(Guest.v4, 22), to: Endpoint(IPAddress(10, 0, 2, 2), 55555))
    transfer.add(guest)
    let down = PatternCheck()
    guest.onReceive = down.take
    #expect(transfer.run { guest.state == .established })
    let host = try #require(caller.connection)
    host.offer(total: 100_000, Pattern.bytes)
    guest.send(total: 50_000, finishing: true, Pattern.bytes, now: transfer.now)
    #expect(transfer.run { down.count == 100_000 && host.receivedCount == 50_000 })
    #expect(down.isRight && host.received == Pattern.bytes(0, 50_000))
    host.end()
    #expect(transfer.run { guest.sawEnd && bench.network.statistics.streams == 0 })
  }

  @Test func `a guest that refuses breaks the call off, and one that is silent too`() throws {
    let bench = Bench()
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    _ = bench.take()
    try bench.network.addForward(.tcp, hostPort: 2222, guestPort: 22)
    let refused = bench.host.listeners[0].call(from: peer)
    let syn = try #require(bench.reads().first)
    #expect(syn.flags == Flag.syn && syn.destinationPort == 22)
    bench.send(
      Make.tcp(
        [], from: Endpoint(Guest.v4, 22), to: Endpoint(syn.source, syn.sourcePort), sequence: 0,
        acknowledgment: syn.sequence &+ 1, flags: Flag.rst | Flag.ack))
    #expect(refused.connection?.isAborted == true)
    let silent = bench.host.listeners[0].call(from: peer)
    bench.settle()
    bench.pass(seconds: 300)
    #expect(silent.connection?.isAborted == true)
  }

  @Test func `callers of other hosts appear as themselves, and none as somebody else`() throws {
    let bench = Bench()
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    _ = bench.take()
    try bench.network.addForward(.tcp, hostAddress: .anyV4, hostPort: 80, guestPort: 80)
    let listener = bench.host.listeners[0]
    _ = listener.call(from: Endpoint(IPAddress(192, 168, 1, 9), 1234))
    _ = listener.call(from: Endpoint(IPAddress(10, 0, 2, 7), 1234))
    _ = listener.call(from: Endpoint(IPAddress(127, 0, 0, 3), 1234))
    let sources = bench.reads().map { Endpoint($0.source, $0.sourcePort) }
    #expect(sources.count == 3 && Set(sources).count == 3)
    #expect(sources[0] == Endpoint(IPAddress(192, 168, 1, 9), 1234))
    #expect(sources[1] == Endpoint(IPAddress(10, 0, 2, 2), 1234))
    #expect(sources[2].address == IPAddress(10, 0, 2, 2))
  }

  @Test func `datagrams of the host's reach the guest, and its answers their senders`() throws {
    let bench = Bench()
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    _ = bench.take()
    try bench.network.addForward(.udp, hostPort: 5353, guestPort: 53)
    let socket = bench.host.datagrams[0]
    let other = Endpoint(IPAddress(127, 0, 0, 2), 55555)
    socket.answer([1], from: peer)
    socket.answer([2], from: other)
    socket.answer([3], from: peer)
    let arrived = bench.reads()
    #expect(arrived.map(\.payload) == [[1], [2], [3]])
    #expect(arrived[0].sourcePort == arrived[2].sourcePort)
    #expect(arrived[0].sourcePort != arrived[1].sourcePort)
    for read in arrived[..<2] {
      bench.send(
        Make.udp(
          [9] + read.payload, from: Endpoint(Guest.v4, 53),
          to: Endpoint(read.source, read.sourcePort)))
    }
    #expect(socket.sent.map(\.bytes) == [[9, 1], [9, 2]])
    #expect(socket.sent.map(\.to) == [peer, other])
    bench.pass(seconds: 130)
    #expect(bench.network.statistics.datagramFlows == 0)
    #expect(!socket.isClosed)
  }

  @Test func `forwards come and go while the network runs, and a taken port is refused`() throws {
    let bench = Bench()
    bench.host.refuse(Endpoint(.loopbackV4, 80), 98)
    #expect(throws: HostError.self) {
      try bench.network.addForward(.tcp, hostPort: 80, guestPort: 80)
    }
    #expect(throws: HostError.self) {
      try bench.network.addForward(.echo, hostPort: 80, guestPort: 80)
    }
    let chosen = try bench.network.addForward(.tcp, hostPort: 0, guestPort: 80)
    #expect(chosen.port != 0)
    #expect(bench.network.statistics.forwards == 1)
    #expect(!bench.network.removeForward(.udp, hostPort: chosen.port))
    #expect(bench.network.removeForward(.tcp, hostPort: chosen.port))
    #expect(bench.host.listeners[0].isClosed)
    #expect(!bench.network.removeForward(.tcp, hostPort: chosen.port))
    #expect(bench.network.statistics.forwards == 0)
  }

  @Test func `before the guest is heard of it is asked for its address`() throws {
    let bench = Bench()
    try bench.network.addForward(.tcp, hostPort: 2222, guestPort: 22)
    _ = bench.host.listeners[0].call(from: peer)
    let asked = bench.take()
    #expect(asked.count == 1)
    #expect(asked[0].bytes[12..<14] == [8, 6])
    #expect(asked[0].bytes[38..<42] == [10, 0, 2, 15])
    bench.send(
      Make.ethernet(
        0x0806,
        [0, 1, 8, 0, 6, 4, 0, 2] + Guest.hardware.bytes + Guest.v4.bytes + [0, 0, 0, 0, 0, 0]
          + [10, 0, 2, 2]))
    bench.pass(seconds: 1.1)
    #expect(bench.reads().map(\.flags) == [Flag.syn])
  }
}
