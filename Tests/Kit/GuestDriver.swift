package import Memory

/// How a driver reaches a virtio device: the registers of one transport.
package protocol GuestTransport: AnyObject {
  var status: UInt8 { get set }
  var deviceFeatures: UInt64 { get }
  var driverFeatures: UInt64 { get set }
  /// The registers that follow are those of this queue.
  func select(queue: Int)
  var queueMaximum: UInt16 { get }
  func setQueue(size: UInt16, descriptorArea: UInt64, driverArea: UInt64, deviceArea: UInt64)
  var isQueueEnabled: Bool { get set }
  func resetQueue()
  var isQueueResetting: Bool { get }
  func notify(queue: Int)
  /// What pends; answered with it.
  func takeInterruptStatus() -> UInt8
  /// `count` bytes of the configuration space, read byte by byte.
  func configuration(_ offset: Int, count: Int) -> [UInt8]
  func setConfiguration(_ bytes: [UInt8], at offset: Int)
}

/// A virtio driver in the test's own process: it negotiates, owns queues in guest memory, and hands out buffers.
///
/// It keeps the rules. A test that wants them broken does so behind its back, in memory or in the registers.
package final class GuestDriver {
  package let transport: any GuestTransport
  package let memory: GuestMemory
  package private(set) var features: UInt64 = 0
  package private(set) var queues: [GuestQueue] = []
  /// The next free byte of guest memory.
  package var free: UInt64

  // VIRTIO 1.3 §2.1 and §6, by number.
  package static let acknowledge: UInt8 = 1, driver: UInt8 = 2, driverOK: UInt8 = 4
  package static let featuresOK: UInt8 = 8, needsReset: UInt8 = 64, failed: UInt8 = 128
  package static let indirect: UInt64 = 1 << 28, eventIndex: UInt64 = 1 << 29
  package static let version1: UInt64 = 1 << 32, packed: UInt64 = 1 << 34
  package static let inOrder: UInt64 = 1 << 35, ringReset: UInt64 = 1 << 40

  /// - Parameter start: where its part of guest memory begins.
  package init(_ transport: any GuestTransport, memory: GuestMemory, from start: UInt64 = 0x10000) {
    self.transport = transport
    self.memory = memory
    free = start
  }

  /// Guest memory of its own, zeroed.
  package func allocate(_ count: Int, alignment: UInt64 = 16) -> UInt64 {
    let start = (free + alignment - 1) & ~(alignment - 1)
    free = start + UInt64(count)
    try? memory.fill(0, at: GPA(start), count: UInt64(count))
    return start
  }

  /// Resets the device and agrees on features: those wanted of those offered. `false`: the device refused them.
  package func negotiate(_ wanted: UInt64 = .max) -> Bool {
    transport.status = 0
    transport.status = Self.acknowledge
    transport.status |= Self.driver
    features = transport.deviceFeatures & wanted
    transport.driverFeatures = features
    transport.status |= Self.featuresOK
    return transport.status & Self.featuresOK != 0
  }

  /// Sets up the queues that the device has, and says that the driver is ready.
  package func begin(queueSize: UInt16 = .max, count: Int = .max) {
    queues = []
    var index = 0
    while index < count {
      transport.select(queue: index)
      let maximum = transport.queueMaximum
      if maximum == 0 { break }
      queues.append(enable(index, size: min(maximum, queueSize)))
      index += 1
    }
    transport.status |= Self.driverOK
  }

  /// Makes a fresh queue of that number, and enables it.
  package func enable(_ index: Int, size: UInt16) -> GuestQueue {
    let queue = GuestQueue(self, index: index, size: size)
    transport.select(queue: index)
    transport.setQueue(
      size: size, descriptorArea: queue.descriptorArea, driverArea: queue.driverArea,
      deviceArea: queue.deviceArea)
    transport.isQueueEnabled = true
    if index < queues.count { queues[index] = queue }
    return queue
  }

  /// Lets go of its queues, which know it: neither keeps the other any more.
  package func forgetQueues() { queues = [] }

  package func has(_ feature: UInt64) -> Bool { features & feature != 0 }

  package func bytes(at address: UInt64, count: Int) -> [UInt8] {
    (try? memory.bytes(at: GPA(address), count: count)) ?? []
  }

  package func put(_ bytes: [UInt8], at address: UInt64) {
    try? memory.write(bytes, at: GPA(address))
  }
}
