import Arch

/// A virtio device behind memory-mapped registers (VIRTIO 1.3 §4.2).
final class MMIOTransport: VirtioTransport {
  let base: UInt64
  /// The pin of the I/O APIC that its interrupt reaches.
  private let pin: UInt64

  init(base: UInt64, pin: UInt64) {
    self.base = base
    self.pin = pin
  }

  /// §4.2.2.
  enum Register {
    static var magic: UInt64 { 0x00 }
    static var version: UInt64 { 0x04 }
    static var deviceID: UInt64 { 0x08 }
    static var deviceFeatures: UInt64 { 0x10 }
    static var deviceFeaturesSelect: UInt64 { 0x14 }
    static var driverFeatures: UInt64 { 0x20 }
    static var driverFeaturesSelect: UInt64 { 0x24 }
    static var queueSelect: UInt64 { 0x30 }
    static var queueMaximum: UInt64 { 0x34 }
    static var queueSize: UInt64 { 0x38 }
    static var queueReady: UInt64 { 0x44 }
    static var queueNotify: UInt64 { 0x50 }
    static var interruptStatus: UInt64 { 0x60 }
    static var interruptAcknowledge: UInt64 { 0x64 }
    static var status: UInt64 { 0x70 }
    static var queueDescriptors: UInt64 { 0x80 }
    static var queueDriver: UInt64 { 0x90 }
    static var queueDevice: UInt64 { 0xa0 }
    static var queueReset: UInt64 { 0xc0 }
    static var configuration: UInt64 { 0x100 }
  }

  func read(_ register: UInt64) -> UInt32 { load32(base + register) }
  func write(_ register: UInt64, _ value: UInt32) { store32(base + register, value) }

  /// Whether the place has a device at all, and speaks the modern interface.
  var isDevice: Bool {
    read(Register.magic) == 0x7472_6976 && read(Register.version) == 2 && kind != 0
  }

  var kind: UInt32 { read(Register.deviceID) }

  var status: UInt8 {
    get { UInt8(truncatingIfNeeded: read(Register.status)) }
    set { write(Register.status, UInt32(newValue)) }
  }

  var deviceFeatures: UInt64 {
    write(Register.deviceFeaturesSelect, 1)
    let high = UInt64(read(Register.deviceFeatures))
    write(Register.deviceFeaturesSelect, 0)
    return high << 32 | UInt64(read(Register.deviceFeatures))
  }

  func accept(_ features: UInt64) {
    write(Register.driverFeaturesSelect, 0)
    write(Register.driverFeatures, UInt32(truncatingIfNeeded: features))
    write(Register.driverFeaturesSelect, 1)
    write(Register.driverFeatures, UInt32(truncatingIfNeeded: features >> 32))
  }

  func select(queue: UInt32) { write(Register.queueSelect, queue) }
  var queueMaximum: UInt32 { read(Register.queueMaximum) }
  func setQueue(size: UInt32) { write(Register.queueSize, size) }

  func setQueue(_ area: QueueArea, at address: UInt64) {
    let register =
      switch area {
      case .descriptors: Register.queueDescriptors
      case .driver: Register.queueDriver
      case .device: Register.queueDevice
      }
    write(register, UInt32(truncatingIfNeeded: address))
    write(register + 4, UInt32(truncatingIfNeeded: address >> 32))
  }

  var isQueueEnabled: Bool {
    get { read(Register.queueReady) == 1 }
    set { write(Register.queueReady, newValue ? 1 : 0) }
  }

  func resetQueue() { write(Register.queueReset, 1) }
  func notify(queue: UInt32) { write(Register.queueNotify, queue) }
  var configuration: UInt64 { base + Register.configuration }
  var registers: UInt64 { base }

  func openInterrupts(queues: Int) {
    VirtioInterrupts.open(pin: pin)
    acknowledge()
  }

  func acknowledge() {
    let pending = read(Register.interruptStatus)
    if pending != 0 { write(Register.interruptAcknowledge, pending) }
    VirtioInterrupts.rearm(pin: pin)
  }

  func resetFunction() -> Bool { false }
}
