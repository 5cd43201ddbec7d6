import Testing

@testable import UserNetwork

/// A sender of 1,000 bytes that one read brought, in segments of 100 behind heads of 4.
@Suite struct TCPSenderTests {
  private static let data = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 / 256) }
  private static let start = SequenceNumber(0xffff_ff00)

  private func sender(maySelect: Bool = true) -> TCPSender {
    var sender = TCPSender(next: Self.start, segmentSize: 100, maySelect: maySelect)
    sender.beginWindow(65535, sequence: SequenceNumber(0), acknowledgment: Self.start)
    var storage: [UInt8] = []
    for at in stride(from: 0, to: 1000, by: 100) {
      storage += [0xff, 0xff, 0xff, 0xff] + Self.data[at..<at + 100]
    }
    sender.sent(FramedData(storage, behind: 4, piecesOf: 100), isLast: false, now: 1)
    return sender
  }

  private func acknowledge(
    _ sender: inout TCPSender, _ place: Int, selected: [Range<Int>] = [], isDuplicate: Bool = false
  ) {
    var blocks = TCPHeader.Blocks()
    for range in selected {
      blocks.append(Self.start + range.lowerBound, Self.start + range.upperBound)
    }
    _ = sender.acknowledge(Self.start + place, blocks, isDuplicate: isDuplicate, now: 2)
  }

  /// Takes what is lost: where it is, with the right bytes.
  private func takeLost(_ sender: inout TCPSender) -> Range<Int>? {
    guard let segment = sender.takeLost(now: 3) else { return nil }
    let from = segment.start - Self.start
    var bytes: [UInt8] = []
    segment.data.append(to: &bytes)
    #expect(bytes == Array(Self.data[from..<from + bytes.count]))
    return from..<from + bytes.count
  }

  @Test func `a hole in what one read brought is sent again alone`() {
    var sender = sender()
    acknowledge(&sender, 200, selected: [300..<650, 700..<1000])
    #expect(sender.lost == 150 && sender.underWay == 0)
    #expect(takeLost(&sender) == 200..<300)
    #expect(takeLost(&sender) == 650..<700)
    #expect(takeLost(&sender) == nil)
    #expect(sender.lost == 0 && sender.underWay == 150)
  }

  @Test func `a guest that cannot select is sent a segment again`() {
    var sender = sender(maySelect: false)
    acknowledge(&sender, 250)
    for _ in 0..<3 { acknowledge(&sender, 250, isDuplicate: true) }
    #expect(takeLost(&sender) == 250..<350)
    #expect(takeLost(&sender) == nil)
  }

  @Test func `all is sent again in segments when nothing was heard`() {
    var sender = sender()
    acknowledge(&sender, 130)
    sender.timedOut()
    for from in stride(from: 130, to: 930, by: 100) {
      #expect(takeLost(&sender) == from..<from + 100)
    }
    #expect(takeLost(&sender) == 930..<1000)
    #expect(takeLost(&sender) == nil)
  }

  @Test func `the memory of a read is held until all of it has arrived`() {
    var sender = sender()
    #expect(sender.cost == 1040)
    acknowledge(&sender, 0, selected: [100..<200, 300..<1000])
    #expect(takeLost(&sender) == 0..<100)
    for place in [99, 100, 250, 300, 999] {
      acknowledge(&sender, place)
      #expect(sender.cost == 1040)
    }
    acknowledge(&sender, 1000)
    #expect(sender.cost == 0 && sender.isEmpty && sender.outstanding == 0)
  }
}
