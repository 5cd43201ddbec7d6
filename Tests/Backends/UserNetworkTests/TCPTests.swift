import HostOS
import Networks
import Testing
import UserNetwork

/// One connection, segment by segment (RFC 9293).
@Suite struct TCPTests {
  let remote = Endpoint(IPAddress(93, 184, 216, 34), 80)
  let mine = Endpoint(Guest.v4, 40000)
  static let initial: UInt32 = 1000

  /// A connection driven by hand from the guest's end.
  final class Hand {
    let bench: Bench
    let mine: Endpoint
    let remote: Endpoint
    var sequence = TCPTests.initial
    var acknowledgment: UInt32 = 0

    init(_ bench: Bench, _ mine: Endpoint, _ remote: Endpoint) {
      self.bench = bench
      self.mine = mine
      self.remote = remote
    }

    func send(
      _ flags: UInt8, _ data: [UInt8] = [], at offset: Int = 0, window: UInt16 = 65535,
      options: [UInt8] = []
    ) {
      bench.send(
        Make.tcp(
          data, from: mine, to: remote,
          sequence: sequence &+ UInt32(truncatingIfNeeded: offset),
          acknowledgment: acknowledgment, flags: flags, window: window, options: options))
    }

    var host: FakeConnection { bench.host.connections[0] }

    /// Shakes hands.
    func connect(window: UInt16 = 65535, options: [UInt8] = [2, 4, 5, 180]) {
      send(Flag.syn, window: window, options: options)
      let answer = bench.reads()
      sequence &+= 1
      acknowledgment = answer[0].sequence &+ 1
      send(Flag.ack, window: window)
    }

    func reads() -> [Read] { bench.reads() }
  }

  private func hand(_ offloads: Offloads = []) -> Hand {
    Hand(Bench(offloads: offloads), mine, remote)
  }

  // 3.5.
  @Test func `the guest's handshake ends only when the host's has`() {
    let hand = hand()
    hand.bench.host.connectsAtOnce = false
    hand.send(Flag.syn, options: [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1])
    hand.send(Flag.syn, options: [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1])
    #expect(hand.reads().isEmpty)
    #expect(hand.bench.host.connections.count == 1)
    #expect(hand.host.remote == remote)
    hand.host.connect()
    let answer = hand.reads()
    #expect(answer.count == 1)
    #expect(answer[0].flags == Flag.syn | Flag.ack)
    #expect(answer[0].acknowledgment == TCPTests.initial + 1)
    #expect(answer[0].options.starts(with: [2, 4, 5, 180]))
    #expect(answer[0].options.contains(3) && answer[0].options.contains(4))
  }

  @Test func `options that the guest does not offer are not answered`() {
    let hand = hand()
    hand.send(Flag.syn)
    #expect(hand.reads()[0].options == [2, 4, 5, 180])
  }

  @Test func `refused by the host is a reset, unreachable an error about the SYN`() {
    let hand = hand()
    hand.bench.host.connectsAtOnce = false
    hand.send(Flag.syn)
    hand.host.fail(.refused)
    let reset = hand.reads()
    #expect(reset.map(\.flags) == [Flag.rst | Flag.ack])
    #expect(reset[0].acknowledgment == TCPTests.initial + 1)
    #expect(hand.host.isClosed)

    hand.bench.host.forgetConnections()
    hand.send(Flag.syn)
    hand.host.fail(.unreachable)
    let error = hand.reads()
    #expect(error.map { Array($0.message[..<2]) } == [[3, 1]])
    // It quotes ports and sequence number.
    #expect(
      Array(error[0].message[28..<36]) == Make.big(mine.port, 2) + Make.big(80 as UInt16, 2)
        + Make.big(TCPTests.initial, 4))
    #expect(hand.bench.network.statistics.streams == 0)
    #expect(hand.bench.network.statistics.streamsRefused == 2)
  }

  @Test func `a host that refuses at once is told at once`() {
    let hand = hand()
    hand.bench.host.refuse(remote, 111)
    hand.send(Flag.syn)
    #expect(hand.reads().map(\.flags) == [Flag.rst | Flag.ack])
    hand.bench.host.refuse(remote, 101)
    hand.send(Flag.syn)
    #expect(hand.reads().map { $0.message[0] } == [3])
  }

  @Test func `ports of the gateway are closed and the loopback is out of reach`() {
    let bench = Bench()
    for (address, isReset) in [
      (IPAddress(10, 0, 2, 2), true), (IPAddress(10, 0, 2, 3), true),
      (IPAddress(127, 0, 0, 1), false), (IPAddress(10, 0, 2, 9), false),
      (IPAddress(169, 254, 169, 254), false),
    ] {
      bench.send(
        Make.tcp(
          [], from: mine, to: Endpoint(address, 22), sequence: 1, acknowledgment: 0,
          flags: Flag.syn))
      let answer = bench.reads()
      #expect(answer.count == 1)
      #expect((answer[0].transport == 6) == isReset, "\(address)")
    }
    #expect(bench.host.connections.isEmpty)
  }

  @Test func `a lost answer to the SYN is repeated, and not for ever`() {
    let hand = hand()
    hand.send(Flag.syn)
    #expect(hand.reads().count == 1)
    hand.bench.pass(seconds: 1.1)
    #expect(hand.reads().map(\.flags) == [Flag.syn | Flag.ack])
    hand.bench.pass(seconds: 200)
    #expect(hand.host.isAborted)
    #expect(hand.bench.network.statistics.streams == 0)
  }

  // 3.10.7.1, and after a restore or reset of the machine.
  @Test func `segments of unknown connections are answered with a reset`() {
    let hand = hand()
    hand.acknowledgment = 777
    hand.send(Flag.ack, [1, 2, 3])
    let answer = hand.reads()
    #expect(answer.map(\.flags) == [Flag.rst])
    #expect(answer[0].sequence == 777)
    hand.send(Flag.rst)
    #expect(hand.reads().isEmpty)
    hand.send(Flag.fin)
    #expect(hand.reads().map(\.acknowledgment) == [TCPTests.initial + 1])
  }

  @Test func `a reset of the network breaks connections off and answers what remains of them`() {
    let hand = hand()
    hand.connect()
    hand.bench.network.reset()
    #expect(hand.host.isAborted)
    hand.send(Flag.ack, [1])
    #expect(hand.reads().map(\.flags) == [Flag.rst])
  }

  @Test func `data goes through at once and is acknowledged once a batch`() {
    let hand = hand()
    hand.connect()
    _ = hand.reads()
    let frames = (0..<10).map { index in
      Frame(
        Make.tcp(
          [UInt8(index)], from: mine, to: remote, sequence: hand.sequence &+ UInt32(index),
          acknowledgment: hand.acknowledgment, flags: Flag.ack))
    }
    _ = hand.bench.network.send(frames)
    let answer = hand.reads()
    #expect(hand.host.received == Array(0..<10))
    #expect(answer.count == 1)
    #expect(answer[0].acknowledgment == hand.sequence &+ 10)
  }

  // 3.6: each direction ends on its own.
  @Test func `the guest ends first and still receives`() {
    let hand = hand()
    hand.connect()
    hand.send(Flag.ack | Flag.fin, [1, 2])
    #expect(hand.reads().last?.acknowledgment == hand.sequence &+ 3)
    #expect(hand.host.received == [1, 2])
    #expect(hand.host.sawEnd && !hand.host.isClosed)
    hand.sequence &+= 3
    hand.host.offer([5, 6, 7])
    let data = hand.reads()
    #expect(data.flatMap { Array($0.data) } == [5, 6, 7])
    hand.acknowledgment &+= 3
    hand.send(Flag.ack)
    hand.host.end()
    #expect(hand.reads().last?.flags == Flag.fin | Flag.ack)
    hand.acknowledgment &+= 1
    hand.send(Flag.ack)
    #expect(hand.host.isClosed && !hand.host.isAborted)
    #expect(hand.bench.network.statistics.streams == 0)
  }

  @Test func `the host ends first and still receives`() {
    let hand = hand()
    hand.connect()
    hand.host.end()
    #expect(hand.reads().last?.flags == Flag.fin | Flag.ack)
    hand.acknowledgment &+= 1
    hand.send(Flag.ack)
    hand.send(Flag.ack, [1, 2, 3])
    hand.sequence &+= 3
    #expect(hand.host.received == [1, 2, 3])
    hand.send(Flag.fin | Flag.ack)
    #expect(hand.reads().last?.acknowledgment == hand.sequence &+ 1)
    #expect(hand.host.isClosed && !hand.host.isAborted)
    // The last acknowledgment may have been lost: the connection lingers, and answers.
    hand.send(Flag.fin | Flag.ack)
    #expect(hand.reads().last?.acknowledgment == hand.sequence &+ 1)
    hand.bench.pass(seconds: 11)
    #expect(hand.bench.network.statistics.streams == 0)
  }

  @Test func `both ends may end at once`() {
    let hand = hand()
    hand.connect()
    hand.host.end()
    _ = hand.reads()
    hand.send(Flag.fin | Flag.ack)
    hand.sequence &+= 1
    #expect(hand.reads().last?.acknowledgment == hand.sequence)
    hand.acknowledgment &+= 1
    hand.send(Flag.ack)
    #expect(hand.host.isClosed && !hand.host.isAborted)
    hand.bench.pass(seconds: 11)
    #expect(hand.bench.network.statistics.streams == 0)
  }

  // 3.6.1.
  @Test func `the same ends may begin anew while the old connection lingers`() {
    let hand = hand()
    hand.connect()
    hand.host.end()
    _ = hand.reads()
    hand.acknowledgment &+= 1
    hand.send(Flag.fin | Flag.ack)
    hand.sequence &+= 100
    hand.bench.host.forgetConnections()
    hand.send(Flag.syn)
    #expect(hand.reads().last?.flags == Flag.syn | Flag.ack)
    #expect(hand.bench.host.connections.count == 1)
  }

  @Test func `the host's reset is a reset, and the guest's is one too`() {
    let hand = hand()
    hand.connect()
    hand.host.breakOff()
    #expect(hand.reads().last?.flags == Flag.rst | Flag.ack)
    #expect(hand.bench.network.statistics.streams == 0)

    hand.bench.host.forgetConnections()
    hand.connect()
    hand.send(Flag.rst | Flag.ack)
    #expect(hand.host.isAborted)
    #expect(hand.reads().isEmpty)
  }

  // RFC 5961 3.2, 4.2.
  @Test func `a reset or SYN out of place is questioned`() {
    let hand = hand()
    hand.connect()
    hand.send(Flag.rst, at: 100)
    #expect(hand.reads().map(\.flags) == [Flag.ack])
    hand.send(Flag.syn)
    #expect(hand.reads().map(\.flags) == [Flag.ack])
    hand.send(Flag.rst, at: -5)
    hand.send(Flag.rst, at: 5_000_000)
    #expect(hand.reads().isEmpty)
    #expect(!hand.host.isClosed)
  }

  @Test func `a host that takes nothing closes the window, and opens it when it takes again`() {
    let hand = hand()
    hand.connect(options: [1, 3, 3, 0])
    _ = hand.reads()
    hand.host.open(room: 0)
    var sent = 0
    var last: UInt16 = .max
    while last > 0, sent < 2 << 20 {
      hand.send(Flag.ack, [UInt8](repeating: 1, count: 1400))
      let answer = hand.reads()
      guard let read = answer.last else { break }
      sent = Int(read.acknowledgment &- TCPTests.initial &- 1)
      hand.sequence = read.acknowledgment
      last = read.window
    }
    #expect(last == 0)
    #expect(sent >= 500 << 10 && sent <= 520 << 10)
    #expect(hand.host.receivedCount == 0)
    hand.host.open(room: .max)
    let update = hand.reads()
    #expect((update.last?.window ?? 0) > 30000)
    #expect(hand.host.receivedCount == sent)
  }

  // 3.8.6.1.
  @Test
  func `a guest that closes its window is asked now and then, and gets the rest when it opens`() {
    let hand = hand()
    hand.connect(window: 1000)
    hand.host.offer(Pattern.bytes(0, 3000))
    let first = hand.reads()
    #expect(first.flatMap { Array($0.data) }.count == 1000)
    hand.acknowledgment &+= 1000
    hand.send(Flag.ack, window: 0)
    #expect(hand.reads().isEmpty)
    hand.bench.pass(seconds: 5)
    let probes = hand.reads()
    #expect(!probes.isEmpty && probes.count < 10)
    #expect(probes.allSatisfy { $0.data.isEmpty && $0.sequence == hand.acknowledgment &- 1 })
    hand.send(Flag.ack, window: 60000)
    #expect(hand.reads().flatMap { Array($0.data) } == Pattern.bytes(1000, 2000))
  }

  @Test func `a slow guest's host is not read from`() {
    let hand = hand()
    hand.connect(window: 5000)
    hand.host.offer(total: 10 << 20, Pattern.bytes)
    _ = hand.reads()
    #expect(hand.host.sourceSent <= 5000)
  }

  @Test func `long segments are left to a guest that cuts them`() {
    let hand = hand([.checksum, .segmentTCPv4])
    hand.connect(options: [2, 4, 5, 180, 1, 3, 3, 7])
    hand.host.offer(total: 10000, Pattern.bytes)
    let data = hand.reads().filter { !$0.data.isEmpty }
    #expect(data.count == 1)
    #expect(data[0].frame.unfinished.segmentSize == 1460)
    #expect(data[0].frame.unfinished.checksum?.start == 34)
    #expect(data.flatMap { Array($0.data) } == Pattern.bytes(0, 10000))
  }

  @Test func `segments are not longer than the guest takes`() {
    for (options, size) in [
      ([], 536), ([2, 4, 1, 0], 256), ([2, 4, 0, 1], 88), ([2, 4, 35, 40], 1460),
    ] as [([UInt8], Int)] {
      let hand = hand()
      hand.connect(options: options)
      hand.host.offer(total: 3000, Pattern.bytes)
      #expect(hand.reads().map { $0.data.count }.max() == size)
    }
  }

  // RFC 2018 4.
  @Test func `what came out of order is named, the latest first`() {
    let hand = hand()
    hand.connect(options: [2, 4, 5, 180, 4, 2, 1, 1])
    _ = hand.reads()
    let base = hand.sequence
    func blocks() -> [[UInt32]] {
      hand.reads().map { read in
        let options = read.options
        guard options.count > 4 else { return [] }
        return stride(from: 4, to: options.count, by: 4).map {
          Read.long(options, $0) &- base
        }
      }
    }
    hand.send(Flag.ack, [1, 1], at: 10)
    #expect(blocks() == [[10, 12]])
    hand.send(Flag.ack, [2, 2], at: 20)
    #expect(blocks() == [[20, 22, 10, 12]])
    hand.send(Flag.ack, [1], at: 12)
    #expect(blocks() == [[10, 13, 20, 22]])
    hand.send(Flag.ack, [UInt8](repeating: 3, count: 10))
    #expect(blocks() == [[20, 22]])
    hand.send(Flag.ack, [UInt8](repeating: 4, count: 7), at: 13)
    #expect(blocks() == [[]])
    #expect(
      hand.host.received
        == [UInt8](repeating: 3, count: 10) + [1, 1, 1] + [UInt8](repeating: 4, count: 7) + [2, 2])
  }

  @Test func `data that overlaps keeps what came first, and an end before its time waits`() {
    let hand = hand()
    hand.connect()
    hand.send(Flag.ack, [1, 1, 1, 1], at: 4)
    hand.send(Flag.ack | Flag.fin, [2, 2, 2, 2], at: 6)
    #expect(!hand.host.sawEnd)
    hand.send(Flag.ack, [3, 3, 3, 3, 3, 3])
    #expect(Array(hand.host.received.prefix(8)) == [3, 3, 3, 3, 3, 3, 1, 1])
    #expect(hand.host.sawEnd)
    #expect(hand.host.received.count == 10)
  }

  // RFC 6298 5.
  @Test func `a guest that hears nothing is sent to again, ever more slowly, and at last given up`()
  {
    let hand = hand()
    hand.connect()
    hand.host.offer([1, 2, 3])
    _ = hand.reads()
    var times: [Double] = []
    for step in 0..<100 {
      hand.bench.pass(seconds: 0.1)
      if hand.reads().contains(where: { !$0.data.isEmpty }) { times.append(Double(step)) }
    }
    #expect(times.count >= 3 && times.count <= 7)
    hand.bench.pass(seconds: 3600)
    #expect(hand.reads().last?.flags == Flag.rst | Flag.ack)
    #expect(hand.host.isAborted)
  }

  // RFC 1122 4.2.3.6.
  @Test func `a guest that is gone is noticed in time`() {
    let hand = hand()
    hand.connect()
    hand.bench.pass(seconds: 7190)
    #expect(hand.reads().isEmpty)
    hand.bench.pass(seconds: 20)
    #expect(hand.reads().count == 1)
    hand.send(Flag.ack)
    hand.bench.pass(seconds: 7300)
    #expect(!hand.host.isClosed)
    hand.bench.pass(seconds: 1000)
    #expect(hand.host.isAborted)
  }
}
