package import Board
package import Inspection
package import SavedState

/// What a virtio device is, to whatever carries it.
package struct VirtioProfile: Sendable {
  package let deviceID: VirtioDeviceID
  /// The device's own features; those of the rings are the transport's business.
  package let features: VirtioFeatures
  /// The most entries that each queue may have: powers of two.
  package let queueSizes: [UInt16]
  /// Bytes of the configuration space.
  package let configurationSize: Int
  /// Bytes in a chain; more, and its queue stops.
  package let maximumChainBytes: UInt64

  package init(
    deviceID: VirtioDeviceID, features: VirtioFeatures = [], queueSizes: [UInt16],
    configurationSize: Int = 0, maximumChainBytes: UInt64 = 1 << 32
  ) {
    precondition(
      queueSizes.allSatisfy { $0 > 0 && $0 <= 1 << 15 && $0.nonzeroBitCount == 1 },
      "a queue's size is a power of two up to 2¹⁵")
    self.deviceID = deviceID
    self.features = features
    self.queueSizes = queueSizes
    self.configurationSize = configurationSize
    self.maximumChainBytes = maximumChainBytes
  }
}

/// A virtio device, whatever carries it. Start, stop, reset and save of its queues are the transport's, once for all.
///
/// What the guest can change or see of the device itself sits in a `Mutex`; what belongs to requests in flight, in a
/// `LoopBound`. The device's lock is never held while a queue or `VirtioSignals` is called.
package protocol VirtioDevice: AnyObject, Sendable {
  /// The device's own state, apart from its queues; its own type, as with `Component`.
  associatedtype Saved: Codable & Sendable
  static var schema: String { get }

  var profile: VirtioProfile { get }
  /// Whether these features make sense together; they are all among those offered. From any thread.
  func accepts(_ features: VirtioFeatures) -> Bool

  /// Reads the configuration space, inside its size. From any thread.
  func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64
  /// Writes what of the configuration space can be written; the rest is lost. From any thread.
  func writeConfiguration(_ value: UInt64, _ offset: Int, _ width: AccessWidth)

  /// Names how to reach the driver; once, before anything else.
  func attach(_ signals: VirtioSignals)
  /// The driver is ready, or the machine goes on. All queues, those that the driver left out not active. On the loop;
  /// a `service` of each active one follows.
  func start(_ queues: [VirtQueue], _ features: VirtioFeatures)
  /// Takes chains until the queue has none or the device is full. On the loop: at a notification, at start, and
  /// whenever the device asks by `VirtQueue.serve`.
  func service(_ queue: VirtQueue)
  /// The queues give no more chains, until the next start. On the loop.
  func stop()
  /// A single queue was reset by the driver; what the device keeps for it is void. On the loop.
  func queueReset(_ index: Int)
  /// Back to power-on state. Requests in flight may still end. From any thread.
  func reset()

  // As with `Component`, at rest.
  func save() throws(SaveError) -> Saved
  func restore(_ saved: Saved) throws(RestoreError)
  func inspect(_ node: inout Node)
}

extension VirtioDevice {
  package func accepts(_ features: VirtioFeatures) -> Bool { true }
  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 { 0 }
  package func writeConfiguration(_ value: UInt64, _ offset: Int, _ width: AccessWidth) {}
  package func attach(_ signals: VirtioSignals) {}
  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {}
  package func stop() {}
  package func queueReset(_ index: Int) {}
  package func reset() {}

  /// The device's own state, encoded, and the name of its shape.
  func savedState() throws(SaveError) -> (schema: String, bytes: [UInt8]) {
    (Self.schema, try CBOREncoder().encode(save()))
  }

  func restore(_ bytes: [UInt8], schema: String) throws(RestoreError) {
    guard schema == Self.schema else {
      throw .schemaMismatch(part: "virtio device", found: schema, expected: Self.schema)
    }
    try restore(CBORDecoder().decode(Saved.self, from: bytes))
  }
}

/// Lays out a configuration space: fields one behind the other, little-endian.
package struct ConfigurationFields: Sendable {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func append<T: FixedWidthInteger>(_ value: T) {
    for shift in stride(from: 0, to: T.bitWidth, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
    }
  }

  package mutating func append(bytes: [UInt8]) { self.bytes += bytes }

  /// What is there; zero behind the end.
  package func read(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<Int(width.bytes) {
      guard offset >= 0, offset < bytes.count - index else { break }
      value |= UInt64(bytes[offset + index]) << UInt64(index * 8)
    }
    return value
  }
}
