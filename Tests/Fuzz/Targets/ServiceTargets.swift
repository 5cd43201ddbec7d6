import Kit
import Synchronization
import UserNetwork
import Work

extension FuzzTarget {
  static let services = [
    service("dhcp", .udp(67), payload: dhcpMessage), service("dhcpv6", .udp(547)),
    service("dns", .udp(53), payload: dnsMessage), service("tftp", .udp(69)),
  ]

  /// One service of a user network: datagrams for it, answers from outside, and time that passes.
  private static func service(
    _ name: String, _ port: ServicePort,
    payload: @escaping @Sendable (inout Script) -> [UInt8] = { $0.piece() }
  ) -> FuzzTarget {
    FuzzTarget(name) { input in
      var script = Script(input)
      let folder = port.number == 69 ? ScratchFolder() : nil
      folder?.write("boot", count: 1500)
      defer { folder?.remove() }
      let rig = ServiceRig(folder: folder?.path)
      let sender = CountingSender()
      let hardware = MACAddress(rawValue: 0x5254_0012_3456)
      while !script.isAtEnd {
        switch script.byte() & 7 {
        case 0:
          rig.clock.advance(by: UInt64(script.byte()) << 26)
          rig.loop.run()
        case 1: rig.resolvers.stir(&script)
        case 2: rig.loop.run()
        default:
          let from = UInt16(script.byte() & 3) + (port.number == 547 ? 546 : 68)
          // TFTP goes on at the ports of its own.
          let to = script.pick(4) == 3 ? rig.lastPort(sender) : port.number
          let isV6 = port.number == 547 || script.flag()
          let plan = rig.plan
          let datagram = Datagram(
            source: Endpoint(isV6 ? plan.guestV6 : plan.guestV4, from),
            destination: Endpoint(isV6 ? plan.gatewayV6 : plan.gatewayV4, to),
            hardwareSource: hardware, payload: payload(&script))
          for service in rig.services.services
          where service.ports.contains(to) && service.ports.contains(port.number) {
            service.receive(datagram, sender)
          }
        }
      }
      rig.loop.run()
      rig.resolvers.forget()
    }
  }

  private struct ServicePort {
    let number: UInt16
    static func udp(_ number: UInt16) -> ServicePort { ServicePort(number: number) }
  }

  /// The head of a BOOTP message with the cookie of DHCP (RFC 2131 §2, §3), and options; or anything.
  private static func dhcpMessage(_ script: inout Script) -> [UInt8] {
    let shape = script.byte()
    if shape & 0x80 != 0 { return script.piece() }
    var message = [UInt8](repeating: 0, count: 236)
    message[0] = 1
    message[1] = 1
    message[2] = 6
    if shape & 1 != 0 { message.replaceSubrange(12..<16, with: [10, 0, 2, 15]) }
    if shape & 2 != 0 { message[10] = 0x80 }
    message.replaceSubrange(28..<34, with: [0x52, 0x54, 0, 0x12, 0x34, 0x56])
    if shape & 4 != 0 { message[Int(script.byte()) % 236] = script.byte() }
    return message + [99, 130, 83, 99] + script.piece()
  }

  /// A question, or anything: RFC 1035 §4.1.
  private static func dnsMessage(_ script: inout Script) -> [UInt8] {
    let shape = script.byte()
    if shape & 0x80 != 0 { return script.piece() }
    let names: [[UInt8]] = [
      [3, 119, 119, 119, 7, 101, 120, 97, 109, 112, 108, 101, 3, 111, 114, 103, 0], [0],
      [1, 97, 0], [5, 114, 111, 111, 115, 116, 8, 105, 110, 116, 101, 114, 110, 97, 108, 0],
    ]
    return [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, shape >> 6 & 1] + names[Int(shape & 3)]
      + [0, script.byte(), 0, 1] + script.piece()
  }
}

/// All services of one network, with a clock, a loop and an outside.
struct ServiceRig {
  let plan = UserNetworkPlan()
  let clock = ManualClock()
  let loop = ManualLoop()
  let resolvers = ScriptedResolvers()
  let services: NetworkServices

  /// - Parameter folder: what can be read by TFTP.
  init(folder: String? = nil) {
    let folder = folder.flatMap { try? TFTPFolder(path: $0) }
    services = NetworkServices(
      plan: plan, rules: nil, folder: folder,
      resolvers: FixedResolvers([Endpoint(IPAddress(192, 0, 2, 53), 53)]), transport: resolvers,
      clock: clock, loop: loop)
  }

  /// Where the last answer came from.
  fileprivate func lastPort(_ sender: CountingSender) -> UInt16 { sender.lastPort }
}

/// Takes what services send.
private final class CountingSender: DatagramSender {
  private let port = Mutex<UInt16>(0)
  var lastPort: UInt16 { port.withLock { $0 } }

  func send(_ payload: [UInt8], from: Endpoint, to: Endpoint, hardwareDestination: MACAddress?) {
    require(payload.count <= 65_507, "a datagram fits into a packet")
    port.withLock { $0 = from.port }
  }
}
