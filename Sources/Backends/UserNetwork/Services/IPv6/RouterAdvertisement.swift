/// Tells the guest of version 6: which prefix is on the link, who routes, who resolves names.
///
/// The guest makes an address of its own from the prefix, and is told that DHCPv6 has one for it, too.
///
/// - SeeAlso: RFC 4861 §4.2 "Router Advertisement Message Format"; RFC 8106 §5 "Neighbor Discovery Extensions".
package final class RouterAdvertisement: RouterAdvertiser {
  private let message: [UInt8]

  package init(plan: UserNetworkPlan, names: NetworkNames = NetworkNames()) {
    message = plan.hasV6 ? Self.encode(plan, names) : []
  }

  package func routerAdvertisement() -> [UInt8] { message }

  /// Seconds for which the router, and what it names, may be relied on.
  private static let lifetime: UInt16 = 1800
  private static let validSeconds: UInt32 = 86_400
  private static let preferredSeconds: UInt32 = 14_400

  private static func encode(_ plan: UserNetworkPlan, _ names: NetworkNames) -> [UInt8] {
    let managed: UInt8 = 0x80
    let other: UInt8 = 0x40
    var bytes: [UInt8] = [134, 0, 0, 0, 64, managed | other]
    bytes.append(bigEndian: lifetime)
    bytes += [UInt8](repeating: 0, count: 8)  // reachable time, retransmission timer: unspecified

    bytes += [1, 1] + plan.gatewayHardware.bytes  // 4.6.1: source link-layer address
    bytes += [5, 1, 0, 0]  // 4.6.4: maximum transmission unit
    bytes.append(bigEndian: UInt32(clamping: plan.maximumTransmissionUnit))

    let onLink: UInt8 = 0x80
    let autonomous: UInt8 = 0x40
    bytes += [3, 4, UInt8(clamping: plan.prefixLengthV6), onLink | autonomous]  // 4.6.2: prefix
    bytes.append(bigEndian: validSeconds)
    bytes.append(bigEndian: preferredSeconds)
    bytes += [0, 0, 0, 0] + plan.prefixV6.bytes

    bytes += [25, 3, 0, 0]  // RFC 8106 5.1: recursive name server
    bytes.append(bigEndian: UInt32(lifetime))
    bytes += plan.dnsV6.bytes

    // RFC 8106 5.2: search list, filled up with zeroes to eights. A whole list fits in the length's eight bits.
    var list: [UInt8] = []
    for domain in [names.domain] + names.searchDomains
    where list.count + domain.wire.count <= 1024 { list += domain.wire }
    while list.count % 8 != 0 { list.append(0) }
    bytes += [31, UInt8(1 + list.count / 8), 0, 0]
    bytes.append(bigEndian: UInt32(lifetime))
    return bytes + list
  }
}
