import HostOS

/// Ethernet II (IEEE 802.3-2018 3.2.6): destination, source, type.
enum Ethernet {
  static let headerLength = 14

  enum Kind {
    static let ipv4: UInt16 = 0x0800
    static let arp: UInt16 = 0x0806
    static let ipv6: UInt16 = 0x86dd
  }
}

/// IANA, *Assigned Internet Protocol Numbers*.
enum IPProtocol {
  static let hopByHop: UInt8 = 0
  static let icmp: UInt8 = 1
  static let tcp: UInt8 = 6
  static let udp: UInt8 = 17
  static let routing: UInt8 = 43
  static let fragment: UInt8 = 44
  static let icmpV6: UInt8 = 58
  static let noNextHeader: UInt8 = 59
  static let destinationOptions: UInt8 = 60
}

/// RFC 791 3.1.
enum IPv4 {
  static let headerLength = 20
  static let moreFragments: UInt16 = 0x2000
  static let dontFragment: UInt16 = 0x4000
  static let timeToLive: UInt8 = 64
}

/// RFC 8200 3.
enum IPv6 {
  static let headerLength = 40
  static let fragmentHeaderLength = 8
  static let hopLimit: UInt8 = 64
  static let allNodes = IPAddress(v6: 0xff02_0000_0000_0000, 1)
  static let allRouters = IPAddress(v6: 0xff02_0000_0000_0000, 2)
}

enum UDP { static let headerLength = 8 }

/// A packet for us, its IP header checked and any fragments joined: what the protocols above IP are given.
struct Packet {
  /// The Ethernet frame.
  let bytes: [UInt8]
  let hardwareSource: MACAddress
  let source: IPAddress
  let destination: IPAddress
  let transport: UInt8
  let timeToLive: UInt8
  /// Where the IP header and the message in the packet begin, and where that ends.
  let header: Int
  let start: Int
  let end: Int
  /// The sum over the message is left to us or was never on a wire.
  let isChecked: Bool

  var count: Int { end - start }

  /// Whether the sum over pseudo header (RFC 9293 3.1, RFC 8200 8.1) and message is right.
  var hasRightSum: Bool {
    isChecked
      || InternetSum.add(
        InternetSum.of(bytes, start..<end),
        pseudoSum(source, destination, transport, end - start)) == 0xffff
  }
}

/// The sum over the pseudo header of TCP, UDP and ICMPv6.
func pseudoSum(_ a: IPAddress, _ b: IPAddress, _ transport: UInt8, _ count: Int) -> UInt16 {
  func words(_ value: UInt64) -> UInt64 {
    (value &>> 48) &+ (value &>> 32 & 0xffff) &+ (value &>> 16 & 0xffff) &+ (value & 0xffff)
  }
  var sum = UInt64(transport) &+ UInt64(truncatingIfNeeded: count)
  sum = sum &+ words(a.high) &+ words(a.low) &+ words(b.high) &+ words(b.low)
  while sum &>> 16 != 0 { sum = (sum & 0xffff) &+ (sum &>> 16) }
  return UInt16(truncatingIfNeeded: sum)
}
