import Networks
import Testing

@Suite struct FrameTests {
  private static let storage = Array(0..<100 as Range<UInt8>)

  @Test func `a frame is a part of an array`() {
    let frame = Frame(in: Self.storage, 10..<40)
    #expect(frame.count == 30)
    #expect(frame.bytes == Array(10..<40))
    #expect(frame.slice.elementsEqual(10..<40))
    #expect(frame[0] == 10 && frame[29] == 39)
    #expect(frame.hasLegalLength && !Frame(in: Self.storage, 10..<20).hasLegalLength)
  }

  @Test func `frames of one array change each for itself`() {
    var first = Frame(in: Self.storage, 0..<50)
    let second = Frame(in: Self.storage, 50..<100)
    first.bytes[3] = 0xff
    first.bytes.append(7)
    #expect(first.bytes == [0, 1, 2, 0xff] + Array(4..<50) + [7])
    #expect(first.count == 51 && first[50] == 7)
    #expect(second.bytes == Array(50..<100))
  }

  @Test func `a frame in an array is finished like one of its own`() {
    var options = Sample.TCP()
    options.payload = (0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    options.segmentSize = 1000
    let whole = Sample.tcp(options)
    let part = Frame(
      in: [1, 2, 3] + whole.bytes + [4], 3..<3 + whole.count, unfinished: whole.unfinished)
    let expected = whole.finished(maximum: 1500)
    #expect(expected.count == 3)
    #expect(part.finished(maximum: 1500).map(\.bytes) == expected.map(\.bytes))
  }
}
