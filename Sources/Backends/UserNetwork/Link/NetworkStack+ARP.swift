/// Address resolution for version 4 (RFC 826; RFC 5227 for probes).
extension NetworkStack {
  private enum Layout {
    static let length = 28
    static let ethernetOverIPv4: UInt64 = 0x0001_0800_0604_0000
    static let request: UInt16 = 1
    static let reply: UInt16 = 2
  }

  func receiveARP(_ bytes: [UInt8], _ hardware: MACAddress) {
    let start = Ethernet.headerLength
    guard bytes.count >= start + Layout.length,
      bytes.word64(start) & ~0xffff == Layout.ethernetOverIPv4
    else { return statistics.drop(.malformed) }
    let sender = bytes.addressV4(start + 14)
    let target = bytes.addressV4(start + 24)
    guard bytes.hardwareAddress(start + 8) == hardware, sender.isUnspecified || mayBeGuest(sender)
    else { return statistics.drop(.spoofed) }
    hear(hardware)
    if !sender.isUnspecified { hear(sender) }
    guard bytes.word16(start + 6) == Layout.request else { return }
    // A probe asks whether an address is free: all are, but the network's own.
    let isOurs = plan.isOwn(target)
    let isNeighbour =
      plan.isInside(target) && !sender.isUnspecified && target != sender
      && target != plan.guestV4 && target != guestHeardV4
    guard isOurs || isNeighbour else { return }
    sendARP(
      Layout.reply, from: plan.gatewayHardware, target, to: hardware, sender, ethernet: hardware)
  }

  /// Asks the guest for its Ethernet address. What was to be sent is lost; whoever sent it tries again.
  func askForGuest() {
    guard plan.hasV4 else { return }
    sendARP(
      Layout.request, from: plan.gatewayHardware, plan.gatewayV4, to: MACAddress(rawValue: 0),
      guestV4, ethernet: .broadcast)
  }

  private func sendARP(
    _ operation: UInt16, from: MACAddress, _ source: IPAddress, to: MACAddress,
    _ target: IPAddress, ethernet: MACAddress
  ) {
    let start = Ethernet.headerLength
    var bytes = [UInt8](repeating: 0, count: start + Layout.length)
    bytes.put(ethernet, 0)
    bytes.put(plan.gatewayHardware, 6)
    bytes.put(Ethernet.Kind.arp, 12)
    bytes.put(Layout.ethernetOverIPv4 | UInt64(operation), start)
    bytes.put(from, start + 8)
    bytes.put(source, start + 14)
    bytes.put(to, start + 18)
    bytes.put(target, start + 24)
    emit(bytes)
  }

  /// Whether the guest may call itself so: an address of the subnet that is not the network's own.
  func mayBeGuest(_ address: IPAddress) -> Bool {
    if address.isV6 {
      return (plan.isInside(address) || address.isLinkLocal) && !plan.isOwn(address)
    }
    return plan.isInside(address) && !plan.isOwn(address) && address != plan.subnetBroadcast
      && address != plan.prefixV4
  }

  /// Where forwards lead: the planned address, or the one the guest uses in its place.
  var guestV4: IPAddress { guestHeardV4 ?? plan.guestV4 }

  func hear(_ address: IPAddress) {
    if address == plan.guestV4 {
      guestHeardV4 = nil
    } else if guestHeardV4 == nil, !address.isV6 {
      guestHeardV4 = address
    }
  }
}
