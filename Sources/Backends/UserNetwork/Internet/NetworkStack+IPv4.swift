import HostOS
import Networks

/// Version 4 (RFC 791).
extension NetworkStack {
  func receiveIPv4(_ frame: Frame, _ hardware: MACAddress) {
    let bytes = frame.bytes
    let start = Ethernet.headerLength
    guard bytes.count >= start + IPv4.headerLength, bytes[start] &>> 4 == 4 else {
      return statistics.drop(.malformed)
    }
    let headerLength = Int(bytes[start] & 0xf) * 4
    let total = Int(bytes.word16(start + 2))
    guard headerLength >= IPv4.headerLength, total >= headerLength, start + total <= bytes.count
    else { return statistics.drop(.malformed) }
    guard InternetSum.of(bytes, start..<start + headerLength) == 0xffff else {
      return statistics.drop(.wrongChecksum)
    }
    let isUnfinished = frame.unfinished.segmentSize != nil || frame.unfinished.isChecked
    guard total <= plan.maximumTransmissionUnit || isUnfinished else {
      return statistics.drop(.tooLong)
    }
    let source = bytes.addressV4(start + 12)
    let destination = bytes.addressV4(start + 16)
    let transport = bytes[start + 9]
    let isToAll = destination == .broadcast || destination == plan.subnetBroadcast
    // A guest without an address speaks only to whoever gives it one.
    let isNewcomer =
      source.isUnspecified && transport == IPProtocol.udp && destination == .broadcast
    guard isNewcomer || mayBeGuest(source) else { return statistics.drop(.spoofed) }
    guard !optionsMislead(bytes, start + IPv4.headerLength..<start + headerLength) else {
      return statistics.drop(.forbidden)
    }
    hear(hardware)
    if !isNewcomer { hear(source) }

    let flags = bytes.word16(start + 6)
    let offset = Int(flags & 0x1fff) * 8
    let data = start + headerLength..<start + total
    if flags & IPv4.moreFragments != 0 || offset > 0 {
      guard frame.unfinished.segmentSize == nil else { return statistics.drop(.malformed) }
      let name = FragmentStore.Name(
        source: source, destination: destination, transport: transport,
        identification: UInt32(bytes.word16(start + 4)))
      joinFragment(
        FragmentStore.Piece(offset: offset, bytes: bytes, data: data), of: name,
        isLast: flags & IPv4.moreFragments == 0, hardware, bytes[start + 8])
      return
    }
    deliver(
      Packet(
        bytes: bytes, hardwareSource: hardware, source: source, destination: destination,
        transport: transport, timeToLive: bytes[start + 8], header: start,
        start: data.lowerBound, end: data.upperBound,
        isChecked: frame.unfinished.isChecked || frame.unfinished.checksum != nil),
      isToAll: isToAll)
  }

  /// Whether the options are malformed, or ask for a way of their own: source routes (RFC 791 3.1) are refused as
  /// RFC 7126 3.1 advises, all others have no meaning here.
  private func optionsMislead(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    var at = range.lowerBound
    while at < range.upperBound {
      let kind = bytes[at]
      if kind == 0 { return false }
      if kind == 1 {
        at += 1
        continue
      }
      guard at + 1 < range.upperBound, kind != 131, kind != 137 else { return true }
      let length = Int(bytes[at + 1])
      guard length >= 2, at + length <= range.upperBound else { return true }
      at += length
    }
    return false
  }

  /// Keeps a piece, or delivers the packet that it completes.
  func joinFragment(
    _ piece: FragmentStore.Piece, of name: FragmentStore.Name, isLast: Bool,
    _ hardware: MACAddress, _ timeToLive: UInt8
  ) {
    switch fragments.add(piece, of: name, isLast: isLast, now: now) {
    case .incomplete: break
    case .overlap: statistics.drop(.fragmentsOverlap)
    case .malformed: statistics.drop(.malformed)
    case .limit: statistics.drop(.fragmentsLimit)
    case .complete(let pieces):
      statistics.datagramsReassembled &+= 1
      let start = headerLength(isV6: name.source.isV6)
      // An error message quotes the header; one is made as the first piece would have it.
      var bytes = [UInt8](repeating: 0, count: start)
      for piece in pieces { bytes += piece.bytes[piece.data] }
      guard bytes.count - start <= 65535 - IPv4.headerLength,
        writeHeaders(
          &bytes, from: name.source, to: name.destination, name.transport,
          timeToLive: timeToLive, hardware: hardware)
      else { return statistics.drop(.malformed) }
      let packet = Packet(
        bytes: bytes, hardwareSource: hardware, source: name.source,
        destination: name.destination, transport: name.transport, timeToLive: timeToLive,
        header: Ethernet.headerLength, start: start, end: bytes.count, isChecked: false)
      if name.source.isV6 { followHeaders(packet) } else { deliver(packet, isToAll: false) }
    }
  }

  func dropLateFragments() {
    guard let deadline = fragments.nextDeadline, deadline <= now else { return }
    while let late = fragments.takeLate(now) {
      statistics.drop(.fragmentsLate)
      guard let first = late.first else { continue }
      sendError(
        .reassemblyTooSlow, about: first.bytes, first.data, from: late.name.source,
        to: late.name.destination)
    }
  }

  /// Hands a packet to the protocol above.
  func deliver(_ packet: Packet, isToAll: Bool) {
    let isOwn = plan.isOwn(packet.destination)
    let isToGroup = isToAll || packet.destination.isMulticast
    if !isOwn, !isToGroup, packet.timeToLive <= 1 { return sendError(.timeExceeded, about: packet) }
    switch packet.transport {
    case IPProtocol.tcp where !isToGroup: receiveTCP(packet)
    case IPProtocol.udp: receiveUDP(packet, isOwn: isOwn, isToGroup: isToGroup)
    case IPProtocol.icmp where !packet.source.isV6 && !isToGroup: receiveICMP(packet, isOwn: isOwn)
    case IPProtocol.icmpV6 where packet.source.isV6: receiveICMPv6(packet, isOwn: isOwn)
    default:
      statistics.drop(.unknownProtocol)
      if !isToGroup { sendError(.protocolUnreachable, about: packet) }
    }
  }
}
