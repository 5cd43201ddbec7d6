/// How a driver reaches a virtio device: the registers of one transport (VIRTIO 1.3 §4.1 and §4.2).
protocol VirtioTransport: AnyObject {
  /// The device type of §5.
  var kind: UInt32 { get }
  var status: UInt8 { get set }
  var deviceFeatures: UInt64 { get }
  func accept(_ features: UInt64)
  /// The registers that follow are those of this queue.
  func select(queue: UInt32)
  var queueMaximum: UInt32 { get }
  func setQueue(size: UInt32)
  func setQueue(_ area: QueueArea, at address: UInt64)
  var isQueueEnabled: Bool { get set }
  func resetQueue()
  func notify(queue: UInt32)
  /// Where the device's own configuration space lies.
  var configuration: UInt64 { get }
  /// A register that nothing hangs on, for the device's own address as a buffer.
  var registers: UInt64 { get }
  /// From now on each queue's used buffers interrupt this processor.
  func openInterrupts(queues: Int)
  /// The interrupt was heard, and the next one may come.
  func acknowledge()
  /// Resets the device by the longest way there is; `false`: it knows none but the status.
  func resetFunction() -> Bool
}

/// The three parts of a queue (§2.6).
enum QueueArea { case descriptors, driver, device }

/// Bits of the device status field (§2.1).
enum DeviceStatus {
  static var acknowledge: UInt8 { 1 }
  static var driver: UInt8 { 2 }
  static var driverOK: UInt8 { 4 }
  static var featuresOK: UInt8 { 8 }
  static var needsReset: UInt8 { 64 }
  static var failed: UInt8 { 128 }
}

/// Feature bits that are not a device's own (§6).
enum Feature {
  static var indirect: UInt64 { 1 << 28 }
  static var eventIndex: UInt64 { 1 << 29 }
  static var version1: UInt64 { 1 << 32 }
  static var packed: UInt64 { 1 << 34 }
  static var ringReset: UInt64 { 1 << 40 }
}
