import HostOS
import Networks
import Testing

@testable import UserNetwork

@Suite struct SegmentHeadersTests {
  private static func key(isV6: Bool) -> FlowKey {
    FlowKey(
      transport: .tcp, guest: Endpoint(isV6 ? Guest.v6 : Guest.v4, 50000),
      remote: Endpoint(
        isV6 ? IPAddress("2606:2800:220::1")! : IPAddress(93, 184, 216, 34), 443))
  }

  private func headers(isV6: Bool, leavesSum: Bool) -> SegmentHeaders {
    let key = Self.key(isV6: isV6)
    let bytes = Make.tcp(
      [], from: key.remote, to: key.guest, sequence: 1, acknowledgment: 77,
      flags: Flag.ack | Flag.psh, window: 9)
    return SegmentHeaders(bytes, of: key, segmentSize: 1000, leavesSum: leavesSum)
  }

  // `Read` accepts no frame with a wrong length or sum.
  @Test(arguments: [false, true], [false, true])
  func `frames with data behind headers made once are right in all that differs`(
    _ isV6: Bool, _ leavesSum: Bool
  ) throws {
    let headers = headers(isV6: isV6, leavesSum: leavesSum)
    var chance = Chance(5)
    var bytes: [UInt8] = []
    var frames: [(range: Range<Int>, data: [UInt8])] = []
    for count in [1, 2, 31, 32, 33, 999, 1000, 1001, 40001] {
      let data = (0..<count).map { _ in UInt8.random(in: 0...255, using: &chance) }
      let start = bytes.count
      bytes += headers.bytes + data
      frames.append((start..<bytes.count, data))
    }
    var span = bytes.mutableSpan
    for (index, frame) in frames.enumerated() {
      headers.complete(
        &span, frame.range, at: SequenceNumber(0xffff_ff00) + 100 * index,
        window: UInt16(1000 + index), identification: UInt16(truncatingIfNeeded: 0xfffe + index))
    }
    for (index, (range, data)) in frames.enumerated() {
      let unfinished = headers.unfinished(dataCount: data.count)
      let read = try #require(Read(Frame(in: bytes, range, unfinished: unfinished)))
      #expect(Array(read.data) == data)
      #expect(read.sequence == 0xffff_ff00 &+ UInt32(100 * index))
      #expect(read.acknowledgment == 77 && read.flags == Flag.ack | Flag.psh)
      #expect(read.window == UInt16(1000 + index))
      #expect((unfinished.checksum != nil) == leavesSum)
      #expect(unfinished.segmentSize == (data.count > 1000 ? 1000 : nil))
    }
  }

  @Test func `each packet of version 4 has an identification of its own`() {
    let headers = headers(isV6: false, leavesSum: true)
    for identification: UInt16 in [0, 1, 0x1234, 0xffff] {
      var bytes = headers.bytes + [5]
      var span = bytes.mutableSpan
      headers.complete(
        &span, 0..<span.count, at: SequenceNumber(0), window: 0, identification: identification)
      #expect(Read.word(bytes, 18) == identification)
      #expect(Make.sum(Array(bytes[14..<34])) == 0xffff)
    }
  }
}
