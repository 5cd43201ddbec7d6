import HostOS
import Networks
import Synchronization
import Testing
import UserNetwork

@Suite struct UDPTests {
  let outside = Endpoint(IPAddress(93, 184, 216, 34), 123)
  let mine = Endpoint(Guest.v4, 5000)

  @Test func `a datagram goes out, and answers find their way back`() {
    let bench = Bench()
    bench.send(Make.udp([1, 2, 3], from: mine, to: outside))
    let socket = bench.host.datagrams[0]
    #expect(socket.remote == outside)
    #expect(socket.sent.map(\.bytes) == [[1, 2, 3]])
    socket.answer([9, 8])
    socket.answer([])
    let replies = bench.reads()
    #expect(replies.map(\.payload) == [[9, 8], []])
    #expect(replies[0].sourcePort == 123 && replies[0].destinationPort == 5000)
    // The same flow goes on.
    bench.send(Make.udp([], from: mine, to: outside))
    #expect(bench.host.datagrams.count == 1)
    #expect(socket.sent.count == 2)
  }

  @Test func `a long answer comes in fragments`() {
    let bench = Bench()
    bench.send(Make.udp([1], from: mine, to: outside))
    let answer = (0..<5000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    bench.host.datagrams[0].answer(answer)
    let pieces = bench.reads()
    #expect(pieces.count == 4)
    #expect(pieces.map { $0.fragment } == [0x2000, 0x2000 | 185, 0x2000 | 370, 555])
    let message = pieces.flatMap { $0.message }
    #expect(Array(message[8...]) == answer)
    let pseudo = Make.pseudo(outside.address, Guest.v4, 17, message.count)
    #expect(Make.sum(pseudo + message) == 0xffff)
  }

  @Test func `sums are left to a guest that agreed`() {
    let bench = Bench(offloads: .checksum)
    bench.send(Make.udp([1], from: mine, to: outside))
    bench.host.datagrams[0].answer([1, 2])
    let reply = bench.reads()
    #expect(reply[0].frame.unfinished.checksum?.start == 34)
    #expect(reply[0].frame.unfinished.checksum?.offset == 6)
  }

  @Test func `an idle flow ends, a used one does not`() {
    let bench = Bench()
    bench.send(Make.udp([1], from: mine, to: outside))
    bench.send(Make.udp([1], from: Endpoint(Guest.v4, 5001), to: outside))
    bench.pass(seconds: 100)
    bench.host.datagrams[1].answer([2])
    bench.settle()
    bench.pass(seconds: 30)
    #expect(bench.host.datagrams.map(\.isClosed) == [true, false])
    bench.pass(seconds: 100)
    #expect(bench.host.datagrams.map(\.isClosed) == [true, true])
    #expect(bench.network.statistics.datagramFlows == 0)
  }

  @Test func `the flow that was used longest ago makes room`() {
    var limits = UserNetworkLimits()
    limits.datagramFlows = 3
    let bench = Bench(limits: limits)
    for port in 1...3 as ClosedRange<UInt16> {
      bench.send(Make.udp([1], from: Endpoint(Guest.v4, port), to: outside))
    }
    bench.send(Make.udp([1], from: Endpoint(Guest.v4, 1), to: outside))
    bench.send(Make.udp([1], from: Endpoint(Guest.v4, 4), to: outside))
    #expect(bench.host.datagrams.map(\.isClosed) == [false, true, false, false])
    #expect(bench.network.statistics.datagramFlowsEvicted == 1)
  }

  @Test func `refusals of the outside reach the guest`() {
    let bench = Bench()
    bench.send(Make.udp([1], from: mine, to: outside))
    bench.host.datagrams[0].fail(.refused)
    #expect(bench.reads().map { Array($0.message[..<2]) } == [[3, 3]])
    bench.host.datagrams[0].sendFailure = .tooLong
    bench.send(Make.udp([1], from: mine, to: outside))
    let reply = bench.reads()
    #expect(
      reply.map { Array($0.message[..<8]) } == [
        [3, 4, reply[0].message[2], reply[0].message[3], 0, 0, 5, 120]
      ])
  }

  @Test
  func
    `closed ports of the gateway, empty places of the subnet and forbidden addresses are told apart`()
  {
    let bench = Bench()
    func answer(_ address: IPAddress) -> [UInt8]? {
      bench.send(Make.udp([1], from: mine, to: Endpoint(address, 99)))
      return bench.reads().first.map { Array($0.message[..<2]) }
    }
    #expect(answer(IPAddress(10, 0, 2, 2)) == [3, 3])
    #expect(answer(IPAddress(10, 0, 2, 3)) == [3, 3])
    #expect(answer(IPAddress(10, 0, 2, 50)) == [3, 1])
    for address in [
      IPAddress(127, 0, 0, 1), IPAddress(127, 9, 9, 9), IPAddress(0, 0, 0, 0),
      IPAddress(0, 1, 2, 3), IPAddress(169, 254, 169, 254), IPAddress(240, 0, 0, 1),
      IPAddress(10, 99, 99, 99),
    ] {
      #expect(answer(address) == [3, 13], "\(address)")
    }
    #expect(answer(.broadcast) == nil)
    #expect(answer(IPAddress(224, 0, 0, 251)) == nil)
    #expect(bench.host.datagrams.isEmpty)
  }

  @Test func `the plan opens the host's loopback at the gateway and link-local addresses`() {
    var plan = UserNetworkPlan()
    plan.allowsHostLoopback = true
    plan.allowsLinkLocal = true
    let bench = Bench(plan: plan)
    bench.send(Make.udp([1], from: mine, to: Endpoint(IPAddress(10, 0, 2, 2), 99)))
    bench.send(Make.udp([1], from: mine, to: Endpoint(IPAddress(169, 254, 169, 254), 80)))
    bench.send(Make.udp([1], from: mine, to: Endpoint(IPAddress(127, 0, 0, 1), 80)))
    #expect(
      bench.host.datagrams.map(\.remote) == [
        Endpoint(.loopbackV4, 99), Endpoint(IPAddress(169, 254, 169, 254), 80),
      ])
  }

  @Test func `a policy is asked once for each flow`() {
    final class Policy: EgressPolicy {
      let asked = Mutex<[Endpoint]>([])
      func mayConnect(to: Endpoint, _ transport: Transport) -> Bool {
        asked.withLock { $0.append(to) }
        return to.port == 123
      }
      func resolved(_ name: String, to: [IPAddress], ttl: UInt32) {}
    }
    let policy = Policy()
    let bench = Bench(policy: policy)
    for _ in 0..<3 { bench.send(Make.udp([1], from: mine, to: outside)) }
    #expect(policy.asked.withLock { $0.count } == 1)
    bench.send(Make.udp([1], from: mine, to: Endpoint(outside.address, 124)))
    #expect(bench.reads().map { Array($0.message[..<2]) } == [[3, 13]])
  }

  @Test
  func `a service answers at the gateway, to all stations, and later from another thread's time`() {
    final class Service: DatagramService {
      let ports: [UInt16] = [67, 69]
      let heard = Mutex<[Datagram]>([])
      let sender = Mutex<(any DatagramSender)?>(nil)
      func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
        heard.withLock { $0.append(datagram) }
        self.sender.withLock { $0 = sender }
        sender.send(
          [7] + datagram.payload, from: Endpoint(IPAddress(10, 0, 2, 2), datagram.destination.port),
          to: Endpoint(Guest.v4, datagram.source.port), hardwareDestination: nil)
      }
    }
    let service = Service()
    let bench = Bench(services: [service])
    bench.send(
      Make.udp([1], from: Endpoint(.anyV4, 68), to: Endpoint(.broadcast, 67)),
      Make.udp([2], from: mine, to: Endpoint(IPAddress(10, 0, 2, 2), 69)))
    #expect(bench.reads().map(\.payload) == [[7, 1], [7, 2]])
    #expect(
      service.heard.withLock { $0.map(\.hardwareSource) } == [Guest.hardware, Guest.hardware])
    let sender = service.sender.withLock { $0 }
    sender?.send(
      [3], from: Endpoint(IPAddress(10, 0, 2, 2), 69), to: mine, hardwareDestination: .broadcast)
    let late = bench.reads()
    #expect(late.map(\.payload) == [[3]])
    #expect(late[0].frame.bytes[..<6] == [255, 255, 255, 255, 255, 255])
  }
}
