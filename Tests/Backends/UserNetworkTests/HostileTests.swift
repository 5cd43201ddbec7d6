import Foundation
import HostOS
import Networks
import Testing
import UserNetwork

/// Frames that nobody should send. None may stop the network, keep memory, or reach where it must not.
@Suite struct HostileTests {
  static func count(_ name: String, _ usual: Int) -> Int {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? usual
  }

  /// Makes frames that are nearly right.
  struct Malice {
    var chance: Chance
    var sequences: [UInt16: (UInt32, UInt32)] = [:]

    mutating func pick<T>(_ list: [T]) -> T { list[Int(chance.next() % UInt64(list.count))] }
    mutating func number(_ limit: Int) -> Int { Int(chance.next() % UInt64(max(1, limit))) }
    mutating func bytes(_ count: Int) -> [UInt8] {
      (0..<count).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
    }

    mutating func address() -> IPAddress {
      pick([
        Guest.v4, IPAddress(10, 0, 2, 2), IPAddress(10, 0, 2, 3), IPAddress(93, 184, 216, 34),
        IPAddress(127, 0, 0, 1), .broadcast, .anyV4, IPAddress(10, 0, 2, 255),
        IPAddress(224, 0, 0, 1), IPAddress(169, 254, 169, 254), IPAddress(8, 8, 8, 8),
      ])
    }

    mutating func addressV6() -> IPAddress {
      pick([
        Guest.v6, IPAddress("fd00::2")!, IPAddress("fd00::3")!, IPAddress("2001:db8::1")!,
        IPAddress("::1")!, IPAddress("::")!, IPAddress("ff02::1")!, IPAddress("fe80::1234")!,
        IPAddress("::ffff:127.0.0.1")!, IPAddress("ff02::1:ff00:2")!,
      ])
    }

    /// A TCP segment that may fit a connection that an earlier one began.
    mutating func segment(_ from: IPAddress, _ to: IPAddress) -> [UInt8] {
      let port = UInt16(1000 + number(40))
      let flags = pick([2, 16, 16, 24, 17, 4, 20, 18, 0, 255, 3, 25] as [UInt8])
      let known = sequences[port] ?? (5000, 1)
      let sequence = pick([known.0, known.0 &+ 1, known.0 &+ UInt32(number(3000)), 0, .max])
      let acknowledgment = pick([known.1, known.1 &+ UInt32(number(5000)), 0, 1 << 31, .max])
      let options = pick(
        [
          [], [2, 4, 5, 180], [2, 4, 0, 1, 3, 3, 255, 0, 4, 2, 1, 1], [2, 0], [1, 1, 5, 255],
          [5, 10] + bytes(8) + [0, 0],
          [1, 1, 5, 10] + Make.big(known.1, 4) + Make.big(known.1 &+ UInt32(number(4000)), 4),
          [3, 3, 14, 0], bytes(8), [255, 255, 255, 255],
        ] as [[UInt8]])
      var padded = options
      while padded.count % 4 != 0 { padded.append(0) }
      return Make.tcp(
        bytes(pick([0, 0, 1, 10, 500, 1400])), from: Endpoint(from, port), to: Endpoint(to, 80),
        sequence: sequence, acknowledgment: acknowledgment, flags: flags,
        window: pick([0, 1, 100, 65535]), options: padded)
    }

    mutating func frame() -> Frame {
      var bytes: [UInt8]
      let from = chance.happens(0.9) ? Guest.v4 : address()
      let from6 = chance.happens(0.8) ? Guest.v6 : addressV6()
      switch number(16) {
      case 0: bytes = self.bytes(number(200))
      case 1:
        bytes = Make.ethernet(pick([0x0800, 0x0806, 0x86dd, 0x8100]), self.bytes(number(120)))
      case 2: bytes = Make.echo(self.bytes(number(80)), from: from, to: address())
      case 3:
        bytes = Make.udp(
          self.bytes(number(300)), from: Endpoint(from, UInt16(number(65536))),
          to: Endpoint(address(), pick([53, 67, 69, 80, 0])))
      case 4:
        bytes = Make.ethernet(
          0x0800,
          Make.ipv4(
            pick([1, 6, 17, 47]), self.bytes(number(1400)), from: from, to: address(),
            timeToLive: pick([0, 1, 64]), identification: UInt16(number(8)),
            fragment: UInt16(number(65536))))
      case 5:
        let options = self.bytes(4 * number(10))
        bytes = Make.ethernet(
          0x0800,
          Make.ipv4(17, self.bytes(number(100)), from: from, to: address(), options: options))
      case 6:
        bytes = Make.ethernet(
          0x86dd,
          Make.ipv6(
            pick([0, 6, 17, 43, 44, 58, 59, 60, 99]), self.bytes(number(400)), from: from6,
            to: addressV6(), hopLimit: pick([0, 1, 64, 255])))
      case 7: bytes = Make.echo(self.bytes(number(80)), from: from6, to: addressV6())
      case 8:
        let message = [pick([133, 134, 135, 136, 143]), 0, 0, 0] + self.bytes(number(60))
        bytes = Make.frame(
          58, message, sumAt: 2, from: from6, to: addressV6(), timeToLive: pick([64, 255]))
      case 9:
        bytes = Make.ethernet(
          0x0806,
          [0, 1, 8, 0, 6, 4, 0, UInt8(number(4))] + pick([Guest.hardware.bytes, self.bytes(6)])
            + from.bytes + self.bytes(6) + address().bytes, to: .broadcast)
      case 10: bytes = segment(from6, IPAddress("2001:db8::1")!)
      default: bytes = segment(from, IPAddress(93, 184, 216, 34))
      }
      if chance.happens(0.15) {
        for _ in 0...number(4) where !bytes.isEmpty {
          bytes[number(bytes.count)] = UInt8(truncatingIfNeeded: chance.next())
        }
      }
      if chance.happens(0.1) { bytes = Array(bytes.prefix(number(bytes.count))) }
      if chance.happens(0.05) { bytes += self.bytes(number(64)) }
      var frame = Frame(bytes)
      if chance.happens(0.1) {
        frame.unfinished.checksum = (number(200), number(200))
        frame.unfinished.isChecked = chance.happens(0.5)
        frame.unfinished.segmentSize = chance.happens(0.5) ? number(3000) : nil
      }
      return frame
    }

    /// Learns where connections stand, so that the next segments hit.
    mutating func learn(_ read: Read) {
      guard read.transport == 6, read.message.count >= 20 else { return }
      sequences[read.destinationPort] = (
        read.acknowledgment,
        read.sequence &+ UInt32(read.data.count) &+ (read.flags & 3 == 0 ? 0 : 1)
      )
    }
  }

  static func residentKilobytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4
  }

  @Test(arguments: [Offloads(), [.checksum, .segmentTCPv4, .segmentTCPv6]])
  func `no frame stops the network, and what it sends is right`(_ offloads: Offloads) {
    let bench = Bench(offloads: offloads)
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    var malice = Malice(chance: Chance(UInt64(offloads.rawValue) + 3))
    let frames = Self.count("ROOST_NET_HOSTILE_FRAMES", 30_000)
    var memory: [Int] = []
    for number in 0..<frames {
      _ = bench.network.send([malice.frame()])
      bench.settle()
      if number % 16 == 0 { offerSomething(bench, &malice) }
      for frame in bench.network.receive(upTo: .max) {
        guard let read = Read(frame) else {
          Issue.record("a wrong frame: \(frame.bytes)")
          continue
        }
        malice.learn(read)
      }
      if number % 64 == 0 { bench.pass(seconds: 0.05) }
      if number % 4096 == 0 {
        for connection in bench.host.connections {
          #expect(Self.isAllowed(connection.remote.address), "\(connection.remote)")
        }
        bench.host.forgetClosed()
      }
      if frames >= 100_000, number % (frames / 10) == frames / 20 {
        memory.append(Self.residentKilobytes())
      }
    }
    let statistics = bench.network.statistics
    if !memory.isEmpty { print("resident KiB: \(memory); \(statistics)") }
    // The frames reach deep enough to mean something.
    #expect(statistics.streamsOpened > 50)
    #expect(statistics.drops.count > 8, "\(statistics)")
    // Everything ends in time, and the network still works.
    bench.pass(seconds: 20_000)
    #expect(bench.network.statistics.streams == 0)
    #expect(bench.network.statistics.datagramFlows == 0)
    #expect(bench.network.statistics.heldBytes == 0)
    _ = bench.take()
    bench.send(Make.echo([1, 2, 3], to: IPAddress(10, 0, 2, 2)))
    #expect(bench.reads().map(\.payload) == [[1, 2, 3]])
    #expect(bench.host.connections.allSatisfy { Self.isAllowed($0.remote.address) })
  }

  /// Whether a guest may reach the address. A frame may be damaged in its destination, and lead to another outside.
  private static func isAllowed(_ address: IPAddress) -> Bool {
    let bytes = address.bytes
    if !address.isV6 {
      return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224
        && !bytes.starts(with: [169, 254]) && !bytes.starts(with: [10, 0, 2])
    }
    let isOfThisHost = bytes.starts(with: [UInt8](repeating: 0, count: 8))
    return !isOfThisHost && bytes[0] != 0xff && !(bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80)
      && !bytes.starts(with: [0xfd, 0, 0, 0, 0, 0, 0, 0])
  }

  private func offerSomething(_ bench: Bench, _ malice: inout Malice) {
    let live = bench.host.connections.filter { !$0.isClosed }
    guard !live.isEmpty else { return }
    let connection = live[malice.number(live.count)]
    switch malice.number(6) {
    case 0: connection.end()
    case 1: connection.breakOff()
    case 2: connection.open(room: malice.number(2000))
    default: connection.offer(malice.bytes(malice.number(3000)))
    }
    bench.settle()
  }

  @Test func `thirty thousand one-byte segments out of order keep bounded memory`() {
    let bench = Bench()
    let mine = Endpoint(Guest.v4, 40000)
    let remote = Endpoint(IPAddress(93, 184, 216, 34), 80)
    bench.send(
      Make.tcp(
        [], from: mine, to: remote, sequence: 0, acknowledgment: 0, flags: Flag.syn,
        options: [2, 4, 5, 180, 4, 2, 1, 1, 3, 3, 7, 0]))
    let answer = bench.reads()[0]
    for index in stride(from: 3, to: 60_000, by: 2) {
      _ = bench.network.send([
        Frame(
          Make.tcp(
            [1], from: mine, to: remote, sequence: UInt32(index),
            acknowledgment: answer.sequence &+ 1, flags: Flag.ack))
      ])
      if index % 64 == 1 { _ = bench.take() }
    }
    _ = bench.take()
    // The gap is filled: what was kept counts, the rest is asked for again.
    bench.send(
      Make.tcp(
        [7, 7], from: mine, to: remote, sequence: 1, acknowledgment: answer.sequence &+ 1,
        flags: Flag.ack))
    #expect(bench.host.connections[0].received == [7, 7, 1])
  }
}
