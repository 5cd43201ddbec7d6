import Networks
import SavedState

extension VirtioNetwork {
  /// What the driver has said.
  package struct State: Sendable {
    var features = VirtioFeatures()
    var hasBegun = false
    var address: [UInt8]
    var linkIsUp = true
    var mustAnnounce = false
    /// Pairs of queues that the driver uses.
    var pairs = 1
    /// What the driver takes unfinished.
    var guestOffloads: Offloads = []
    var filter = FrameFilter()
    /// Frames that nobody was to have: malformed, filtered, or too long for the buffers.
    var dropped: UInt64 = 0

    /// Frames that have left the port and found no buffer, for each port.
    var arrived: [[Frame]]

    init(address: [UInt8], ports: Int) {
      self.address = address
      arrived = .init(repeating: [], count: ports)
    }

    /// The driver is ready, or the machine goes on; then what was said before counts.
    mutating func begin(_ features: VirtioFeatures) {
      self.features = features
      guard !hasBegun else { return }
      hasBegun = true
      guestOffloads = Self.offloads(features)
      filter.isPromiscuous = !features.contains(.controlReceive)
      if features.contains(.controlVLAN) { filter.vlans = .init(repeating: 0, count: 64) }
    }

    static func offloads(_ features: VirtioFeatures) -> Offloads {
      var offloads: Offloads = []
      if features.contains(.guestChecksum) { offloads.insert(.checksum) }
      if features.contains(.guestTSO4) { offloads.insert(.segmentTCPv4) }
      if features.contains(.guestTSO6) { offloads.insert(.segmentTCPv6) }
      return offloads
    }

    /// VIRTIO 1.3 §5.1.2: behind all pairs, or, for a driver that knows of one only, behind that.
    func controlQueue(ports: Int) -> Int? {
      guard features.contains(.controlQueue) else { return nil }
      return features.contains(.networkMultiQueue) ? 2 * ports : 2
    }
  }
}

extension VirtioNetwork.State {
  package struct Saved: Codable, Sendable {
    var hasBegun: Bool
    var address: [UInt8]
    var linkIsUp: Bool
    var mustAnnounce: Bool
    var pairs: Int
    var guestOffloads: UInt8
    var filter: FrameFilter
    var arrived: [[SavedFrame]]
  }

  struct SavedFrame: Codable, Sendable {
    var bytes: [UInt8]
    var checksumStart: Int?
    var checksumOffset: Int?
    var segmentSize: Int?
    var isChecked: Bool

    init(_ frame: Frame) {
      bytes = frame.bytes
      checksumStart = frame.unfinished.checksum?.start
      checksumOffset = frame.unfinished.checksum?.offset
      segmentSize = frame.unfinished.segmentSize
      isChecked = frame.unfinished.isChecked
    }

    var frame: Frame {
      var unfinished = Frame.Unfinished()
      if let checksumStart, let checksumOffset {
        unfinished.checksum = (checksumStart, checksumOffset)
      }
      unfinished.segmentSize = segmentSize
      unfinished.isChecked = isChecked
      return Frame(bytes, unfinished: unfinished)
    }

    var isSound: Bool {
      bytes.count <= Frame.maximumLength
        && [checksumStart, checksumOffset, segmentSize].allSatisfy { 0...0xffff ~= $0 ?? 0 }
    }
  }

  var saved: Saved {
    Saved(
      hasBegun: hasBegun, address: address, linkIsUp: linkIsUp, mustAnnounce: mustAnnounce,
      pairs: pairs, guestOffloads: guestOffloads.rawValue, filter: filter,
      arrived: arrived.map { $0.map(SavedFrame.init) })
  }

  init(_ saved: Saved, ports: Int) throws(RestoreError) {
    guard saved.address.count == 6, saved.pairs >= 1, saved.pairs <= ports,
      saved.guestOffloads < 8, saved.filter.isSound,
      saved.arrived.count == ports,
      saved.arrived.allSatisfy({
        $0.count <= VirtioNetwork.batch && $0.allSatisfy(\.isSound)
      })
    else {
      throw .refused(part: "virtio network device", reason: "no driver can have set it up so")
    }
    self.init(address: saved.address, ports: ports)
    hasBegun = saved.hasBegun
    linkIsUp = saved.linkIsUp
    mustAnnounce = saved.mustAnnounce
    pairs = saved.pairs
    guestOffloads = Offloads(rawValue: saved.guestOffloads)
    filter = saved.filter
    arrived = saved.arrived.map { $0.map(\.frame) }
  }
}
