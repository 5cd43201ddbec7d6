import Arch

/// How a driver and its device speak: what of the ring features is accepted, and how the driver waits.
struct Dialect: OptionSet {
  let rawValue: UInt8
  static var packed: Dialect { Dialect(rawValue: 1) }
  static var events: Dialect { Dialect(rawValue: 2) }
  /// The driver sleeps until an interrupt comes, and does not poll.
  static var interrupts: Dialect { Dialect(rawValue: 4) }

  var features: UInt64 {
    Feature.version1 | Feature.indirect | Feature.ringReset
      | (contains(.packed) ? Feature.packed : 0) | (contains(.events) ? Feature.eventIndex : 0)
  }
}

/// A driver of one device, which keeps the rules (VIRTIO 1.3 §3.1).
final class VirtioDriver {
  let transport: any VirtioTransport
  let use: any DeviceUse
  let offered: UInt64
  private(set) var features: UInt64 = 0
  private(set) var dialect: Dialect = []
  private let rings: [Ring]

  init(_ transport: any VirtioTransport, _ use: any DeviceUse) {
    self.transport = transport
    self.use = use
    transport.status = 0
    offered = transport.deviceFeatures
    var rings: [Ring] = []
    for queue in 0..<8 {
      transport.select(queue: UInt32(queue))
      if transport.queueMaximum == 0 { break }
      rings.append(Ring(index: queue))
    }
    self.rings = rings
  }

  var ringCount: Int { rings.count }
  func ring(_ index: Int) -> Ring { rings[index] }
  /// That of the device's requests.
  var requests: Ring { rings[use.requestQueue] }

  // MARK: Beginning

  /// Resets the device; `false`: its status does not become zero.
  func reset() -> Bool {
    transport.status = 0
    return isReset
  }

  /// Waits until requests in flight have ended: §2.4.1, §4.2.2.1.
  var isReset: Bool { Patience.wait { transport.status == 0 } }

  /// Up to FEATURES_OK; `false`: the device refuses the features.
  func negotiate(_ features: UInt64) -> Bool {
    transport.status = DeviceStatus.acknowledge
    transport.status = DeviceStatus.acknowledge | DeviceStatus.driver
    transport.accept(features)
    self.features = features
    let status = DeviceStatus.acknowledge | DeviceStatus.driver | DeviceStatus.featuresOK
    transport.status = status
    return transport.status == status
  }

  /// From a reset to DRIVER_OK, with all queues.
  func begin(_ dialect: Dialect) -> Bool {
    guard prepare(dialect) else { return false }
    for ring in rings { enable(ring) }
    if dialect.contains(.interrupts) { transport.openInterrupts(queues: rings.count) }
    transport.status = transport.status | DeviceStatus.driverOK
    return true
  }

  /// The same up to the queues, which are only made ready in memory.
  func prepare(_ dialect: Dialect) -> Bool {
    self.dialect = dialect
    guard reset(), negotiate(offered & (dialect.features | use.features)) else { return false }
    for ring in rings { ring.start(size: size(of: ring), dialect) }
    return true
  }

  private func size(of ring: Ring) -> UInt16 {
    transport.select(queue: UInt32(ring.index))
    return UInt16(truncatingIfNeeded: min(transport.queueMaximum, UInt32(Ring.mostEntries)))
  }

  func enable(_ ring: Ring) {
    transport.select(queue: UInt32(ring.index))
    transport.setQueue(size: UInt32(ring.size))
    transport.setQueue(.descriptors, at: ring.descriptors)
    transport.setQueue(.driver, at: ring.driverArea)
    transport.setQueue(.device, at: ring.deviceArea)
    transport.isQueueEnabled = true
  }

  // MARK: Requests

  /// Offers a request by all rules.
  func offer(_ chain: Chain) {
    var chain = chain
    rings[chain.queue].join(&chain)
    rings[chain.queue].add(chain)
    kick(chain.queue)
  }

  func kick(_ queue: Int) { transport.notify(queue: UInt32(queue)) }
  func kickAll() { for ring in rings { kick(ring.index) } }

  /// Waits until a request came back, and says what was written into it; `nil`: it does not come.
  func wait(_ queue: Int) -> UInt32? {
    let ring = rings[queue]
    var written: UInt32?
    if dialect.contains(.interrupts) {
      ring.askForInterrupt()
      written = ring.take()
      if written != nil { return written }
      _ = Patience.sleep {
        transport.acknowledge()
        written = ring.take()
        return written != nil
      }
    } else {
      _ = Patience.wait {
        written = ring.take()
        return written != nil
      }
    }
    return written
  }

  func complete(_ chain: Chain) -> UInt32? {
    offer(chain)
    return wait(chain.queue)
  }

  /// Whether nothing was written outside of what the device was handed.
  var isContained: Bool { rings.allSatisfy { $0.isContained } }
}

/// How long a driver waits before it gives a device up: longer than the busiest host lets it wait.
enum Patience {
  private static var microseconds: UInt64 { 10_000_000 }

  /// Polls.
  static func wait(until holds: () -> Bool) -> Bool {
    // The clock is asked seldom: that leaves the guest.
    for _ in 0..<2000 {
      if holds() { return true }
      spin_pause()
    }
    // Of a host that stands still, time alone would say that the device has had its time.
    return wait(atLeast: 10_000, until: holds) { spin_pause() }
  }

  /// Sleeps from interrupt to interrupt; the local APIC's timer brings some.
  static func sleep(until holds: () -> Bool) -> Bool {
    wait(atLeast: 100, until: holds) { wait_for_interrupt() }
  }

  private static func wait(
    atLeast looks: UInt64, until holds: () -> Bool, _ rest: () -> Void
  ) -> Bool {
    let end = Time.microseconds + microseconds
    var count: UInt64 = 0
    while count < looks || Time.microseconds < end {
      rest()
      if holds() { return true }
      count += 1
    }
    return false
  }
}
