import Board
import Memory
import PCI
import Synchronization

/// The interface of virtio devices before version 1: registers in ports, queues in one piece on a page.
///
/// Its registers move by four bytes once MSI-X is on; the ports are those of a little-endian machine.
///
/// - SeeAlso: VIRTIO 1.3 §4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout", §2.7.2 "Legacy Interfaces: A Note
///   on Virtqueue Layout".
final class PCILegacyInterface: IODevice {
  private let function: VirtioFunction
  private let msix: MSIX

  private init(_ function: VirtioFunction, _ msix: MSIX) {
    self.function = function
    self.msix = msix
  }

  static func bar(for function: VirtioFunction, _ msix: MSIX) -> BAR {
    BAR(.ports, size: 128, device: PCILegacyInterface(function, msix))
  }

  private enum Register: UInt64 {
    case deviceFeatures = 0
    case driverFeatures = 4
    case queueAddress = 8
    case queueSize = 12
    case queueSelect = 14
    case queueNotify = 16
    case status = 18
    case interruptStatus = 19
    case configurationVector = 20
    case queueVector = 22

    var width: AccessWidth {
      switch self {
      case .deviceFeatures, .driverFeatures, .queueAddress: .doubleword
      case .status, .interruptStatus: .byte
      default: .word
      }
    }
  }

  /// A register, or a place in the device's own configuration.
  private enum Target {
    case register(Register)
    case configuration(UInt64)
  }

  private func target(_ access: Access) throws(IOError) -> Target {
    let end: UInt64 = msix.isEnabled ? 24 : 20
    if access.offset >= end { return .configuration(access.offset - end) }
    guard let register = Register(rawValue: access.offset) else { throw .unsupportedWidth }
    guard access.width == register.width else { throw .unsupportedWidth }
    return .register(register)
  }

  func read(_ access: Access) throws(IOError) -> UInt64 {
    switch try target(access) {
    case .configuration(let offset): return function.readConfiguration(offset, access.width)
    case .register(.interruptStatus): return UInt64(function.takeInterruptStatus().rawValue)
    case .register(let register):
      return function.signals.registers.withLock { UInt64(read(register, $0)) }
    }
  }

  func doorbells(in region: UInt8) -> [DoorbellPlace] {
    function.doorbells.enumerated().map { index, doorbell in
      DoorbellPlace(
        offset: Register.queueNotify.rawValue, width: .word, value: UInt64(index),
        doorbell: doorbell)
    }
  }

  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    switch try target(access) {
    case .configuration(let offset): function.writeConfiguration(value, offset, access.width)
    case .register(.queueNotify): function.notify(value)
    case .register(.status): function.writeLegacyStatus(UInt8(truncatingIfNeeded: value))
    case .register(let register):
      function.write { write(UInt32(truncatingIfNeeded: value), register, &$0) }
    }
  }

  private func read(_ register: Register, _ state: VirtioRegisters) -> UInt32 {
    let queue = state.selectedQueue
    return switch register {
    case .deviceFeatures: UInt32(truncatingIfNeeded: state.legacyOffer.rawValue)
    case .driverFeatures: UInt32(truncatingIfNeeded: state.driverFeatures.rawValue)
    case .queueAddress: UInt32(truncatingIfNeeded: (queue?.descriptorArea ?? 0) / 4096)
    case .queueSize: UInt32(queue?.maximumSize ?? 0)
    case .queueSelect: UInt32(state.queueSelect)
    case .status: UInt32(state.statusRegister)
    case .configurationVector: UInt32(state.configurationVector)
    case .queueVector: UInt32(queue?.vector ?? VirtioRegisters.noVector)
    case .queueNotify, .interruptStatus: 0
    }
  }

  private func write(
    _ value: UInt32, _ register: Register, _ state: inout VirtioRegisters
  ) -> VirtioRegisters.Errand {
    let vector = value < UInt32(msix.vectors) ? UInt16(value) : VirtioRegisters.noVector
    switch register {
    case .driverFeatures: state.writeLegacyFeatures(value)
    case .queueAddress: return state.setLegacyQueue(page: value)
    case .queueSelect: state.queueSelect = UInt16(truncatingIfNeeded: value)
    case .configurationVector: state.configurationVector = vector
    case .queueVector: state.setQueueVector(vector)
    case .deviceFeatures, .queueSize, .queueNotify, .status, .interruptStatus: break
    }
    return .nothing
  }
}

extension VirtioFunction {
  func writeLegacyStatus(_ value: UInt8) { write { $0.writeLegacyStatus(value) } }
}

// MARK: - What is different in the registers

extension VirtioRegisters {
  /// A driver from before version 1 sees 32 bits, and rings of one kind only.
  var legacyOffer: VirtioFeatures {
    VirtioFeatures(rawValue: offered.rawValue & 0xffff_ffff).union(.anyLayout)
  }

  /// Features are the driver's alone to choose: there is no FEATURES_OK. §3.1.2 "Legacy Interface: Device
  /// Initialization".
  mutating func writeLegacyFeatures(_ value: UInt32) {
    guard !status.contains(.driverOK), !status.contains(.featuresOK) else { return }
    setLegacy(VirtioFeatures(rawValue: UInt64(value)).intersection(legacyOffer))
  }

  mutating func writeLegacyStatus(_ value: UInt8) -> Errand {
    guard value != 0 else { return reset() }
    // One driver does not speak both ways.
    guard !status.contains(.featuresOK) else { return .nothing }
    let wanted = VirtioStatus(rawValue: value).intersection([
      .acknowledge, .driver, .driverOK, .failed,
    ])
    let isNew = wanted.contains(.driverOK) && !status.contains(.driverOK)
    addLegacy(wanted)
    return isNew && !status.contains(.failed) ? .start : .nothing
  }

  /// The ring in one piece: descriptors, available ring, and on the next page the used ring. §2.7.2.
  mutating func setLegacyQueue(page: UInt32) -> Errand {
    guard !status.contains(.featuresOK), let queue = selectedQueue else { return .nothing }
    guard page != 0 else { return disableQueue() }
    guard !queue.isEnabled else { return .nothing }
    let start = UInt64(page) * 4096
    let size = UInt64(queue.maximumSize)
    let available = start + 16 * size
    let used = (available + 6 + 2 * size + 4095) & ~4095
    setUpQueue { queue in
      queue.size = queue.maximumSize
      queue.descriptorArea = start
      queue.driverArea = available
      queue.deviceArea = used
      queue.isEnabled = true
    }
    return status.contains(.driverOK) ? .startQueue(Int(queueSelect)) : .nothing
  }
}
