import Networks

/// Which frames a driver wants to have, by their destination.
///
/// - SeeAlso: VIRTIO 1.3 §5.1.6.5.1 to §5.1.6.5.3.
struct FrameFilter: Codable, Sendable, Equatable {
  /// Entries in each table; with more the driver gets all of that kind.
  static let tableSize = 64

  var isPromiscuous = true
  var allMulticast = false
  var allUnicast = false
  var noMulticast = false
  var noUnicast = false
  var noBroadcast = false
  var unicast: [[UInt8]] = []
  var multicast: [[UInt8]] = []
  var unicastOverflow = false
  var multicastOverflow = false
  /// VLANs let through, if the driver agreed to name them; a bit for each.
  var vlans: [UInt64]?

  /// Whether a frame, of at least the length of its header, goes to the driver.
  func passes(_ frame: Frame, to address: [UInt8]) -> Bool {
    if let vlans, frame[12] == 0x81, frame[13] == 0, frame.count >= 16 {
      let vlan = Int(frame[14] & 0x0f) << 8 | Int(frame[15])
      guard vlans[vlan / 64] >> UInt64(vlan % 64) & 1 == 1 else { return false }
    }
    if isPromiscuous { return true }
    let destination = Array(frame.slice.prefix(6))
    if destination.allSatisfy({ $0 == 0xff }) { return !noBroadcast }
    if destination[0] & 1 == 1 {
      guard !noMulticast else { return false }
      return allMulticast || multicastOverflow || multicast.contains(destination)
    }
    guard !noUnicast else { return false }
    return allUnicast || unicastOverflow || destination == address || unicast.contains(destination)
  }

  var isSound: Bool {
    unicast.count <= Self.tableSize && multicast.count <= Self.tableSize
      && (unicast + multicast).allSatisfy { $0.count == 6 }
      && (vlans.map { $0.count == 64 } ?? true)
  }
}
