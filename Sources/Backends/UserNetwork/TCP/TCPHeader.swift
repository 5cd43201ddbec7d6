/// A TCP segment's header (RFC 9293 3.1) and the options that are understood.
struct TCPHeader {
  static let length = 20
  static let maximumLength = 60

  struct Flags: OptionSet {
    let rawValue: UInt8
    static let fin = Flags(rawValue: 1)
    static let syn = Flags(rawValue: 2)
    static let rst = Flags(rawValue: 4)
    static let psh = Flags(rawValue: 8)
    static let ack = Flags(rawValue: 16)
  }

  let sourcePort: UInt16
  let destinationPort: UInt16
  let sequence: SequenceNumber
  let acknowledgment: SequenceNumber
  let flags: Flags
  let window: UInt16
  /// Where the segment's data is in the packet's bytes.
  let data: Range<Int>
  private(set) var options = Options()

  struct Options {
    /// RFC 9293 3.7.1.
    var maximumSegmentSize: UInt16?
    /// RFC 7323 2.2.
    var windowScale: UInt8?
    /// RFC 2018 2.
    var maySelect = false
    /// RFC 2018 3: from here, to before there; four at most.
    var selected = Blocks()
  }

  /// Up to four ranges of a stream.
  struct Blocks {
    private var places = InlineArray<8, UInt32>(repeating: 0)
    private(set) var count = 0

    mutating func append(_ start: SequenceNumber, _ end: SequenceNumber) {
      guard count < 4 else { return }
      places[2 * count] = start.raw
      places[2 * count + 1] = end.raw
      count += 1
    }

    subscript(_ index: Int) -> (start: SequenceNumber, end: SequenceNumber) {
      (SequenceNumber(places[2 * index]), SequenceNumber(places[2 * index + 1]))
    }
  }

  enum Option {
    static let end: UInt8 = 0
    static let nothing: UInt8 = 1
    static let maximumSegmentSize: UInt8 = 2
    static let windowScale: UInt8 = 3
    static let maySelect: UInt8 = 4
    static let selected: UInt8 = 5
  }

  /// `nil` if the packet is too short for its header, or an option for its length.
  init?(_ packet: Packet) {
    let bytes = packet.bytes
    let start = packet.start
    guard packet.count >= Self.length else { return nil }
    sourcePort = bytes.word16(start)
    destinationPort = bytes.word16(start + 2)
    sequence = SequenceNumber(bytes.word32(start + 4))
    acknowledgment = SequenceNumber(bytes.word32(start + 8))
    let length = Int(bytes[start + 12] &>> 4) * 4
    flags = Flags(rawValue: bytes[start + 13])
    window = bytes.word16(start + 14)
    guard length >= Self.length, length <= packet.count else { return nil }
    data = start + length..<packet.end
    if length > Self.length {
      guard readOptions(bytes, start + Self.length..<start + length) else { return nil }
    }
  }

  private mutating func readOptions(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    var at = range.lowerBound
    while at < range.upperBound {
      let kind = bytes[at]
      if kind == Option.end { return true }
      if kind == Option.nothing {
        at += 1
        continue
      }
      guard at + 1 < range.upperBound else { return false }
      let length = Int(bytes[at + 1])
      guard length >= 2, at + length <= range.upperBound else { return false }
      switch (kind, length) {
      case (Option.maximumSegmentSize, 4): options.maximumSegmentSize = bytes.word16(at + 2)
      case (Option.windowScale, 3): options.windowScale = min(bytes[at + 2], 14)
      case (Option.maySelect, 2): options.maySelect = true
      case (Option.selected, _):
        var block = at + 2
        while block + 8 <= at + length {
          options.selected.append(
            SequenceNumber(bytes.word32(block)), SequenceNumber(bytes.word32(block + 4)))
          block += 8
        }
      default: break
      }
      at += length
    }
    return true
  }
}
