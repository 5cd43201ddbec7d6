import HostOS
import Networks
import Testing
import UserNetwork

@Suite struct IPv6Tests {
  let outside = IPAddress("2606:2800:220:1::25")!
  let gateway = IPAddress("fd00::2")!
  let linkLocal = IPAddress("fe80::5054:ff:fe12:3456")!

  private func solicitation(
    for target: IPAddress, from source: IPAddress, hopLimit: UInt8 = 255
  ) -> [UInt8] {
    let group = IPAddress(v6: 0xff02_0000_0000_0000, 0x1_ff00_0000 | target.low & 0xff_ffff)
    let message: [UInt8] =
      [135, 0, 0, 0, 0, 0, 0, 0] + target.bytes + [1, 1] + Guest.hardware.bytes
    return Make.frame(
      58, message, sumAt: 2, from: source, to: group, timeToLive: hopLimit)
  }

  // RFC 4861 7.2.4.
  @Test func `the network's own addresses are advertised, and no others`() {
    let bench = Bench()
    for (target, flags) in [
      (gateway, 0xe0), (IPAddress("fe80::2")!, 0xe0), (IPAddress("fd00::3")!, 0x60),
    ] as [(IPAddress, UInt8)] {
      bench.send(solicitation(for: target, from: linkLocal))
      let answer = bench.reads()
      #expect(answer.count == 1)
      #expect(answer[0].message[0] == 136 && answer[0].message[4] == flags)
      #expect(answer[0].hopLimit == 255)
      #expect(Array(answer[0].message[8..<24]) == target.bytes)
      #expect(Array(answer[0].message[26...]) == bench.network.plan.gatewayHardware.bytes)
      #expect(answer[0].destination == linkLocal)
    }
    bench.send(solicitation(for: Guest.v6, from: linkLocal))
    bench.send(solicitation(for: gateway, from: linkLocal, hopLimit: 64))
    #expect(bench.take().isEmpty)
  }

  // RFC 4862 5.4.
  @Test func `a guest that would take the gateway's address is told that it is taken`() {
    let bench = Bench()
    bench.send(solicitation(for: gateway, from: .anyV6))
    let answer = bench.reads()
    #expect(answer.map(\.destination) == [IPAddress("ff02::1")!])
    #expect(answer[0].message[4] == 0xa0)
    #expect(answer[0].frame.bytes[..<6] == [0x33, 0x33, 0, 0, 0, 1])
    bench.send(solicitation(for: Guest.v6, from: .anyV6))
    #expect(bench.take().isEmpty)
  }

  @Test func `a router solicitation is answered with what the advertiser says`() {
    final class Advertiser: RouterAdvertiser {
      func routerAdvertisement() -> [UInt8] { [134] + [UInt8](repeating: 0, count: 15) }
    }
    let bench = Bench(advertiser: Advertiser())
    let message: [UInt8] = [133, 0, 0, 0, 0, 0, 0, 0]
    for source in [linkLocal, .anyV6] {
      bench.send(
        Make.frame(
          58, message, sumAt: 2, from: source, to: IPAddress("ff02::2")!, timeToLive: 255))
    }
    let answers = bench.reads()
    #expect(answers.map { $0.message[0] } == [134, 134])
    #expect(answers.map(\.source) == [IPAddress("fe80::2")!, IPAddress("fe80::2")!])
    #expect(answers.map(\.destination) == [linkLocal, IPAddress("ff02::1")!])
    #expect(answers.allSatisfy { $0.hopLimit == 255 })
    Bench().send(
      Make.frame(58, message, sumAt: 2, from: linkLocal, to: IPAddress("ff02::2")!, timeToLive: 255)
    )
  }

  // RFC 4443 4.
  @Test func `echo is answered by the gateway, and carried to the outside`() {
    let bench = Bench()
    bench.send(Make.echo([1, 2], from: Guest.v6, to: gateway))
    #expect(bench.reads().map { $0.message[0] } == [129])
    bench.send(Make.echo([1, 2], identifier: 3, from: Guest.v6, to: outside))
    var reply = bench.host.datagrams[0].sent[0].bytes
    reply[0] = 129
    reply[5] = 99
    bench.host.datagrams[0].answer(reply)
    let answer = bench.reads()
    #expect(answer.map { Array($0.message[4...]) } == [[0, 3, 0, 1, 1, 2]])
  }

  @Test func `datagrams go out and come back, in fragments if they are long`() {
    let bench = Bench()
    let mine = Endpoint(Guest.v6, 5000)
    let remote = Endpoint(outside, 53)
    bench.send(Make.udp([1], from: mine, to: remote))
    #expect(bench.host.datagrams[0].sent.map(\.bytes) == [[1]])
    bench.host.datagrams[0].answer(Pattern.bytes(0, 3000))
    let pieces = bench.reads()
    #expect(pieces.count == 3)
    #expect(pieces.allSatisfy { $0.transport == 44 && $0.message[0] == 17 })
    let message = pieces.flatMap { $0.message[8...] }
    #expect(Array(message[8...]) == Pattern.bytes(0, 3000))
    #expect(Make.sum(Make.pseudo(outside, Guest.v6, 17, message.count) + message) == 0xffff)
  }

  // RFC 8200 4.
  @Test func `extension headers are followed, source routes and mandatory options are not`() {
    let bench = Bench()
    let message = Array(Make.echo([7], from: Guest.v6, to: gateway)[54...])
    func send(_ first: UInt8, _ headers: [UInt8]) -> Int {
      bench.send(Make.ethernet(0x86dd, Make.ipv6(first, headers + message, to: gateway)))
      return bench.reads().count
    }
    #expect(send(0, [60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0]) == 1)
    #expect(send(43, [58, 0, 0, 0, 0, 0, 0, 0]) == 1)
    #expect(send(43, [58, 0, 0, 1, 0, 0, 0, 0]) == 0)
    #expect(send(60, [58, 0, 0xc7, 4, 0, 0, 0, 0]) == 0)
    #expect(send(60, [58, 0, 1, 9, 0, 0, 0, 0]) == 0)
    #expect(send(60, [58, 200, 1, 4, 0, 0, 0, 0]) == 0)
    let many =
      [UInt8](repeating: 0, count: 9 * 8).enumerated().map {
        $0.offset % 8 == 0 ? 60 : $0.offset % 8 == 2 ? 1 : $0.offset % 8 == 3 ? 4 : 0
      } as [UInt8]
    #expect(send(60, many) == 0)
  }

  @Test func `fragments are joined, and those that overlap dropped`() {
    let bench = Bench()
    let message = Array(Make.echo(Pattern.bytes(0, 2000), from: Guest.v6, to: gateway)[54...])
    func piece(_ from: Int, _ to: Int, _ identification: UInt32) {
      let more: UInt16 = to < message.count ? 1 : 0
      let header = [58, 0] + Make.big(UInt16(from) | more, 2) + Make.big(identification, 4)
      bench.send(
        Make.ethernet(0x86dd, Make.ipv6(44, header + message[from..<to], to: gateway)))
    }
    piece(1000, message.count, 1)
    piece(0, 1000, 1)
    #expect(bench.reads().count == 2)
    piece(0, 1000, 2)
    piece(992, 1200, 2)
    #expect(bench.reads().isEmpty)
    #expect(bench.drops(.fragmentsOverlap) == 1)
  }

  @Test func `the host's loopback is closed under every name`() {
    let bench = Bench()
    for text in [
      "::1", "::", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1", "64:ff9b::7f00:1",
      "2002:7f00:1::1", "fe80::99", "ff02::fb",
    ] {
      let to = Endpoint(IPAddress(text)!, 80)
      bench.send(Make.udp([1], from: Endpoint(Guest.v6, 1), to: to))
      bench.send(
        Make.tcp(
          [], from: Endpoint(Guest.v6, 1), to: to, sequence: 0, acknowledgment: 0, flags: Flag.syn))
    }
    #expect(bench.host.datagrams.isEmpty && bench.host.connections.isEmpty)
  }

  // RFC 5952, RFC 4291 2.2.
  @Test func `addresses are read and written`() {
    for text in [
      "::", "::1", "fe80::1", "2001:db8::8:800:200c:417a", "1:2:3:4:5:6:7:8", "1::8", "1:0:0:2::",
    ] {
      #expect(IPAddress(text)?.description == text)
    }
    #expect(IPAddress("2001:DB8:0:0:1:0:0:1")?.description == "2001:db8::1:0:0:1")
    #expect(IPAddress("1:2:3:4:5:6:0:8")?.description == "1:2:3:4:5:6:0:8")
    #expect(IPAddress("::ffff:10.0.2.2")?.embeddedV4 == IPAddress(10, 0, 2, 2))
    #expect(IPAddress("10.0.2.2") == IPAddress(10, 0, 2, 2))
    for text in [
      "", ":", ":::", "1", "1:2", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:",
      "10.0.2", "10.0.2.256", "10.0.2.2.2", "10..2.2", "::10.0.2", "::1.2.3.4:5", "+1.2.3.4",
    ] {
      #expect(IPAddress(text) == nil, "\(text)")
    }
  }
}
