import HostOS
import Kit
import Networks
import UserNetwork
import Work

extension FuzzTarget {
  /// A guest's frames, right in as much as the script wants; its host and its time.
  static let userNetwork = FuzzTarget("user-network") { input in
    weak let network = live(Script(input))
    require(network == nil, "nothing is left of a network that is gone")
  }

  /// Answers the network, which nothing else may keep.
  private static func live(_ script: Script) -> UserNetwork {
    var script = script
    var guest = ScriptedGuest(script.byte())
    while !script.isAtEnd { guest.step(&script) }
    guest.end()
    return guest.network
  }
}

private final class PortListener: NetworkPortUser {
  let loop: any Loop
  init(_ loop: any Loop) { self.loop = loop }
  func portReady(_ events: PortEvents) {}
}

private struct ScriptedGuest {
  let rig = ServiceRig()
  let host = ScriptedHost()
  let network: UserNetwork
  /// Where each of its TCP connections stands, so that the next segments fit: by its port, what comes next from the
  /// guest and from the network.
  private var places: [UInt16: (mine: UInt32, theirs: UInt32)] = [:]

  private static let hardware: [UInt8] = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
  private static let gateway: [UInt8] = [0x52, 0x55, 0x0a, 0, 2, 2]

  init(_ flags: UInt8) {
    network = UserNetwork(
      plan: rig.plan, loop: rig.loop, clock: rig.clock, host: host,
      services: rig.services.services, streamServices: rig.services.streamServices,
      policy: nil, advertiser: rig.services.advertiser, secret: 1)
    network.attach(PortListener(rig.loop))
    if flags & 1 != 0 { network.accept([.checksum, .segmentTCPv4, .segmentTCPv6]) }
    if flags & 2 != 0 { _ = try? network.addForward(.tcp, hostPort: 8080, guestPort: 80) }
    if flags & 4 != 0 { _ = try? network.addForward(.udp, hostPort: 8081, guestPort: 81) }
  }

  private func settle() {
    repeat { rig.loop.run() } while host.deliver()
  }

  mutating func step(_ script: inout Script) {
    switch script.byte() & 15 {
    case 0: send(script.piece())
    case 1: send(Self.gateway + Self.hardware + script.piece())
    case 2...6: segment(&script)
    case 7: packet(&script)
    case 8: datagram(&script)
    case 9, 10:
      host.stir(&script)
      settle()
    case 11: pass(UInt64(script.byte()) << UInt64(script.byte() % 32))
    case 12: take(Int(script.byte()) + 1)
    case 13: resolve(&script)
    case 14: neighbour(&script)
    default: if script.byte() == 0 { network.reset() }
    }
  }

  private func send(_ bytes: [UInt8], segment: Int? = nil) {
    var frame = Frame(bytes)
    // The sums of what the guest's card is left to finish are right.
    frame.unfinished.isChecked = true
    frame.unfinished.segmentSize = segment
    _ = network.send([frame])
    settle()
  }

  private func pass(_ nanoseconds: UInt64) {
    rig.clock.advance(by: min(nanoseconds, 1 << 36))
    settle()
  }

  private func resolve(_ script: inout Script) {
    rig.resolvers.stir(&script)
    settle()
  }

  /// Takes frames from the network, and learns where connections stand.
  private mutating func take(_ count: Int) {
    for frame in network.receive(upTo: count) {
      let bytes = frame.bytes
      require((14...Frame.maximumLength).contains(bytes.count), "a frame is not too long")
      let start = bytes.count > 14 && bytes[12] == 0x08 && bytes[13] == 0 ? 34 : 54
      let isTCP = start == 34 ? bytes[23] == 6 : bytes[12] == 0x86 && bytes[20] == 6
      guard isTCP, bytes.count >= start + 20 else { continue }
      func number(_ at: Int, _ count: Int) -> UInt32 {
        bytes[start + at..<start + at + count].reduce(0) { $0 << 8 | UInt32($1) }
      }
      let length = UInt32(bytes.count - start) - UInt32(bytes[start + 12] >> 4) * 4
      let ends: UInt32 = bytes[start + 13] & 3 == 0 ? 0 : 1
      places[UInt16(number(2, 2))] = (number(8, 4), number(4, 4) &+ length &+ ends)
    }
  }

  // MARK: - Packets

  private func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64((count - 1 - $0) * 8)) }
  }

  private static let destinations = [
    IPAddress(93, 184, 216, 34), IPAddress(10, 0, 2, 2), IPAddress(10, 0, 2, 3), .broadcast,
    IPAddress(127, 0, 0, 1), IPAddress(169, 254, 169, 254), IPAddress(10, 0, 2, 99),
    IPAddress(224, 0, 0, 1), IPAddress(v6: 0x2001_0db8_0000_0000, 1),
    IPAddress(v6: 0xfd00_0000_0000_0000, 2), IPAddress(v6: 0xfd00_0000_0000_0000, 3),
    IPAddress(v6: 0xff02_0000_0000_0000, 1), .loopbackV6, IPAddress(v6: 0, 0xffff_7f00_0001),
    IPAddress(v6: 0xfe80_0000_0000_0000, 2), IPAddress(v6: 0xff02_0000_0000_0000, 0x1_0002),
  ]

  /// A packet around a message, its header in order but for what the script changes.
  private func packet(
    _ transport: UInt8, _ message: [UInt8], to: IPAddress, fragment: UInt16 = 0, segment: Int? = nil
  ) {
    if to.isV6 {
      let header = [0x60, 0, 0, 0] + big(UInt64(message.count), 2) + [transport, 255]
      send(
        Self.gateway + Self.hardware + [0x86, 0xdd] + header + rig.plan.guestV6.bytes + to.bytes
          + message, segment: segment)
    } else {
      var header: [UInt8] = [0x45, 0] + big(UInt64(20 + message.count), 2) + [0, 1]
      header +=
        big(UInt64(fragment), 2) + [64, transport, 0, 0] + rig.plan.guestV4.bytes + to.bytes
      var sum: UInt32 = 0
      for index in stride(from: 0, to: 20, by: 2) {
        sum += UInt32(header[index]) << 8 | UInt32(header[index + 1])
      }
      while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
      header.replaceSubrange(10..<12, with: big(UInt64(~sum & 0xffff), 2))
      send(Self.gateway + Self.hardware + [8, 0] + header + message, segment: segment)
    }
  }

  private func packet(_ script: inout Script) {
    let transports: [UInt8] = [1, 6, 17, 58, 0, 43, 44, 60]
    let transport = transports[script.pick(8)]
    let to = Self.destinations[script.pick(16)]
    let fragment = script.number(UInt16.self)
    packet(transport, script.piece(), to: to, fragment: fragment)
  }

  private func datagram(_ script: inout Script) {
    let to = Self.destinations[script.pick(16)]
    let ports: [UInt64] = [53, 67, 69, 547, 80, 546]
    let port = ports[script.pick(6)]
    let payload = script.piece()
    packet(
      17,
      big(UInt64(script.byte()) + 60, 2) + big(port, 2) + big(UInt64(8 + payload.count), 2) + [
        0, 0,
      ]
        + payload, to: to)
  }

  /// A TCP segment that may fit.
  private mutating func segment(_ script: inout Script) {
    let port = 1000 + UInt16(script.byte() & 3)
    let flags = script.byte()
    let shape = script.byte()
    let place = places[port] ?? (5000, 1)
    let sequence = place.mine &+ UInt32(bitPattern: Int32(Int8(bitPattern: script.byte())) * 16)
    let acknowledgment = place.theirs &+ UInt32(bitPattern: Int32(Int8(bitPattern: script.byte())))
    var options = shape & 1 == 0 ? [] : Array(script.piece().prefix(40))
    while options.count % 4 != 0 { options.append(0) }
    var data = script.piece()
    if shape & 2 != 0 { data += [UInt8](repeating: 1, count: 1200) }
    let to = Self.destinations[shape & 4 == 0 ? 0 : 8]
    let window: UInt64 = shape & 8 == 0 ? 0xffff : UInt64(script.byte())
    let header =
      big(UInt64(port), 2) + big(80, 2) + big(UInt64(sequence), 4) + big(UInt64(acknowledgment), 4)
      + [UInt8(5 + options.count / 4) << 4, flags] + big(window, 2) + [0, 0, 0, 0]
    packet(6, header + options + data, to: to, segment: shape & 16 == 0 ? nil : Int(script.byte()))
    take(64)
  }

  private func neighbour(_ script: inout Script) {
    let operation = script.byte()
    send(
      [UInt8](repeating: 0xff, count: 6) + Self.hardware + [
        8, 6, 0, 1, 8, 0, 6, 4, 0, operation & 3,
      ]
        + Self.hardware + rig.plan.guestV4.bytes + [0, 0, 0, 0, 0, 0]
        + Self.destinations[Int(operation >> 2 & 7)].bytes)
  }

  /// After a reset nothing is held.
  mutating func end() {
    take(.max)
    network.reset()
    settle()
    let left = network.statistics
    require(left.streams == 0 && left.datagramFlows == 0 && left.heldBytes == 0, "\(left)")
    rig.resolvers.forget()
  }
}
