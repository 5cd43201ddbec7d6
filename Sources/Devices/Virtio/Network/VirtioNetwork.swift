package import Board
package import Inspection
import Memory
package import Networks
package import SavedState
import Synchronization
package import Work

/// The virtio network device: frames both ways through pairs of queues, and a queue of commands.
///
/// Each pair has a port. Frames that come in on a port whose pair the driver does not use go to one that it does.
/// What neither side takes waits: frames in the port, buffers in their queue; the few frames that are out of the port
/// and in no buffer wait here, and are saved.
///
/// - SeeAlso: VIRTIO 1.3 §5.1 "Network Device".
package final class VirtioNetwork {
  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  package let loop: any Loop
  let ports: [any NetworkPort]
  let address: [UInt8]
  let queues: LoopBound<[VirtQueue]>
  private let signals = Mutex<VirtioSignals?>(nil)
  // State: everything the guest can change.
  let state: Mutex<State>

  /// - Parameters:
  ///   - ports: one for each pair of queues; at least one.
  ///   - address: six bytes, the MAC address.
  package init(
    ports: [any NetworkPort], address: [UInt8], queueSize: UInt16 = 256, loop: any Loop
  ) {
    precondition(address.count == 6, "a MAC address has six bytes")
    precondition(
      !ports.isEmpty && ports.count <= 64, "a network device has 1 to 64 pairs of queues")
    self.ports = ports
    self.address = address
    self.loop = loop
    state = Mutex(State(address: address, ports: ports.count))
    queues = LoopBound([], on: loop)
    profile = VirtioProfile(
      deviceID: .network, features: Self.features(of: ports),
      queueSizes: .init(repeating: queueSize, count: 2 * ports.count + 1), configurationSize: 12)
    for (index, port) in ports.enumerated() {
      port.accept([])
      port.attach(Link(device: self, index: index))
    }
  }

  private static func features(of ports: [any NetworkPort]) -> VirtioFeatures {
    var features: VirtioFeatures = [
      .mtu, .mac, .mergeableBuffers, .status, .controlQueue, .controlReceive, .controlVLAN,
      .controlReceiveExtra, .announce, .controlAddress,
    ]
    let offloads = ports.reduce(ports[0].offloads) { $0.intersection($1.offloads) }
    if offloads.contains(.checksum) {
      features.formUnion([.checksum, .guestChecksum, .controlGuestOffloads])
      if offloads.contains(.segmentTCPv4) { features.formUnion([.hostTSO4, .guestTSO4]) }
      if offloads.contains(.segmentTCPv6) { features.formUnion([.hostTSO6, .guestTSO6]) }
    }
    if ports.count > 1 { features.insert(.networkMultiQueue) }
    return features
  }

  /// A port's user: the device, and which port.
  private final class Link: NetworkPortUser {
    private weak let device: VirtioNetwork?
    private let index: Int
    let loop: any Loop

    init(device: VirtioNetwork, index: Int) {
      self.device = device
      self.index = index
      loop = device.loop
    }

    func portReady(_ events: PortEvents) { device?.ready(index, events) }
  }

  private func ready(_ port: Int, _ events: PortEvents) {
    let queues = queues.with { $0 }
    guard !queues.isEmpty else { return }  // no driver yet; its start asks
    if events.contains(.mayReceive) {
      queues[2 * (port % state.withLock { $0.pairs })].serve(by: self)
    }
    if events.contains(.maySend) { queues[2 * port + 1].serve(by: self) }
  }
}

// MARK: - The cable

extension VirtioNetwork {
  /// Plugs the cable in, or pulls it. From any thread.
  package func setLink(up: Bool) {
    let changed = state.withLock { state in
      defer { state.linkIsUp = up }
      return state.linkIsUp != up
    }
    guard changed else { return }
    signals.withLock { $0 }?.configurationChanged()
    loop.post { [weak self] in self?.receiveOnAll() }
  }

  /// Asks the driver to tell the network where it is now: after a move to another host. From any thread.
  package func announce() {
    let asks = state.withLock { state in
      state.mustAnnounce = state.features.contains(.announce)
      return state.mustAnnounce
    }
    if asks { signals.withLock { $0 }?.configurationChanged() }
  }

  func receiveOnAll() {
    for (index, queue) in queues.with({ $0 }).enumerated()
    where index.isMultiple(of: 2) { queue.serve(by: self) }
  }
}

// MARK: - What the driver sees

extension VirtioNetwork: VirtioDevice {
  package static let schema = "virtio-network/1"

  /// VIRTIO 1.3 §5.1.3.1 "Feature bit requirements".
  package func accepts(_ features: VirtioFeatures) -> Bool {
    func needs(_ some: VirtioFeatures, _ other: VirtioFeatures) -> Bool {
      features.isDisjoint(with: some) || features.contains(other)
    }
    return needs([.guestTSO4, .guestTSO6], .guestChecksum)
      && needs([.hostTSO4, .hostTSO6], .checksum)
      && needs(
        [
          .controlReceive, .controlVLAN, .announce, .networkMultiQueue, .controlAddress,
          .controlGuestOffloads,
        ], .controlQueue)
      && needs(.controlReceiveExtra, .controlReceive)
  }

  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    let state = state.withLock { $0 }
    var fields = ConfigurationFields()
    fields.append(bytes: state.address)
    fields.append((state.linkIsUp ? 1 : 0) | (state.mustAnnounce ? 2 : 0) as UInt16)
    fields.append(UInt16(ports.count))
    fields.append(UInt16(clamping: ports.map(\.maximumTransmissionUnit).min() ?? 1500))
    return fields.read(offset, width)
  }

  package func attach(_ signals: VirtioSignals) { self.signals.withLock { $0 = signals } }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    self.queues.with { $0 = queues }
    let offloads = state.withLock { state in
      state.begin(features)
      return state.guestOffloads
    }
    for port in ports { port.accept(offloads) }
  }

  package func service(_ queue: VirtQueue) {
    if queue.index == state.withLock({ $0.controlQueue(ports: ports.count) }) {
      obey(queue)
    } else if queue.index < 2 * ports.count {
      queue.index.isMultiple(of: 2) ? receive(queue) : send(queue)
    }
  }

  package func reset() {
    state.withLock { state in
      let isUp = state.linkIsUp
      state = State(address: address, ports: ports.count)
      state.linkIsUp = isUp  // the cable is not the driver's
    }
    for port in ports { port.accept([]) }
  }

  package func save() -> State.Saved { state.withLock { $0.saved } }

  package func restore(_ saved: State.Saved) throws(RestoreError) {
    let restored = try State(saved, ports: ports.count)
    state.withLock { $0 = restored }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("link", state.linkIsUp)
    node.field("pairs", state.pairs)
    node.field("dropped", state.dropped)
    node.field("waiting", state.arrived.map(\.count))
    node.child("filter") { $0.reflect(state.filter) }
  }
}

extension VirtioFeatures {
  // VIRTIO 1.3 §5.1.3 "Feature bits".
  static let checksum = Self(bit: 0)
  static let guestChecksum = Self(bit: 1)
  static let controlGuestOffloads = Self(bit: 2)
  static let mtu = Self(bit: 3)
  static let mac = Self(bit: 5)
  static let guestTSO4 = Self(bit: 7)
  static let guestTSO6 = Self(bit: 8)
  static let hostTSO4 = Self(bit: 11)
  static let hostTSO6 = Self(bit: 12)
  static let mergeableBuffers = Self(bit: 15)
  static let status = Self(bit: 16)
  static let controlQueue = Self(bit: 17)
  static let controlReceive = Self(bit: 18)
  static let controlVLAN = Self(bit: 19)
  static let controlReceiveExtra = Self(bit: 20)
  static let announce = Self(bit: 21)
  static let networkMultiQueue = Self(bit: 22)
  static let controlAddress = Self(bit: 23)
}
