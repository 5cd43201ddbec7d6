/// A message of the Dynamic Host Configuration Protocol for version 6, between client and server.
///
/// - SeeAlso: RFC 8415 §8 "Client/Server Message Formats", §21 "DHCP Options".
package struct DHCPv6Message: Sendable {
  package var kind: Kind
  /// 24 bits.
  package var transaction: UInt32
  package var options: [Option]

  package init(_ kind: Kind, transaction: UInt32, options: [Option] = []) {
    self.kind = kind
    self.transaction = transaction
    self.options = options
  }

  package enum Kind: UInt8, Sendable {
    case solicit = 1, advertise, request, confirm, renew, rebind, reply, release, decline
    case reconfigure, informationRequest
  }

  package struct Option: Sendable, Hashable {
    package var code: Code
    package var value: [UInt8]

    package init(_ code: Code, _ value: [UInt8] = []) {
      self.code = code
      self.value = value
    }
  }

  package struct Code: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    init(_ rawValue: UInt16) { self.rawValue = rawValue }

    package static let clientIdentifier = Code(1)
    package static let serverIdentifier = Code(2)
    /// IA_NA: an association for addresses that are not temporary.
    package static let addresses = Code(3)
    /// IA_TA: the same for temporary ones.
    package static let temporaryAddresses = Code(4)
    package static let address = Code(5)
    package static let optionRequest = Code(6)
    package static let status = Code(13)
    package static let rapidCommit = Code(14)
    /// IA_PD: an association for prefixes.
    package static let prefixes = Code(25)
    /// RFC 3646.
    package static let nameServers = Code(23)
    package static let searchList = Code(24)
    /// RFC 5970.
    package static let bootFileURL = Code(59)
  }

  /// §21.13 "Status Code Option".
  package enum Status: UInt16, Sendable {
    case success = 0
    case noAddresses = 2
    case noBinding = 3
    case notOnLink = 4
    case noPrefixes = 6
  }

  package subscript(_ code: Code) -> [UInt8]? { options.first { $0.code == code }?.value }

  /// `nil`: cut short, of an unknown kind (a relay's too: there is none here), or with an option that leaves it.
  package init?(_ bytes: [UInt8]) {
    var reader = MessageReader(bytes)
    guard let first = reader.word32(), let kind = Kind(rawValue: UInt8(first &>> 24)),
      let rest = reader.take(reader.remaining), let options = Self.options(rest)
    else { return nil }
    self.init(kind, transaction: first & 0xff_ffff, options: options)
  }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: UInt32(kind.rawValue) &<< 24 | transaction & 0xff_ffff)
    return bytes + Self.bytes(options)
  }

  /// Options in a message, or in another option.
  static func options(_ bytes: [UInt8]) -> [Option]? {
    var reader = MessageReader(bytes)
    var options: [Option] = []
    while !reader.isAtEnd {
      guard let code = reader.word16(), let length = reader.word16(),
        let value = reader.take(Int(length))
      else { return nil }
      options.append(Option(Code(code), value))
    }
    return options
  }

  static func bytes(_ options: [Option]) -> [UInt8] {
    var bytes: [UInt8] = []
    for option in options where option.value.count <= Int(UInt16.max) {
      bytes.append(bigEndian: option.code.rawValue)
      bytes.append(bigEndian: UInt16(option.value.count))
      bytes += option.value
    }
    return bytes
  }
}

/// An association of a client with addresses: IA_NA.
///
/// - SeeAlso: RFC 8415 §21.4, §21.6.
struct IdentityAssociation {
  var identifier: UInt32
  var addresses: [IPAddress]

  init?(_ value: [UInt8]) {
    var reader = MessageReader(value)
    guard let identifier = reader.word32(), reader.skip(8),
      let rest = reader.take(reader.remaining), let options = DHCPv6Message.options(rest)
    else { return nil }
    self.identifier = identifier
    addresses = []
    for option in options where option.code == .address {
      guard option.value.count >= 24, let address = IPAddress(bytes: option.value.prefix(16)) else {
        return nil
      }
      addresses.append(address)
    }
  }
}
