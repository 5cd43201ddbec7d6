import Board
import PCI
import Synchronization

/// The structures of a virtio device's BAR, each a region by its type.
///
/// - SeeAlso: VIRTIO 1.3 §4.1.4.3 "Common configuration structure layout" to §4.1.4.6.
final class PCIStructures: IODevice {
  private let function: VirtioFunction
  private let vectors: Int

  init(_ function: VirtioFunction, vectors: Int) {
    self.function = function
    self.vectors = vectors
  }

  func read(_ access: Access) throws(IOError) -> UInt64 {
    switch VirtioPCI.Structure(rawValue: access.region) {
    case .common:
      let (register, isUpper) = try Register.at(access)
      let value = function.signals.registers.withLock { read(register, $0) }
      return isUpper ? value >> 32 : value
    case .interruptStatus:
      guard access.offset == 0 else { throw .noSuchRegister }
      return UInt64(function.takeInterruptStatus().rawValue)
    case .configuration:
      guard access.offset % access.width.bytes == 0 else { throw .misaligned }
      return function.readConfiguration(access.offset, access.width)
    case .notification: return 0
    case nil: throw .noSuchRegister
    }
  }

  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    switch VirtioPCI.Structure(rawValue: access.region) {
    case .common:
      let (register, isUpper) = try Register.at(access)
      if register == .status { return function.writeStatus(UInt8(truncatingIfNeeded: value)) }
      function.write { write(value, register, isUpper, access.width, &$0) }
    case .notification:
      guard access.offset % VirtioPCI.notifyMultiplier == 0 else { throw .misaligned }
      function.notify(access.offset / VirtioPCI.notifyMultiplier)
    case .configuration:
      guard access.offset % access.width.bytes == 0 else { throw .misaligned }
      function.writeConfiguration(value, access.offset, access.width)
    case .interruptStatus: break  // read-only
    case nil: throw .noSuchRegister
    }
  }

  /// A queue's place in the notification structure takes any write.
  func doorbells(in region: UInt8) -> [DoorbellPlace] {
    guard region == VirtioPCI.Structure.notification.rawValue else { return [] }
    return function.doorbells.enumerated().map { index, doorbell in
      DoorbellPlace(offset: UInt64(index) * VirtioPCI.notifyMultiplier, doorbell: doorbell)
    }
  }
}

extension VirtioFunction {
  /// What pends; reading it acknowledges it. §4.1.4.5.
  func takeInterruptStatus() -> VirtioInterruptStatus {
    signals.with { registers in
      defer { registers.acknowledge(registers.interruptStatus) }
      return registers.interruptStatus
    }
  }
}

// MARK: - The common structure

extension PCIStructures {
  static let commonLength: UInt64 = 0x3c

  /// By their offsets.
  enum Register: UInt64 {
    case deviceFeatureSelect = 0x00
    case deviceFeature = 0x04
    case driverFeatureSelect = 0x08
    case driverFeature = 0x0c
    case configurationVector = 0x10
    case queueCount = 0x12
    case status = 0x14
    case configurationGeneration = 0x15
    case queueSelect = 0x16
    case queueSize = 0x18
    case queueVector = 0x1a
    case queueEnable = 0x1c
    case queueNotifyOffset = 0x1e
    case queueDescriptorArea = 0x20
    case queueDriverArea = 0x28
    case queueDeviceArea = 0x30
    case queueNotifyData = 0x38
    case queueReset = 0x3a

    private var width: AccessWidth {
      switch self {
      case .deviceFeatureSelect, .deviceFeature, .driverFeatureSelect, .driverFeature: .doubleword
      case .status, .configurationGeneration: .byte
      case .queueDescriptorArea, .queueDriverArea, .queueDeviceArea: .quadword
      default: .word
      }
    }

    /// The register, which is accessed whole; of one of 64 bits also half, and which half.
    static func at(_ access: Access) throws(IOError) -> (register: Self, isUpper: Bool) {
      if let register = Self(rawValue: access.offset) {
        guard
          access.width == register.width
            || register.width == .quadword && access.width == .doubleword
        else { throw .unsupportedWidth }
        return (register, false)
      }
      if access.width == .doubleword, access.offset >= 4,
        let register = Self(rawValue: access.offset - 4), register.width == .quadword
      {
        return (register, true)
      }
      throw .noSuchRegister
    }
  }

  private func read(_ register: Register, _ state: VirtioRegisters) -> UInt64 {
    let queue = state.selectedQueue
    return switch register {
    case .deviceFeatureSelect: UInt64(state.deviceFeatureSelect)
    case .deviceFeature: UInt64(state.deviceFeatureRegister)
    case .driverFeatureSelect: UInt64(state.driverFeatureSelect)
    case .driverFeature: UInt64(state.driverFeatureRegister)
    case .configurationVector: UInt64(state.configurationVector)
    case .queueCount: UInt64(state.queues.count)
    case .status: UInt64(state.statusRegister)
    case .configurationGeneration: UInt64(state.configurationGeneration)
    case .queueSelect: UInt64(state.queueSelect)
    case .queueSize: UInt64(queue?.size ?? 0)
    case .queueVector: UInt64(queue?.vector ?? VirtioRegisters.noVector)
    case .queueEnable: queue?.isEnabled == true ? 1 : 0
    case .queueNotifyOffset, .queueNotifyData: queue == nil ? 0 : UInt64(state.queueSelect)
    case .queueDescriptorArea: queue?.descriptorArea ?? 0
    case .queueDriverArea: queue?.driverArea ?? 0
    case .queueDeviceArea: queue?.deviceArea ?? 0
    case .queueReset: queue?.isResetting == true ? 1 : 0
    }
  }

  private func write(
    _ value: UInt64, _ register: Register, _ isUpper: Bool, _ width: AccessWidth,
    _ state: inout VirtioRegisters
  ) -> VirtioRegisters.Errand {
    let low = UInt32(truncatingIfNeeded: value)
    func change(_ field: inout UInt64) {
      if isUpper {
        field.high = low
      } else if width == .doubleword {
        field.low = low
      } else {
        field = value
      }
    }
    switch register {
    case .deviceFeatureSelect: state.deviceFeatureSelect = low
    case .driverFeatureSelect: state.driverFeatureSelect = low
    case .driverFeature: state.writeDriverFeatures(low)
    case .configurationVector: state.configurationVector = vector(low)
    case .queueSelect: state.queueSelect = UInt16(truncatingIfNeeded: value)
    case .queueSize: state.setQueueSize(low)
    case .queueVector: state.setQueueVector(vector(low))
    case .queueEnable: return low == 1 ? state.enableQueue() : .nothing
    case .queueDescriptorArea: state.setUpQueue { change(&$0.descriptorArea) }
    case .queueDriverArea: state.setUpQueue { change(&$0.driverArea) }
    case .queueDeviceArea: state.setUpQueue { change(&$0.deviceArea) }
    case .queueReset: return low == 1 ? state.resetQueue() : .nothing
    case .deviceFeature, .queueCount, .status, .configurationGeneration, .queueNotifyOffset,
      .queueNotifyData:
      break  // read-only, or no register of this kind
    }
    return .nothing
  }

  /// A vector that there is, or none: §4.1.5.1.2.1 "MSI-X Vector Configuration".
  private func vector(_ value: UInt32) -> UInt16 {
    value < UInt32(vectors) ? UInt16(value) : VirtioRegisters.noVector
  }
}
