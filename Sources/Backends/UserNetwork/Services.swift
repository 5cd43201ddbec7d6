package import HostOS

/// Answers datagrams sent to an address and port of the gateway itself: DHCP, DNS, TFTP.
///
/// Also told of datagrams to these ports that were sent to all stations, or to a group of version 6.
package protocol DatagramService: AnyObject, Sendable {
  /// The UDP ports it answers on the gateway's addresses.
  var ports: [UInt16] { get }
  /// Called on the network's loop. Replies may come at once or later, through `sender`.
  func receive(_ datagram: Datagram, _ sender: any DatagramSender)
}

/// A datagram from the guest, its checksum found right.
package struct Datagram: Sendable {
  package var source: Endpoint
  package var destination: Endpoint
  package var hardwareSource: MACAddress
  package var payload: [UInt8]

  package init(
    source: Endpoint, destination: Endpoint, hardwareSource: MACAddress, payload: [UInt8]
  ) {
    self.source = source
    self.destination = destination
    self.hardwareSource = hardwareSource
    self.payload = payload
  }
}

/// The way of a datagram to the guest.
package protocol DatagramSender: AnyObject, Sendable {
  /// Sends one datagram; from any thread. `hardwareDestination` is where the frame goes; `nil`: to the guest.
  func send(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, hardwareDestination: MACAddress?)
}

/// Answers TCP connections to an address and port of the gateway itself: DNS.
package protocol StreamService: AnyObject, Sendable {
  /// The TCP ports it answers on the gateway's addresses.
  var streamPorts: [UInt16] { get }
  /// The guest calls; `nil`: it is refused. What is answered stands in for a socket that is connected already, and the
  /// service says by `ready` when it may be read or written once more, from any thread. On the network's loop.
  func accept(
    from guest: Endpoint, at: Endpoint, _ ready: @escaping @Sendable (Readiness) -> Void
  ) -> (any HostConnection)?
}

/// Decides what of the outside the guest may reach.
package protocol EgressPolicy: AnyObject, Sendable {
  /// Asked on the network's loop, once for each new flow.
  func mayConnect(to: Endpoint, _ transport: Transport) -> Bool
  /// A name server's answer that the guest is about to see.
  func resolved(_ name: String, to: [IPAddress], ttl: UInt32)
}

/// Makes router advertisements (RFC 4861 4.2).
package protocol RouterAdvertiser: AnyObject, Sendable {
  /// The ICMPv6 message from its type on, with a checksum of zero: the network fills that in, sends the message from
  /// the router's link-local address, and to whoever solicited it or to all nodes.
  func routerAdvertisement() -> [UInt8]
}
