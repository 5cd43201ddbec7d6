/// What the guest is told beside its address.
extension DHCPServer {
  /// Adds what was asked for, the most needed first: a client may have room for little. One that asks for nothing in
  /// particular is told everything.
  func addParameters(to reply: inout DHCPMessage, _ request: DHCPMessage) {
    let wanted = request[.parameterRequestList].map(Set.init)
    for (code, value) in parameters where wanted?.contains(code.rawValue) ?? true {
      reply.options.append((code, value))
    }
    guard let file = names.bootFile else { return }
    // The fields of BOOTP, which boot ROMs read, whatever they ask for.
    reply.nextServer = bootServer
    reply.bootFile = Array(file.utf8)
    reply.serverName = Array(bootServer.description.utf8)
  }

  private var bootServer: IPAddress {
    names.bootServer.flatMap { $0.isV6 ? nil : $0 } ?? plan.gatewayV4
  }

  private var parameters: [(DHCPMessage.Code, [UInt8])] {
    var list: [(DHCPMessage.Code, [UInt8])] = [
      (.subnetMask, mask.bytes),
      (.router, plan.gatewayV4.bytes),
      (.nameServers, plan.dnsV4.bytes),
      (.hostName, Array(plan.hostName.utf8.prefix(63))),
      (.domainName, Array(names.domain.description.utf8.prefix(255))),
      (.broadcastAddress, plan.subnetBroadcast.bytes),
      (.interfaceMTU, mtu),
    ]
    if let file = names.bootFile {
      list.append((.bootServerName, Array(bootServer.description.utf8)))
      list.append((.bootFileName, Array(file.utf8.prefix(255))))
    }
    list.append(
      (.domainSearch, ([names.domain] + names.searchDomains).prefix(16).flatMap(\.wire)))
    if !names.routes.isEmpty { list.append((.classlessRoutes, classlessRoutes)) }
    return list
  }

  private var mask: IPAddress {
    let host = plan.prefixLengthV4 >= 32 ? 0 : UInt32.max &>> UInt32(max(0, plan.prefixLengthV4))
    return IPAddress(v4: ~host)
  }

  private var mtu: [UInt8] {
    var value: [UInt8] = []
    value.append(bigEndian: UInt16(clamping: plan.maximumTransmissionUnit))
    return value
  }

  /// RFC 3442: of a prefix only the bytes that mean something. Who reads this option does not look at the router's, so
  /// that the way through it is one of these routes.
  private var classlessRoutes: [UInt8] {
    let others = names.routes.prefix(32).flatMap { route in
      [UInt8(route.prefixLength)] + route.prefix.bytes.prefix((route.prefixLength + 7) / 8)
        + route.router.bytes
    }
    return others + [0] + plan.gatewayV4.bytes
  }
}
