import HostOS
import Networks
import Testing
import UserNetwork

@Suite struct InternetTests {
  let outside = IPAddress(93, 184, 216, 34)
  let gateway = IPAddress(10, 0, 2, 2)

  // RFC 792.
  @Test func `the gateway answers echo requests, of any length and with options before them`() {
    let bench = Bench()
    for count in [0, 1, 56, 1000] {
      let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      bench.send(Make.echo(payload, to: gateway))
      let reply = bench.reads()
      #expect(reply.count == 1)
      #expect(reply[0].message[0] == 0)
      #expect(reply[0].payload == payload)
      #expect(reply[0].source == gateway)
    }
    let message = Array(Make.echo([5], to: gateway)[34...])
    // No-operation, record route, end.
    let options: [UInt8] = [1, 7, 7, 4, 0, 0, 0, 0, 0, 0, 0, 0]
    bench.send(Make.ethernet(0x0800, Make.ipv4(1, message, to: gateway, options: options)))
    #expect(bench.reads().count == 1)
  }

  @Test func `source routes, options without end and wrong sums are refused`() {
    let bench = Bench()
    let message = Array(Make.echo([5], to: gateway)[34...])
    let refused: [[UInt8]] = [
      [131, 7, 4, 1, 2, 3, 4, 0], [137, 3, 4, 0], [7, 0, 0, 0], [7, 40, 0, 0],
    ]
    for options in refused {
      bench.send(Make.ethernet(0x0800, Make.ipv4(1, message, to: gateway, options: options)))
    }
    #expect(bench.drops(.forbidden) == 4)
    var wrong = Make.echo([5], to: gateway)
    wrong[24] ^= 1
    bench.send(wrong)
    var wrongInside = Make.echo([5], to: gateway)
    wrongInside[wrongInside.count - 1] ^= 1
    bench.send(wrongInside)
    #expect(bench.drops(.wrongChecksum) == 2)
    #expect(bench.take().isEmpty)
  }

  @Test
  func
    `echo requests to the outside go through a socket of the host's and come back under their own name`()
  {
    let bench = Bench()
    bench.send(Make.echo([1, 2, 3], identifier: 0x1234, sequence: 9, to: outside))
    #expect(bench.host.datagrams.count == 1)
    let socket = bench.host.datagrams[0]
    #expect(socket.remote.address == outside)
    var message = socket.sent[0].bytes
    #expect(message[0] == 8)
    message[0] = 0
    message[4] = 0x77
    socket.answer(message)
    let reply = bench.reads()
    #expect(reply.count == 1)
    #expect(reply[0].source == outside)
    #expect(Array(reply[0].message[4...]) == [0x12, 0x34, 0, 9, 1, 2, 3])
  }

  @Test func `where the host permits no echo the guest is told so`() {
    let bench = Bench()
    bench.host.refuse(Endpoint(outside, 0), 13)
    bench.send(Make.echo([1], to: outside))
    let reply = bench.reads()
    #expect(reply.count == 1)
    #expect(reply[0].message[..<2] == [3, 13])
    // It quotes the packet: its header, and eight bytes at least.
    #expect(Array(reply[0].message[24..<28]) == outside.bytes || reply[0].message.count >= 36)
  }

  // RFC 791 3.2 "time to live", RFC 792.
  @Test func `a packet whose time is over is answered by the gateway`() {
    let bench = Bench()
    let to = Endpoint(outside, 33434)
    bench.send(Make.udp([1], from: Endpoint(Guest.v4, 5000), to: to, timeToLive: 1))
    let reply = bench.reads()
    #expect(reply.map { $0.message[0] } == [11])
    #expect(bench.host.datagrams.isEmpty)
  }

  @Test func `a protocol that is not carried is answered unreachable`() {
    let bench = Bench()
    bench.send(Make.ethernet(0x0800, Make.ipv4(47, [1, 2, 3, 4], to: outside)))
    #expect(bench.reads().map { Array($0.message[..<2]) } == [[3, 2]])
  }

  // RFC 791 3.2.
  @Test func `fragments are joined in any order`() {
    let message = Array(
      Make.echo((0..<3000).map { UInt8(truncatingIfNeeded: $0 / 7) }, to: gateway)[34...])
    let cuts: [(Int, Int)] = [(0, 1480), (1480, 2960), (2960, message.count)]
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 0, 1, 1, 2]] {
      let bench = Bench()
      for index in order {
        let (from, to) = cuts[index]
        let more: UInt16 = to < message.count ? 0x2000 : 0
        bench.send(
          Make.ethernet(
            0x0800,
            Make.ipv4(
              1, Array(message[from..<to]), to: gateway, identification: 99,
              fragment: more | UInt16(from / 8))))
      }
      let pieces = bench.reads()
      // The answer is as long and comes in pieces too.
      #expect(pieces.count == 3, "\(order)")
      #expect(pieces.reduce(0) { $0 + $1.message.count } == message.count)
      #expect(pieces.flatMap { $0.message }[8...].elementsEqual(message[8...]))
      #expect(bench.network.statistics.datagramsReassembled == 1)
    }
  }

  // RFC 5722.
  @Test func `fragments that overlap take their packet with them`() {
    let bench = Bench()
    func piece(_ from: Int, _ count: Int, _ more: Bool, _ identification: UInt16 = 5) {
      bench.send(
        Make.ethernet(
          0x0800,
          Make.ipv4(
            17, [UInt8](repeating: 0, count: count), to: gateway, identification: identification,
            fragment: (more ? 0x2000 : 0) | UInt16(from / 8))))
    }
    piece(0, 64, true)
    piece(32, 64, true)
    #expect(bench.drops(.fragmentsOverlap) == 1)
    piece(64, 8, false, 6)
    piece(0, 128, true, 6)
    #expect(bench.drops(.fragmentsOverlap) == 2)
    piece(65528, 64, false, 8)
    #expect(bench.drops(.malformed) == 1)
    piece(0, 63, true, 9)
    #expect(bench.drops(.malformed) == 2)
  }

  @Test func `a packet that stays incomplete is given up in time, and its sender told`() {
    let bench = Bench()
    bench.send(
      Make.ethernet(
        0x0800, Make.ipv4(17, [UInt8](repeating: 1, count: 64), to: gateway, fragment: 0x2000)))
    bench.pass(seconds: 29)
    #expect(bench.reads().isEmpty)
    bench.pass(seconds: 2)
    #expect(bench.reads().map { Array($0.message[..<2]) } == [[11, 1]])
    #expect(bench.drops(.fragmentsLate) == 1)
  }

  @Test func `unfinished packets take bounded memory`() {
    let bench = Bench()
    for identification in 0..<5000 as Range<UInt16> {
      bench.send(
        Make.ethernet(
          0x0800,
          Make.ipv4(
            17, [UInt8](repeating: 1, count: 1400), to: gateway, identification: identification,
            fragment: 0x2000)))
    }
    bench.pass(seconds: 31)
    #expect(bench.drops(.fragmentsLate) <= 64)
  }
}
