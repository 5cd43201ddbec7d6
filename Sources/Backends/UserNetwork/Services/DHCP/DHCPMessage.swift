/// A message of the Dynamic Host Configuration Protocol for version 4.
///
/// - SeeAlso: RFC 2131 §2 "Protocol Summary"; RFC 2132 "DHCP Options"; RFC 3396 §5 "The Aggregate Option Buffer".
package struct DHCPMessage: Sendable {
  package var isReply = false
  package var transaction: UInt32 = 0
  package var seconds: UInt16 = 0
  /// The client cannot take a datagram before it has an address: answer to all.
  package var wantsBroadcast = false
  package var clientAddress = IPAddress.anyV4
  package var yourAddress = IPAddress.anyV4
  package var nextServer = IPAddress.anyV4
  package var relayAddress = IPAddress.anyV4
  package var clientHardware = MACAddress(rawValue: 0)
  package var serverName: [UInt8] = []
  package var bootFile: [UInt8] = []
  /// In the order in which they go out; a code that came several times is one option.
  package var options: [(code: Code, value: [UInt8])] = []

  package init() {}

  package enum Kind: UInt8, Sendable {
    case discover = 1, offer, request, decline, acknowledge, refuse, release, inform
  }

  package struct Code: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    init(_ rawValue: UInt8) { self.rawValue = rawValue }

    package static let pad = Code(0)
    package static let subnetMask = Code(1)
    package static let router = Code(3)
    package static let nameServers = Code(6)
    package static let hostName = Code(12)
    package static let domainName = Code(15)
    package static let interfaceMTU = Code(26)
    package static let broadcastAddress = Code(28)
    package static let requestedAddress = Code(50)
    package static let leaseTime = Code(51)
    package static let overload = Code(52)
    package static let messageType = Code(53)
    package static let serverIdentifier = Code(54)
    package static let parameterRequestList = Code(55)
    package static let message = Code(56)
    package static let maximumMessageSize = Code(57)
    package static let renewalTime = Code(58)
    package static let rebindingTime = Code(59)
    package static let clientIdentifier = Code(61)
    package static let bootServerName = Code(66)
    package static let bootFileName = Code(67)
    /// RFC 3397.
    package static let domainSearch = Code(119)
    /// RFC 3442.
    package static let classlessRoutes = Code(121)
    package static let end = Code(255)
  }

  package subscript(_ code: Code) -> [UInt8]? { options.first { $0.code == code }?.value }

  package var kind: Kind? {
    self[.messageType].flatMap { $0.count == 1 ? Kind(rawValue: $0[0]) : nil }
  }

  /// An option that is one address of version 4.
  package func address(_ code: Code) -> IPAddress? {
    self[code].flatMap { $0.count == 4 ? IPAddress(bytes: $0) : nil }
  }

  private static let cookie: UInt32 = 0x6382_5363
  private static let serverNameLength = 64
  private static let bootFileLength = 128
  /// Where the options begin, behind the cookie.
  static let optionsStart = 240
}

// MARK: - From bytes

extension DHCPMessage {
  /// `nil`: cut short, no DHCP, not over Ethernet, or with options that do not fit in where they stand.
  package init?(_ bytes: [UInt8]) {
    var reader = MessageReader(bytes)
    guard let operation = reader.byte(), operation == 1 || operation == 2,
      reader.byte() == 1, reader.byte() == 6, reader.byte() != nil,
      let transaction = reader.word32(), let seconds = reader.word16(),
      let flags = reader.word16(), let client = reader.word32(), let your = reader.word32(),
      let next = reader.word32(), let relay = reader.word32(),
      let hardware = reader.take(6), reader.skip(10),
      let serverName = reader.take(Self.serverNameLength),
      let bootFile = reader.take(Self.bootFileLength), reader.word32() == Self.cookie,
      let options = reader.take(reader.remaining)
    else { return nil }
    isReply = operation == 2
    self.transaction = transaction
    self.seconds = seconds
    wantsBroadcast = flags & 0x8000 != 0
    clientAddress = IPAddress(v4: client)
    yourAddress = IPAddress(v4: your)
    nextServer = IPAddress(v4: next)
    relayAddress = IPAddress(v4: relay)
    clientHardware = MACAddress(rawValue: hardware.reduce(0) { $0 &<< 8 | UInt64($1) })

    guard take(options) else { return nil }
    // RFC 2132 9.3: which of the two fields hold further options, read in this order.
    let overload = self[.overload].flatMap { $0.count == 1 ? $0[0] : nil } ?? 0
    if overload & 1 != 0 {
      guard take(bootFile) else { return nil }
    } else {
      self.bootFile = Array(bootFile.prefix { $0 != 0 })
    }
    if overload & 2 != 0 {
      guard take(serverName) else { return nil }
    } else {
      self.serverName = Array(serverName.prefix { $0 != 0 })
    }
  }

  /// Reads the options in a field. A list that simply stops has ended.
  private mutating func take(_ field: [UInt8]) -> Bool {
    var reader = MessageReader(field)
    while let raw = reader.byte() {
      let code = Code(raw)
      if code == .end { return true }
      if code == .pad { continue }
      guard let length = reader.byte(), let value = reader.take(Int(length)) else { return false }
      if let index = options.firstIndex(where: { $0.code == code }) {
        options[index].value += value
      } else {
        options.append((code, value))
      }
    }
    return true
  }
}

// MARK: - To bytes

extension DHCPMessage {
  /// The message, with as many of its options as `limit` bytes hold: the first come first.
  package func bytes(limit: Int) -> [UInt8] {
    var bytes: [UInt8] = [isReply ? 2 : 1, 1, 6, 0]
    bytes.append(bigEndian: transaction)
    bytes.append(bigEndian: seconds)
    bytes.append(bigEndian: wantsBroadcast ? 0x8000 : 0 as UInt16)
    for address in [clientAddress, yourAddress, nextServer, relayAddress] {
      bytes += address.bytes
    }
    bytes += clientHardware.bytes + [UInt8](repeating: 0, count: 10)
    bytes += Self.padded(serverName, Self.serverNameLength)
    bytes += Self.padded(bootFile, Self.bootFileLength)
    bytes.append(bigEndian: Self.cookie)
    for (code, value) in options {
      let parts = max(1, (value.count + 254) / 255)
      // The end mark needs a byte as well.
      guard bytes.count + value.count + 2 * parts + 1 <= limit else { continue }
      var rest = value[...]
      repeat {
        let part = rest.prefix(255)
        bytes += [code.rawValue, UInt8(part.count)] + part
        rest = rest.dropFirst(255)
      } while !rest.isEmpty
    }
    bytes.append(Code.end.rawValue)
    // RFC 1542 2.1: some take no message shorter than BOOTP's.
    while bytes.count < 300 { bytes.append(0) }
    return bytes
  }

  /// A field of zeroes behind what it holds, the last of them always there.
  private static func padded(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
    let kept = bytes.prefix(count - 1)
    return kept + [UInt8](repeating: 0, count: count - kept.count)
  }
}
