/// A port of the host's that leads to one of the guest's.
final class Forward {
  enum Door {
    case streams(any HostListener)
    case datagrams(any HostDatagrams)
  }

  let token: UInt64
  let transport: Transport
  /// Where the host was asked to listen, and where it does: another port if zero was asked for.
  let requested: Endpoint
  let local: Endpoint
  let guestPort: UInt16
  let door: Door
  /// UDP: the flow of each peer on the host.
  var flows: [Endpoint: DatagramFlow] = [:]
  var waitsForRoom = false

  init(
    token: UInt64, transport: Transport, requested: Endpoint, local: Endpoint, guestPort: UInt16,
    door: Door
  ) {
    self.token = token
    self.transport = transport
    self.requested = requested
    self.local = local
    self.guestPort = guestPort
    self.door = door
  }

  func close() {
    switch door {
    case .streams(let listener): listener.close()
    case .datagrams(let socket): socket.close()
    }
  }
}
