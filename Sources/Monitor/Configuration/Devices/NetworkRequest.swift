/// A network card that the user asks for, and what its cable leads to.
package struct NetworkRequest: Sendable, Codable, Equatable {
  package enum Target: Sendable, Codable, Equatable {
    /// Roost's own network: no privileges, the guest behind an address translation.
    case user(UserNetworkRequest)
    /// A TAP interface of the host's.
    case tap(name: String?)
    /// A Unix socket at which a process such as passt speaks frames.
    case stream(path: String, listens: Bool)
    /// No cable.
    case null
  }

  package var target: Target
  /// Six bytes; `nil`: chosen by the card's place, the same each time.
  package var mac: UInt64?
  /// A file that takes all frames, in pcapng.
  package var capture: String?
  package var queues: Int
  package var bus: DeviceBus

  private static let common = "mac=, capture=, queues= and bus="

  /// Reads `user`, `tap[=NAME]`, `stream=PATH`, `stream-listen=PATH` or `null`, and what belongs to it.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    mac = try Self.mac(values.take("mac"), text)
    capture = try values.take("capture")
    queues = try values.takeNumber("queues", 1...8) ?? 1
    bus = try values.takeBus() ?? .pci
    let word = values.takeWord()
    let tap = try values.take("tap")
    let stream = try values.take("stream")
    let listening = try values.take("stream-listen")
    switch (word, tap, stream, listening) {
    case ("user", nil, nil, nil):
      target = .user(try UserNetworkRequest(taking: &values, text))
      try values.end(known: "\(UserNetworkRequest.keys), \(Self.common)")
      return
    case ("tap", nil, nil, nil): target = .tap(name: nil)
    case (nil, let name?, nil, nil): target = .tap(name: name)
    case (nil, nil, let path?, nil): target = .stream(path: path, listens: false)
    case (nil, nil, nil, let path?): target = .stream(path: path, listens: true)
    case ("null", nil, nil, nil): target = .null
    default:
      throw ConfigurationError(
        text, "Write one of user, tap, tap=NAME, stream=PATH, stream-listen=PATH or null first.")
    }
    try values.end(known: Self.common)
  }

  private static func mac(_ value: String?, _ text: String) throws(ConfigurationError) -> UInt64? {
    guard let value else { return nil }
    let parts = value.split(separator: ":", omittingEmptySubsequences: false)
    let bytes = parts.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
    guard parts.count == 6, bytes.count == 6, bytes[0] & 1 == 0, bytes.contains(where: { $0 != 0 })
    else {
      throw ConfigurationError(
        text, "mac=\(value) is no address of a card: write six pairs of digits, 52:54:00:12:34:56.")
    }
    return bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }
}

/// What of Roost's own network is not as usual.
package struct UserNetworkRequest: Sendable, Codable, Equatable {
  /// Whether the guest reaches the host's loopback addresses, at the gateway's address.
  package var reachesHostLoopback: Bool
  /// Names, patterns and networks that the guest may reach; `nil`: all.
  package var allowed: [String]?
  /// A folder from which TFTP serves, and the file that a network boot is told of.
  package var tftp: String?
  package var bootFile: String?
  package var hostName: String?

  package static let keys = "allow=, host-loopback=, tftp=, bootfile=, hostname="

  init(taking values: inout KeyValues, _ text: String) throws(ConfigurationError) {
    reachesHostLoopback = try values.takeSwitch("host-loopback") ?? false
    allowed = try values.take("allow")?.split(separator: "+").map(String.init)
    tftp = try values.take("tftp")
    bootFile = try values.take("bootfile")
    hostName = try values.take("hostname")
    guard bootFile == nil || tftp != nil else {
      throw ConfigurationError(text, "bootfile= needs the folder that it is in: add tftp=FOLDER.")
    }
  }
}

/// A port of the host that leads to one of the guest's.
package struct PortForward: Sendable, Codable, Equatable {
  package enum Transport: String, Sendable, Codable { case tcp, udp }

  package var transport: Transport
  /// Where the host listens; `nil`: its loopback address.
  package var address: String?
  package var hostPort: UInt16
  package var guestPort: UInt16

  /// Reads `[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp]`.
  package init(parsing text: String) throws(ConfigurationError) {
    let refusal = ConfigurationError(
      text, "Write [ADDRESS:]HOST-PORT:GUEST-PORT[/tcp or /udp], such as 2222:22.")
    let halves = text.split(separator: "/", omittingEmptySubsequences: false)
    guard halves.count <= 2,
      let transport = Transport(rawValue: halves.count == 2 ? String(halves[1]) : "tcp")
    else { throw refusal }
    self.transport = transport
    let parts = halves[0].split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 2, let host = UInt16(parts[parts.count - 2]), host > 0,
      let guest = UInt16(parts[parts.count - 1]), guest > 0
    else { throw refusal }
    hostPort = host
    guestPort = guest
    var address = parts.dropLast(2).joined(separator: ":")
    if address.hasPrefix("["), address.hasSuffix("]") {
      address = String(address.dropFirst().dropLast())
    }
    self.address = address.isEmpty ? nil : address
    guard parts.count == 2 || self.address != nil else { throw refusal }
  }
}

extension PortForward: CustomStringConvertible {
  /// As the user writes it.
  package var description: String {
    let host = address.map { $0.contains(":") ? "[\($0)]:" : "\($0):" } ?? ""
    return "\(host)\(hostPort):\(guestPort)/\(transport.rawValue)"
  }
}
