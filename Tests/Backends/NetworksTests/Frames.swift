import Networks

/// Frames to send. Those of the local experimental type (IEEE 802-2014 §9.2.4) no host answers.
enum Sample {
  static let addresses: [UInt8] = [0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x55, 10, 0, 2, 2]

  /// A frame with a number in it.
  static func numbered(_ number: Int, count: Int = 60) -> Frame {
    var bytes = addresses + [0x88, 0xb5]
    bytes.append(UInt8(truncatingIfNeeded: number >> 8))
    bytes.append(UInt8(truncatingIfNeeded: number))
    while bytes.count < count { bytes.append(UInt8(truncatingIfNeeded: bytes.count &+ number)) }
    return Frame(bytes)
  }

  struct TCP {
    var isV6 = false
    var tags = 0
    var optionBytes = 0
    var flags: UInt8 = 0x18
    var sequence: UInt32 = 0xffff_ff00
    var identification: UInt16 = 0xfffe
    var payload: [UInt8] = []
    var segmentSize: Int?
  }

  /// A TCP segment as a guest's driver hands it over: the field holds the sum of the pseudo header only.
  static func tcp(_ options: TCP) -> Frame {
    var bytes = addresses
    for _ in 0..<options.tags { bytes += [0x81, 0, 0, 7] }
    bytes += options.isV6 ? [0x86, 0xdd] : [8, 0]
    let network = bytes.count
    let tcpLength = 20 + options.optionBytes + options.payload.count
    var pseudo = InternetChecksum()
    if options.isV6 {
      bytes += [0x60, 0, 0, 0] + split(UInt16(truncatingIfNeeded: tcpLength)) + [6, 64]
      let from = [UInt8](repeating: 0xfd, count: 15) + [0x15]
      let to = [UInt8](repeating: 0xfd, count: 15) + [2]
      bytes += from + to
      pseudo.add(bytes, network + 8..<network + 40)
    } else {
      bytes += [0x45, 0] + split(UInt16(truncatingIfNeeded: tcpLength + 20))
      bytes += split(options.identification) + [0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]
      pseudo.add(bytes, network + 12..<network + 20)
      var sum = InternetChecksum()
      sum.add(bytes, network..<network + 20)
      bytes.replaceSubrange(network + 10..<network + 12, with: split(sum.field))
    }
    pseudo.add(UInt16(6))
    pseudo.add(UInt32(tcpLength))
    let transport = bytes.count
    bytes += split(40000) + split(80)
    bytes += split(UInt16(options.sequence >> 16))
    bytes += split(UInt16(truncatingIfNeeded: options.sequence))
    bytes += [0, 0, 0, 1, UInt8((20 + options.optionBytes) / 4) << 4, options.flags, 0xff, 0xff]
    bytes += split(~pseudo.field) + [0, 0]
    bytes += [UInt8](repeating: 1, count: options.optionBytes)
    bytes += options.payload
    var unfinished = Frame.Unfinished()
    unfinished.checksum = (transport, 16)
    unfinished.segmentSize = options.segmentSize
    return Frame(bytes, unfinished: unfinished)
  }

  static func split(_ word: UInt16) -> [UInt8] {
    [UInt8(word >> 8), UInt8(truncatingIfNeeded: word)]
  }

  static func payload(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
  }
}

/// What a careful receiver finds in a TCP segment, by arithmetic of its own.
struct ReceivedTCP {
  var sequence: UInt32
  var flags: UInt8
  var payload: [UInt8]
  var identification: UInt16
  var sumsAreRight: Bool
  /// Whether the lengths in the headers are those of the frame.
  var lengthsAreRight: Bool

  init(_ bytes: [UInt8]) {
    func word(_ at: Int) -> UInt32 { UInt32(bytes[at]) << 8 | UInt32(bytes[at + 1]) }
    func sum(_ range: Range<Int>) -> UInt32 {
      var total: UInt32 = 0
      for index in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
        total += UInt32(bytes[index]) << 8
        if index + 1 < range.upperBound { total += UInt32(bytes[index + 1]) }
      }
      return total
    }
    func isRight(_ total: UInt32) -> Bool {
      var total = total
      while total > 0xffff { total = total >> 16 + total & 0xffff }
      return total == 0xffff
    }
    var type = 12
    while word(type) == 0x8100 { type += 4 }
    let isV6 = word(type) == 0x86dd
    let network = type + 2
    let transport = network + (isV6 ? 40 : 20)
    let addresses = isV6 ? network + 8..<network + 40 : network + 12..<network + 20
    let length = bytes.count - transport
    sequence = word(transport + 4) << 16 | word(transport + 6)
    flags = bytes[transport + 13]
    payload = Array(bytes[(transport + Int(bytes[transport + 12] >> 4) * 4)...])
    identification = isV6 ? 0 : UInt16(word(network + 4))
    sumsAreRight =
      isRight(sum(transport..<bytes.count) + sum(addresses) + 6 + UInt32(length))
      && (isV6 || isRight(sum(network..<transport)))
    lengthsAreRight = word(network + (isV6 ? 4 : 2)) == (isV6 ? length : length + 20)
  }
}
