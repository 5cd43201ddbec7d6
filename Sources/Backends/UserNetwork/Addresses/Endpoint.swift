/// An address and a port: one end of a TCP connection or UDP flow.
package struct Endpoint: Sendable, Hashable {
  package var address: IPAddress
  package var port: UInt16

  package init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port
  }
}

extension Endpoint: CustomStringConvertible {
  package var description: String { address.isV6 ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// The protocols above IP that cross the network to the outside.
package enum Transport: Sendable, Hashable {
  case tcp
  case udp
  /// ICMP and ICMPv6 echo; the port of its endpoints is the identifier.
  case echo
}
