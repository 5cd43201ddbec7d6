/// Where the headers of a TCP segment lie in an Ethernet frame.
///
/// - SeeAlso: IEEE 802.1Q-2022 §9.5 "Tag formats"; RFC 791 3.1; RFC 8200 3; RFC 9293 3.1.
struct TCPHeaders {
  let isV6: Bool
  /// Where the IP header begins.
  let network: Int
  /// Where the TCP header begins.
  let transport: Int
  /// Where the data begins.
  let payload: Int

  /// `nil`: no TCP over IP, cut short, a fragment, or with lengths that make no sense.
  init?(_ bytes: [UInt8]) {
    var type = 12
    // At most two tags: a service's, and a customer's.
    for _ in 0..<2 {
      guard bytes.count >= type + 2 else { return nil }
      guard [0x8100, 0x88a8].contains(bytes.word(at: type)) else { break }
      type += 4
    }
    guard bytes.count >= type + 2 else { return nil }
    network = type + 2
    switch bytes.word(at: type) {
    case 0x0800: isV6 = false
    case 0x86dd: isV6 = true
    default: return nil
    }
    guard
      let transport = isV6
        ? Self.endOfV6(bytes, network) : Self.endOfV4(bytes, network),
      bytes.count >= transport + 20
    else { return nil }
    self.transport = transport
    payload = transport + Int(bytes[transport + 12] &>> 4) * 4
    guard payload >= transport + 20, payload <= bytes.count else { return nil }
  }

  private static func endOfV4(_ bytes: [UInt8], _ start: Int) -> Int? {
    guard bytes.count >= start + 20, bytes[start] &>> 4 == 4 else { return nil }
    let length = Int(bytes[start] & 0xf) * 4
    let isFragment = bytes.word(at: start + 6) & 0x3fff != 0
    guard length >= 20, !isFragment, bytes[start + 9] == 6 else { return nil }
    return start + length
  }

  /// Passes over hop-by-hop and destination options; a routing header would change the sum's destination.
  private static func endOfV6(_ bytes: [UInt8], _ start: Int) -> Int? {
    guard bytes.count >= start + 40, bytes[start] &>> 4 == 6 else { return nil }
    var next = bytes[start + 6]
    var end = start + 40
    for _ in 0..<4 {
      if next == 6 { return end }
      guard next == 0 || next == 60, bytes.count >= end + 8 else { return nil }
      next = bytes[end]
      end += (Int(bytes[end + 1]) + 1) * 8
    }
    return next == 6 ? end : nil
  }
}
