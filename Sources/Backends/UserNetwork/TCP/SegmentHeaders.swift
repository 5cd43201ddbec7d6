import HostOS
import Networks

/// The headers of a connection's next segments with data and without options: made once, and completed in each frame.
struct SegmentHeaders {
  /// From Ethernet's to TCP's, as for a segment without data, at no place and with no window.
  let bytes: [UInt8]
  private let start: Int
  /// The sum over the IP header of version 4, and over the pseudo header, each without a length.
  private let headerSum: UInt16
  private let pseudoHeaderSum: UInt16
  /// Whether the guest takes sums itself, and how much data a segment that it cuts has.
  private let leavesSum: Bool
  private let segmentSize: Int

  /// - Parameter bytes: the headers as they are for a segment without data, with sums or without.
  init(_ bytes: [UInt8], of key: FlowKey, segmentSize: Int, leavesSum: Bool) {
    let isV6 = key.guest.address.isV6
    start = bytes.count - TCPHeader.length
    var bytes = bytes
    // What differs from frame to frame is left out of the sums.
    if isV6 {
      bytes.put(UInt16(0), Place.lengthV6)
      headerSum = 0
    } else {
      for place in [Place.lengthV4, Place.identification, Place.sumV4] {
        bytes.put(UInt16(0), place)
      }
      headerSum = InternetSum.of(bytes, Ethernet.headerLength..<start)
    }
    bytes.put(UInt16(0), start + Place.sum)
    self.bytes = bytes
    pseudoHeaderSum = pseudoSum(key.remote.address, key.guest.address, IPProtocol.tcp, 0)
    self.leavesSum = leavesSum
    self.segmentSize = segmentSize
  }

  /// Places in a frame, and from where TCP's header begins.
  private enum Place {
    static let lengthV4 = 16
    static let identification = 18
    static let sumV4 = 24
    static let lengthV6 = 18
    static let sequence = 4
    static let window = 14
    static let sum = 16
  }

  /// Fills in what depends on a frame's place in the stream and on its data, which stands behind the headers.
  func complete(
    _ bytes: inout MutableSpan<UInt8>, _ frame: Range<Int>, at sequence: SequenceNumber,
    window: UInt16, identification: UInt16
  ) {
    let first = frame.lowerBound
    let message = UInt16(truncatingIfNeeded: frame.count &- start)
    if start == Ethernet.headerLength + IPv4.headerLength {
      let length = message &+ UInt16(IPv4.headerLength)
      bytes.put(length, first &+ Place.lengthV4)
      bytes.put(identification, first &+ Place.identification)
      bytes.put(~sum(headerSum, length, identification), first &+ Place.sumV4)
    } else {
      bytes.put(message, first &+ Place.lengthV6)
    }
    let segment = first &+ start
    bytes.put(sequence.raw, segment &+ Place.sequence)
    bytes.put(window, segment &+ Place.window)
    let total =
      leavesSum
      ? sum(pseudoHeaderSum, message, 0)
      : ~sum(pseudoHeaderSum, message, InternetSum.of(bytes.span, segment..<frame.upperBound))
    bytes.put(total, segment &+ Place.sum)
  }

  /// The sum of three, as `InternetSum.add` of two, which is not inlined here.
  @inline(__always)
  private func sum(_ a: UInt16, _ b: UInt16, _ c: UInt16) -> UInt16 {
    var sum = UInt32(a) &+ UInt32(b) &+ UInt32(c)
    sum = (sum & 0xffff) &+ (sum &>> 16)
    return UInt16(truncatingIfNeeded: sum &+ (sum &>> 16))
  }

  /// What is left to the guest of a frame with so much data.
  func unfinished(dataCount: Int) -> Frame.Unfinished {
    var unfinished = Frame.Unfinished()
    if leavesSum { unfinished.checksum = (start, Place.sum) }
    if dataCount > segmentSize { unfinished.segmentSize = segmentSize }
    return unfinished
  }
}
