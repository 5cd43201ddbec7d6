import Networks
import UserNetwork

/// Packets as a guest makes and reads them, written without the network's own code.
enum Make {
  static func big(_ value: some FixedWidthInteger, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> ((count - 1 - $0) * 8)) }
  }

  static func sum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt64 = 0
    var index = 0
    while index + 1 < bytes.count {
      sum += UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
      index += 2
    }
    if index < bytes.count { sum += UInt64(bytes[index]) << 8 }
    while sum >> 16 != 0 { sum = (sum & 0xffff) + (sum >> 16) }
    return UInt16(sum)
  }

  static func pseudo(_ a: IPAddress, _ b: IPAddress, _ transport: UInt8, _ count: Int) -> [UInt8] {
    a.bytes + b.bytes + big(count, 4) + [0, 0, 0, transport]
  }

  static func ethernet(
    _ type: UInt16, _ payload: [UInt8], from: MACAddress = Guest.hardware,
    to: MACAddress = MACAddress(rawValue: 0x5255_0a00_0202)
  ) -> [UInt8] {
    to.bytes + from.bytes + big(type, 2) + payload
  }

  static func ipv4(
    _ transport: UInt8, _ message: [UInt8], from: IPAddress = Guest.v4, to: IPAddress,
    timeToLive: UInt8 = 64, identification: UInt16 = 1, fragment: UInt16 = 0,
    options: [UInt8] = []
  ) -> [UInt8] {
    var header: [UInt8] = [0x40 | UInt8(5 + options.count / 4), 0]
    header += big(20 + options.count + message.count, 2) + big(identification, 2)
    header += big(fragment, 2) + [timeToLive, transport, 0, 0] + from.bytes + to.bytes + options
    let check = ~sum(header)
    header[10] = UInt8(check >> 8)
    header[11] = UInt8(check & 0xff)
    return header + message
  }

  static func ipv6(
    _ transport: UInt8, _ message: [UInt8], from: IPAddress = Guest.v6, to: IPAddress,
    hopLimit: UInt8 = 64
  ) -> [UInt8] {
    [0x60, 0, 0, 0] + big(message.count, 2) + [transport, hopLimit] + from.bytes + to.bytes
      + message
  }

  /// A frame with a message whose sum is filled in at `offset`.
  static func frame(
    _ transport: UInt8, _ message: [UInt8], sumAt offset: Int?, from: IPAddress, to: IPAddress,
    timeToLive: UInt8 = 64
  ) -> [UInt8] {
    var message = message
    if let offset {
      let pseudo =
        transport == 1 ? [] : Make.pseudo(from, to, transport, message.count)
      let check = ~sum(pseudo + message)
      message[offset] = UInt8(check >> 8)
      message[offset + 1] = UInt8(check & 0xff)
    }
    return from.isV6
      ? ethernet(0x86dd, ipv6(transport, message, from: from, to: to, hopLimit: timeToLive))
      : ethernet(0x0800, ipv4(transport, message, from: from, to: to, timeToLive: timeToLive))
  }

  static func udp(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, timeToLive: UInt8 = 64
  ) -> [UInt8] {
    let message =
      big(from.port, 2) + big(to.port, 2) + big(8 + payload.count, 2) + [0, 0] + payload
    return frame(
      17, message, sumAt: 6, from: from.address, to: to.address, timeToLive: timeToLive)
  }

  static func echo(
    _ payload: [UInt8], identifier: UInt16 = 7, sequence: UInt16 = 1,
    from: IPAddress = Guest.v4, to: IPAddress, timeToLive: UInt8 = 64
  ) -> [UInt8] {
    let message =
      [from.isV6 ? 128 : 8, 0, 0, 0] + big(identifier, 2) + big(sequence, 2) + payload
    return frame(
      from.isV6 ? 58 : 1, message, sumAt: 2, from: from, to: to, timeToLive: timeToLive)
  }

  static func tcp(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, sequence: UInt32, acknowledgment: UInt32,
    flags: UInt8, window: UInt16 = 65535, options: [UInt8] = []
  ) -> [UInt8] {
    var message = big(from.port, 2) + big(to.port, 2) + big(sequence, 4) + big(acknowledgment, 4)
    message += [UInt8(5 + options.count / 4) << 4, flags] + big(window, 2) + [0, 0, 0, 0]
    return frame(
      6, message + options + payload, sumAt: 16, from: from.address, to: to.address)
  }
}

/// A frame from the network, read strictly: `nil` if anything about it is wrong.
struct Read {
  let frame: Frame
  let type: UInt16
  let source: IPAddress
  let destination: IPAddress
  let transport: UInt8
  let hopLimit: UInt8
  let message: [UInt8]
  let fragment: UInt16

  init?(_ frame: Frame) {
    let bytes = frame.bytes
    guard bytes.count >= 14 else { return nil }
    self.frame = frame
    type = Self.word(bytes, 12)
    var isPiece = false
    switch type {
    case 0x0800:
      guard bytes.count >= 34, bytes[14] == 0x45, Int(Self.word(bytes, 16)) == bytes.count - 14,
        Make.sum(Array(bytes[14..<34])) == 0xffff
      else { return nil }
      source = IPAddress(bytes: bytes[26..<30])!
      destination = IPAddress(bytes: bytes[30..<34])!
      transport = bytes[23]
      hopLimit = bytes[22]
      message = Array(bytes[34...])
      fragment = Self.word(bytes, 20) & 0x3fff
      isPiece = fragment != 0
    case 0x86dd:
      guard bytes.count >= 54, Int(Self.word(bytes, 18)) == bytes.count - 54 else { return nil }
      source = IPAddress(bytes: bytes[22..<38])!
      destination = IPAddress(bytes: bytes[38..<54])!
      transport = bytes[20]
      hopLimit = bytes[21]
      message = Array(bytes[54...])
      fragment = 0
      isPiece = transport == 44
    default:
      source = .anyV4
      destination = .anyV4
      transport = 0
      hopLimit = 0
      message = Array(bytes[14...])
      fragment = 0
      return
    }
    let pseudo =
      transport == 1 ? [] : Make.pseudo(source, destination, transport, message.count)
    if let left = frame.unfinished.checksum {
      let at = left.start + left.offset
      guard at + 2 <= bytes.count, Self.word(bytes, at) == Make.sum(pseudo) else { return nil }
    } else if !isPiece {
      let isUnsummed = transport == 17 && !source.isV6 && Self.word(message, 6) == 0
      guard isUnsummed || Make.sum(pseudo + message) == 0xffff else { return nil }
    }
  }

  static func word(_ bytes: [UInt8], _ at: Int) -> UInt16 {
    UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
  }
  static func long(_ bytes: [UInt8], _ at: Int) -> UInt32 {
    UInt32(word(bytes, at)) << 16 | UInt32(word(bytes, at + 2))
  }

  var sourcePort: UInt16 { Self.word(message, 0) }
  var destinationPort: UInt16 { Self.word(message, 2) }
  // UDP.
  var payload: [UInt8] { Array(message[8...]) }
  // TCP.
  var sequence: UInt32 { Self.long(message, 4) }
  var acknowledgment: UInt32 { Self.long(message, 8) }
  var flags: UInt8 { message[13] }
  var window: UInt16 { Self.word(message, 14) }
  var options: [UInt8] { Array(message[20..<Int(message[12] >> 4) * 4]) }
  var data: ArraySlice<UInt8> { message[(Int(message[12] >> 4) * 4)...] }
}

enum Flag {
  static let fin: UInt8 = 1
  static let syn: UInt8 = 2
  static let rst: UInt8 = 4
  static let psh: UInt8 = 8
  static let ack: UInt8 = 16
}
