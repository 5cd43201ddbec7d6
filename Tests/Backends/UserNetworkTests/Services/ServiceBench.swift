import Kit
import Synchronization
import UserNetwork
import Work

/// Notes what services send.
final class RecordingSender: DatagramSender {
  struct Sent: Equatable {
    var payload: [UInt8]
    var from: Endpoint
    var to: Endpoint
    var hardware: MACAddress?
  }
  private let log = Mutex<[Sent]>([])

  func send(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, hardwareDestination: MACAddress?
  ) {
    log.withLock {
      $0.append(Sent(payload: payload, from: from, to: to, hardware: hardwareDestination))
    }
  }

  var sent: [Sent] { log.withLock { $0 } }

  /// What was sent since the last time.
  func take() -> [Sent] {
    log.withLock { log in
      defer { log = [] }
      return log
    }
  }
}

let guestHardware = MACAddress(rawValue: 0x5254_0012_3456)

extension Datagram {
  /// From the guest.
  init(_ payload: [UInt8], from: Endpoint, to: Endpoint) {
    self.init(source: from, destination: to, hardwareSource: guestHardware, payload: payload)
  }
}

extension Kit.Chance {
  mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }

  mutating func bytes(upTo count: Int) -> [UInt8] {
    (0..<Int(number(below: UInt64(count + 1)))).map { _ in byte() }
  }

  /// `bytes` as a hostile sender would have them: a few changed, some cut off, some put in.
  mutating func spoilt(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<number(below: 6) where !bytes.isEmpty {
      let index = Int(number(below: UInt64(bytes.count)))
      switch number(below: 5) {
      case 0: bytes[index] = UInt8(truncatingIfNeeded: value())
      case 1: bytes[index] = 0xff
      case 2: bytes.remove(at: index)
      case 3: bytes.insert(byte(), at: index)
      default: bytes[index] ^= 1 << UInt8(number(below: 8))
      }
    }
    if number(below: 5) == 0 { bytes.removeLast(Int(number(below: UInt64(bytes.count + 1)))) }
    if number(below: 8) == 0 { bytes += self.bytes(upTo: 300) }
    return bytes
  }
}

func split(_ word: UInt16) -> [UInt8] { [UInt8(word >> 8), UInt8(truncatingIfNeeded: word)] }
