import Bits

/// Blocks of the PCAP Next Generation capture file format, for one Ethernet interface.
///
/// Numbers are little-endian, which a file may choose; times are nanoseconds since 1970.
///
/// - SeeAlso: IETF draft-ietf-opsawg-pcapng, §4 "Block Definitions".
package enum PCAPNG {
  /// Which way a frame went, as the guest's card sees it: §4.3.1, `epb_flags`.
  package enum Direction: UInt32, Sendable { case inbound = 1, outbound = 2 }

  /// The blocks that a file begins with: §4.1 "Section Header Block", §4.2 "Interface Description Block".
  package static func header(application: String, interface: String) -> [UInt8] {
    var section: [UInt8] = []
    section.append(littleEndian: 0x1a2b_3c4d as UInt32)
    section.append(littleEndian: 1 as UInt16)
    section.append(littleEndian: 0 as UInt16)
    section.append(littleEndian: -1 as Int64)  // how long the section is: not known yet
    append(option: 4, Array(application.utf8), to: &section)  // shb_userappl
    appendEndOfOptions(to: &section)

    var description: [UInt8] = []
    description.append(littleEndian: 1 as UInt16)  // LINKTYPE_ETHERNET
    description.append(littleEndian: 0 as UInt16)
    description.append(littleEndian: UInt32(snapLength))
    append(option: 2, Array(interface.utf8), to: &description)  // if_name
    append(option: 9, [9], to: &description)  // if_tsresol: 10⁻⁹ s
    appendEndOfOptions(to: &description)
    return block(0x0a0d_0d0a, section) + block(1, description)
  }

  /// A frame: §4.3 "Enhanced Packet Block". `dropped`: how many before it could not be recorded.
  package static func packet(
    _ frame: some Collection<UInt8>, at time: UInt64, _ direction: Direction, dropped: UInt64 = 0
  ) -> [UInt8] {
    let captured = frame.prefix(snapLength)
    var body: [UInt8] = []
    body.reserveCapacity(captured.count + 64)
    body.append(littleEndian: 0 as UInt32)
    appendTime(time, to: &body)
    body.append(littleEndian: UInt32(captured.count))
    body.append(littleEndian: UInt32(truncatingIfNeeded: frame.count))
    body += captured
    pad(&body)
    var flags: [UInt8] = []
    flags.append(littleEndian: direction.rawValue)
    append(option: 2, flags, to: &body)  // epb_flags
    if dropped > 0 {
      var count: [UInt8] = []
      count.append(littleEndian: dropped)
      append(option: 4, count, to: &body)  // epb_dropcount
    }
    appendEndOfOptions(to: &body)
    return block(6, body)
  }

  /// The end of a capture: §4.6 "Interface Statistics Block".
  package static func statistics(at time: UInt64, seen: UInt64, dropped: UInt64) -> [UInt8] {
    var body: [UInt8] = []
    body.append(littleEndian: 0 as UInt32)
    appendTime(time, to: &body)
    // isb_ifrecv, isb_ifdrop
    for (code, count) in [(4, seen), (5, dropped)] as [(UInt16, UInt64)] {
      var value: [UInt8] = []
      value.append(littleEndian: count)
      append(option: code, value, to: &body)
    }
    appendEndOfOptions(to: &body)
    return block(5, body)
  }

  /// How much of a frame is kept: all of any that there is.
  static let snapLength = 262_144

  private static func block(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
    let length = UInt32(truncatingIfNeeded: body.count + 12)
    var result: [UInt8] = []
    result.reserveCapacity(Int(length))
    result.append(littleEndian: type)
    result.append(littleEndian: length)
    result += body
    result.append(littleEndian: length)
    return result
  }

  /// §3.5 "Options".
  private static func append(option code: UInt16, _ value: [UInt8], to body: inout [UInt8]) {
    let value = value.prefix(Int(UInt16.max))
    body.append(littleEndian: code)
    body.append(littleEndian: UInt16(value.count))
    body += value
    pad(&body)
  }

  private static func appendEndOfOptions(to body: inout [UInt8]) {
    body.append(littleEndian: 0 as UInt32)
  }

  private static func appendTime(_ time: UInt64, to body: inout [UInt8]) {
    body.append(littleEndian: UInt32(truncatingIfNeeded: time &>> 32))
    body.append(littleEndian: UInt32(truncatingIfNeeded: time))
  }

  private static func pad(_ body: inout [UInt8]) {
    while body.count % 4 != 0 { body.append(0) }
  }
}
