package import Board
package import Inspection
package import Memory
package import SavedState
import Synchronization
package import Work

/// A virtio device behind memory-mapped registers, with one interrupt: the transport of machines without PCI. Only the
/// modern interface, version 2.
///
/// - SeeAlso: VIRTIO 1.3 §4.2 "Virtio Over MMIO".
package final class VirtioMMIO {
  // Wiring: fixed for the life of the device.
  package let function: VirtioFunction

  /// Bytes of its registers on the bus.
  package static let size: UInt64 = 0x200

  /// - Parameter rings: what it offers for its queues.
  package init(
    _ device: any VirtioDevice, interrupt: consuming InterruptLine, dma: DMA, loop: any Loop,
    offering rings: VirtioFeatures = .rings
  ) {
    precondition(
      device.profile.configurationSize <= Int(Self.size - Register.configuration),
      "a configuration space that does not fit its window")
    function = VirtioFunction(
      device, offering: rings, dma: dma, loop: loop, interrupts: LineInterrupts(interrupt))
  }
}

/// One wire, asserted while anything pends.
private final class LineInterrupts: VirtioInterrupts {
  private let line: InterruptLine

  init(_ line: consuming InterruptLine) { self.line = line }

  func update(_ pending: VirtioInterruptStatus, event vector: UInt16?) {
    line.set(!pending.isEmpty)
  }
}

// MARK: - What the guest sees

extension VirtioMMIO: IODevice {
  /// QueueNotify takes the queue's number.
  package func doorbells(in region: UInt8) -> [DoorbellPlace] {
    function.doorbells.enumerated().map { index, doorbell in
      DoorbellPlace(
        offset: Register.queueNotify.rawValue, width: .doubleword, value: UInt64(index),
        doorbell: doorbell)
    }
  }

  package func read(_ access: Access) throws(IOError) -> UInt64 {
    if access.offset >= Register.configuration {
      return function.readConfiguration(try Self.configurationOffset(access), access.width)
    }
    let register = try Register(access)
    return UInt64(function.signals.registers.withLock { read(register, $0) })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    if access.offset >= Register.configuration {
      return function.writeConfiguration(value, try Self.configurationOffset(access), access.width)
    }
    let register = try Register(access)
    let value = UInt32(truncatingIfNeeded: value)
    switch register {
    case .queueNotify: function.notify(UInt64(value))
    case .status: function.writeStatus(UInt8(truncatingIfNeeded: value))
    default: function.write { write(value, register, &$0) }
    }
  }

  /// Its fields have widths of their own: aligned accesses of any width are fine.
  private static func configurationOffset(_ access: Access) throws(IOError) -> UInt64 {
    guard access.offset % access.width.bytes == 0 else { throw .misaligned }
    return access.offset - Register.configuration
  }

  private func read(_ register: Register, _ state: VirtioRegisters) -> UInt32 {
    switch register {
    case .magic: 0x7472_6976
    case .version: 2
    case .deviceID: UInt32(function.device.profile.deviceID.rawValue)
    case .vendorID: 0x5453_4f52
    case .deviceFeatures: state.deviceFeatureRegister
    case .queueSizeMaximum: UInt32(state.selectedQueue?.maximumSize ?? 0)
    case .queueReady: state.selectedQueue?.isEnabled == true ? 1 : 0
    case .queueReset: state.selectedQueue?.isResetting == true ? 1 : 0
    case .interruptStatus: UInt32(state.interruptStatus.rawValue)
    case .status: UInt32(state.statusRegister)
    // No device has a region of shared memory: length and base read as ones.
    case .sharedMemoryLengthLow, .sharedMemoryLengthHigh, .sharedMemoryBaseLow,
      .sharedMemoryBaseHigh:
      .max
    case .configurationGeneration: UInt32(state.configurationGeneration)
    default: 0  // write-only
    }
  }

  private func write(
    _ value: UInt32, _ register: Register, _ state: inout VirtioRegisters
  ) -> VirtioRegisters.Errand {
    switch register {
    case .deviceFeaturesSelect: state.deviceFeatureSelect = value
    case .driverFeatures: state.writeDriverFeatures(value)
    case .driverFeaturesSelect: state.driverFeatureSelect = value
    case .queueSelect: state.queueSelect = UInt16(clamping: value)
    case .queueSize: state.setQueueSize(value)
    case .queueReady: return value & 1 == 1 ? state.enableQueue() : state.disableQueue()
    case .queueReset: return value & 1 == 1 ? state.resetQueue() : .nothing
    case .interruptAcknowledge:
      state.acknowledge(VirtioInterruptStatus(rawValue: UInt8(truncatingIfNeeded: value)))
    case .queueDescriptorLow: state.setUpQueue { $0.descriptorArea.low = value }
    case .queueDescriptorHigh: state.setUpQueue { $0.descriptorArea.high = value }
    case .queueDriverLow: state.setUpQueue { $0.driverArea.low = value }
    case .queueDriverHigh: state.setUpQueue { $0.driverArea.high = value }
    case .queueDeviceLow: state.setUpQueue { $0.deviceArea.low = value }
    case .queueDeviceHigh: state.setUpQueue { $0.deviceArea.high = value }
    default: break  // read-only
    }
    return .nothing
  }
}

extension UInt64 {
  /// The lower 32 bits.
  var low: UInt32 {
    get { UInt32(truncatingIfNeeded: self) }
    set { self = self & 0xffff_ffff_0000_0000 | UInt64(newValue) }
  }

  /// The upper 32 bits.
  var high: UInt32 {
    get { UInt32(truncatingIfNeeded: self >> 32) }
    set { self = self & 0xffff_ffff | UInt64(newValue) << 32 }
  }
}

// MARK: - What the machine sees

extension VirtioMMIO: Component {
  package static let schema = "virtio-mmio/1"

  package func start() { function.start() }
  package func stop(_ rest: Barrier) { function.stop(rest) }
  package func reset() { function.reset() }
  package func save() throws(SaveError) -> VirtioFunctionState { try function.save() }

  package func restore(_ saved: VirtioFunctionState) throws(RestoreError) {
    try function.restore(saved)
  }

  package func inspect(_ node: inout Node) { function.inspect(&node) }
}

// MARK: - The registers

extension VirtioMMIO {
  /// VIRTIO 1.3 §4.2.2 "MMIO Device Register Layout".
  enum Register: UInt64 {
    case magic = 0x000
    case version = 0x004
    case deviceID = 0x008
    case vendorID = 0x00c
    case deviceFeatures = 0x010
    case deviceFeaturesSelect = 0x014
    case driverFeatures = 0x020
    case driverFeaturesSelect = 0x024
    case queueSelect = 0x030
    case queueSizeMaximum = 0x034
    case queueSize = 0x038
    case queueReady = 0x044
    case queueNotify = 0x050
    case interruptStatus = 0x060
    case interruptAcknowledge = 0x064
    case status = 0x070
    case queueDescriptorLow = 0x080
    case queueDescriptorHigh = 0x084
    case queueDriverLow = 0x090
    case queueDriverHigh = 0x094
    case queueDeviceLow = 0x0a0
    case queueDeviceHigh = 0x0a4
    case sharedMemorySelect = 0x0ac
    case sharedMemoryLengthLow = 0x0b0
    case sharedMemoryLengthHigh = 0x0b4
    case sharedMemoryBaseLow = 0x0b8
    case sharedMemoryBaseHigh = 0x0bc
    case queueReset = 0x0c0
    case configurationGeneration = 0x0fc

    /// Where the device's own configuration space begins.
    static let configuration: UInt64 = 0x100

    init(_ access: Access) throws(IOError) {
      guard access.width == .doubleword else { throw .unsupportedWidth }
      guard access.offset % 4 == 0 else { throw .misaligned }
      guard let register = Self(rawValue: access.offset) else { throw .noSuchRegister }
      self = register
    }
  }
}
