import Networks

extension NetworkStack {
  /// Sends a message that stands behind room for the headers, in pieces if one frame does not hold it.
  func sendMessage(
    _ bytes: inout [UInt8], from source: IPAddress, to destination: IPAddress,
    _ transport: UInt8, timeToLive: UInt8 = IPv4.timeToLive, hardware: MACAddress? = nil,
    unfinished: Frame.Unfinished = Frame.Unfinished()
  ) {
    guard
      writeHeaders(
        &bytes, from: source, to: destination, transport, timeToLive: timeToLive,
        hardware: hardware)
    else { return }
    let limit = plan.maximumTransmissionUnit
    if bytes.count - Ethernet.headerLength <= limit { return emit(bytes, unfinished) }
    if source.isV6 { cutV6(bytes, transport, limit) } else { cutV4(bytes, limit) }
  }

  /// RFC 791 2.3.
  private func cutV4(_ bytes: [UInt8], _ limit: Int) {
    let start = headerLength(isV6: false)
    let step = (limit - IPv4.headerLength) & ~7
    for from in stride(from: start, to: bytes.count, by: step) {
      let to = min(from + step, bytes.count)
      var piece = Array(bytes[..<start])
      piece += bytes[from..<to]
      let more = to < bytes.count ? IPv4.moreFragments : 0
      piece.put(UInt16(to - from + IPv4.headerLength), 16)
      piece.put(more | UInt16((from - start) / 8), 20)
      piece.put(UInt16(0), 24)
      piece.put(~headerSum(piece), 24)
      emit(piece)
    }
  }

  private func headerSum(_ bytes: [UInt8]) -> UInt16 {
    internetSum(Array(bytes[Ethernet.headerLength..<headerLength(isV6: false)]), 0)
  }

  /// RFC 8200 4.5.
  private func cutV6(_ bytes: [UInt8], _ transport: UInt8, _ limit: Int) {
    let start = headerLength(isV6: true)
    let step = (limit - IPv6.headerLength - IPv6.fragmentHeaderLength) & ~7
    nextIdentification &+= 1
    for from in stride(from: start, to: bytes.count, by: step) {
      let to = min(from + step, bytes.count)
      var piece = Array(bytes[..<start])
      piece += [transport, 0, 0, 0, 0, 0, 0, 0]
      piece += bytes[from..<to]
      piece[20] = IPProtocol.fragment
      piece.put(UInt16(to - from + IPv6.fragmentHeaderLength), 18)
      piece.put(UInt16(from - start) | (to < bytes.count ? 1 : 0), start + 2)
      piece.put(UInt32(nextIdentification), start + 4)
      emit(piece)
    }
  }
}
