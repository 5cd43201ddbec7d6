import HostOS
import Networks
import Testing
import UserNetwork

/// Streams through a bad cable, both ways, byte for byte.
@Suite struct TransferTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var loss = 0.0
    var reordering = 0.0
    var duplication = 0.0
    var offloads: Offloads = []
    var options = GuestTCP.Options()
    var isV6 = false
    var size = 2 << 20
    var testDescription: String { name }
  }

  static var cases: [Case] {
    var large = GuestTCP.Options()
    large.frameSize = 40 << 10
    var plain = GuestTCP.Options()
    plain.selects = false
    plain.windowScale = nil
    plain.maximumSegmentSize = nil
    plain.window = 65535
    plain.frameSize = 500
    let all: Offloads = [.checksum, .segmentTCPv4, .segmentTCPv6]
    return [
      Case(name: "a good cable"),
      Case(name: "a good cable, segments cut by the other side", offloads: all, options: large),
      Case(name: "version 6", isV6: true),
      Case(name: "version 6, cut by the other side", offloads: all, options: large, isV6: true),
      Case(name: "loss", loss: 0.01, reordering: 0.02, duplication: 0.01),
      Case(
        name: "loss, cut by the other side", loss: 0.02, reordering: 0.02, duplication: 0.01,
        offloads: all, options: large),
      Case(name: "heavy loss", loss: 0.1, reordering: 0.1, duplication: 0.1, size: 256 << 10),
      Case(
        name: "an old guest without options", loss: 0.01, reordering: 0.02, duplication: 0.01,
        options: plain, size: 512 << 10),
      Case(name: "version 6 with loss", loss: 0.02, reordering: 0.05, isV6: true, size: 1 << 20),
    ]
  }

  /// ROOST_NET_STREAM_BYTES=1073741824: one long stream each way, with loss, reordering and duplication.
  @Test(.enabled(if: HostileTests.count("ROOST_NET_STREAM_BYTES", 0) > 0))
  func `a long stream through a bad cable arrives whole`() {
    var options = GuestTCP.Options()
    options.window = 128 << 10
    var test = Case(name: "long", loss: 0.01, reordering: 0.01, duplication: 0.01)
    test.options = options
    test.size = HostileTests.count("ROOST_NET_STREAM_BYTES", 0)
    transfer(test)
  }

  @Test(arguments: cases)
  func `a stream arrives whole, both ways, and both ends are told`(_ test: Case) {
    transfer(test)
  }

  private func transfer(_ test: Case) {
    let wire = Wire(
      loss: test.loss, reordering: test.reordering, duplication: test.duplication, seed: 7)
    let transfer = TransferBench(Bench(offloads: test.offloads), wire)
    let local = Endpoint(test.isV6 ? Guest.v6 : Guest.v4, 50000)
    let remote =
      Endpoint(test.isV6 ? IPAddress("2606:2800:220::1")! : IPAddress(93, 184, 216, 34), 80)
    let guest = GuestTCP(from: local, to: remote, options: test.options)
    transfer.add(guest)
    let down = PatternCheck()
    let up = PatternCheck()
    guest.onReceive = down.take
    guest.connect(now: transfer.now)
    #expect(transfer.run(turns: 100_000_000) { guest.state == .established })
    let host = transfer.bench.host.connections[0]
    host.keepsReceived = false
    host.onReceive = { bytes, range in up.take(bytes[range]) }
    guest.send(total: test.size, finishing: true, Pattern.bytes, now: transfer.now)
    host.offer(total: test.size, Pattern.bytes)
    #expect(transfer.run(turns: 100_000_000) { host.sawEnd && guest.received == test.size })
    // All has been acknowledged and delivered: the open connection holds nothing.
    #expect(transfer.run(turns: 100_000) { transfer.bench.network.statistics.heldBytes == 0 })
    host.end()
    #expect(transfer.run(turns: 100_000_000) { guest.sawEnd && guest.endIsAcknowledged })
    #expect(down.isRight && down.count == test.size)
    #expect(up.isRight && up.count == test.size)
    #expect(transfer.run(turns: 100_000_000) { transfer.bench.network.statistics.streams == 0 })
    #expect(host.isClosed && !host.isAborted)
    let statistics = transfer.bench.network.statistics
    #expect((statistics.retransmissions > 0) == (test.loss > 0))
  }
}
