/// How a user network looks to its guest. The defaults are those that QEMU's user network has.
package struct UserNetworkPlan: Sendable {
  /// The subnet of version 4: its address, and how many leading bits are the network's.
  package var prefixV4 = IPAddress(10, 0, 2, 0)
  package var prefixLengthV4 = 24
  /// The router, and the host as seen by the guest.
  package var gatewayV4 = IPAddress(10, 0, 2, 2)
  package var dnsV4 = IPAddress(10, 0, 2, 3)
  /// What DHCP hands out, and where forwards lead until the guest is heard from.
  package var guestV4 = IPAddress(10, 0, 2, 15)

  /// The subnet of version 6, of 64 bits: a unique local one (RFC 4193), so that guests prefer version 4 where the
  /// host has no version 6.
  package var prefixV6 = IPAddress(v6: 0xfd00_0000_0000_0000, 0)
  package var prefixLengthV6 = 64
  package var gatewayV6 = IPAddress(v6: 0xfd00_0000_0000_0000, 2)
  package var dnsV6 = IPAddress(v6: 0xfd00_0000_0000_0000, 3)
  /// What DHCPv6 hands out.
  package var guestV6 = IPAddress(v6: 0xfd00_0000_0000_0000, 0x15)
  /// The router's link-local address, from which it advertises (RFC 4861 6.1.2).
  package var routerLinkLocal = IPAddress(v6: 0xfe80_0000_0000_0000, 2)

  package var hasV4 = true
  package var hasV6 = true

  /// The Ethernet address of everything on the network that is not the guest.
  package var gatewayHardware = MACAddress(rawValue: 0x5255_0a00_0202)
  /// The Ethernet address of the guest's card; frames from any other are dropped. `nil`: the first one heard.
  package var guestHardware: MACAddress?
  /// The name that DHCP gives to the guest.
  package var hostName = "roost"
  package var maximumTransmissionUnit = 1500

  /// Whether connections to the gateway reach the host's own loopback.
  package var allowsHostLoopback = false
  /// Whether link-local addresses outside the network may be reached: clouds keep the host's credentials at
  /// 169.254.169.254.
  package var allowsLinkLocal = false

  package init() {}
}

extension UserNetworkPlan {
  /// Whether the address belongs to the guest's subnet.
  package func isInside(_ address: IPAddress) -> Bool {
    if address.isV6 {
      return Self.matches(address.high, prefixV6.high, prefixLengthV6, of: 64)
        && Self.matches(address.low, prefixV6.low, prefixLengthV6 - 64, of: 64)
    }
    return Self.matches(address.low, prefixV4.low, prefixLengthV4, of: 32)
  }

  /// The last address of the subnet: all stations on it.
  package var subnetBroadcast: IPAddress {
    let hosts = prefixLengthV4 >= 32 ? 0 : UInt32.max &>> UInt32(max(0, prefixLengthV4))
    return IPAddress(v4: prefixV4.v4 | hosts)
  }

  /// Whether the address is one of the network's own: router or name server.
  package func isOwn(_ address: IPAddress) -> Bool {
    address.isV6
      ? address == gatewayV6 || address == dnsV6 || address == routerLinkLocal
      : address == gatewayV4 || address == dnsV4
  }

  private static func matches(_ a: UInt64, _ b: UInt64, _ length: Int, of width: Int) -> Bool {
    guard length > 0 else { return true }
    return (a ^ b) &>> UInt64(max(0, width - length)) == 0
  }
}
