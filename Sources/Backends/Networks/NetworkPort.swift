package import Work

/// The other end of a network cable.
///
/// Callable from any thread. No buffer is lent out between calls, so a reset of the device has nothing to take back.
package protocol NetworkPort: AnyObject, Sendable {
  /// Bytes behind the Ethernet header that one frame on the wire holds. Frames to be segmented are longer.
  var maximumTransmissionUnit: Int { get }
  /// What the port takes from its user unfinished, and gives to it unfinished if that agrees to it.
  var offloads: Offloads { get }
  /// What the user is able to take unfinished; before that, nothing.
  func accept(_ offloads: Offloads)
  /// Sends what can go at once, in order; answers how many frames. Fewer than offered: `.maySend` follows.
  func send(_ frames: [Frame]) -> Int
  /// Takes up to `count` frames that have come in. Fewer: `.mayReceive` follows when there are more.
  func receive(upTo count: Int) -> [Frame]
  /// Names who is told of readiness; once, before the machine starts.
  func attach(_ user: any NetworkPortUser)
}

/// Who uses a port: a network device.
package protocol NetworkPortUser: AnyObject, Sendable {
  var loop: any Loop { get }
  /// On that loop. Level-triggered: what was not taken is announced again after the next change.
  func portReady(_ events: PortEvents)
}

package struct PortEvents: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// Frames have come in.
  package static let mayReceive = PortEvents(rawValue: 1)
  /// There is room again after a short `send`.
  package static let maySend = PortEvents(rawValue: 2)
}

/// What one side leaves to the other to finish.
package struct Offloads: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// TCP and UDP checksums.
  package static let checksum = Offloads(rawValue: 1)
  /// Cutting long TCP segments over IPv4.
  package static let segmentTCPv4 = Offloads(rawValue: 2)
  /// Cutting long TCP segments over IPv6.
  package static let segmentTCPv6 = Offloads(rawValue: 4)
}
