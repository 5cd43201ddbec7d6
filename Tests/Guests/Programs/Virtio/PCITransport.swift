import Arch

/// A virtio device as a PCI function (VIRTIO 1.3 §4.1).
final class PCITransport: VirtioTransport {
  let space: PCIFunctionSpace
  let kind: UInt32
  /// The structures, where they lie in memory; zero: there is none (§4.1.4).
  private(set) var common: UInt64 = 0
  private(set) var notification: UInt64 = 0
  private(set) var interruptStatus: UInt64 = 0
  private(set) var configuration: UInt64 = 0
  private var multiplier: UInt64 = 0
  /// The window to the structures in configuration space (§4.1.4.9).
  private(set) var window: UInt64 = 0
  private(set) var msix: UInt64 = 0
  /// The MSI-X table in memory, and its number of vectors.
  private(set) var table: UInt64 = 0
  private(set) var vectors: UInt32 = 0
  private(set) var power: UInt64 = 0
  private(set) var express: UInt64 = 0
  /// The BAR of the structures.
  private(set) var bar: UInt64 = 0
  /// The BARs as they were found.
  private var found = [6 of UInt32](repeating: 0)

  init(_ space: PCIFunctionSpace, kind: UInt32) {
    self.space = space
    self.kind = kind
    for index in 0..<6 {
      found[index] = space.read(PCIFunctionSpace.Register.bar + 4 * UInt64(index))
    }
    for index in 0..<6 { Self.reach(address(ofBAR: index)) }
    space.command = PCIFunctionSpace.Command.memory | PCIFunctionSpace.Command.busMaster
    var offset = space.capability()
    var count = 0
    while offset != 0, count < 48 {
      note(capability: offset)
      offset = space.capability(after: offset)
      count += 1
    }
  }

  /// Maps what lies around an address, if the guest did not begin with it: `entry.S` maps 16 GiB.
  static func reach(_ address: UInt64) {
    guard address >= 16 << 30 else { return }
    let start = address & ~0x1f_ffff
    PageTables.map(start, to: start, [.present, .writable], level: 2)
  }

  private func note(capability offset: UInt64) {
    let header = space.read(offset)
    switch header & 0xff {
    case PCIFunctionSpace.CapabilityID.vendor:
      let structure = address(inBAR: space.read(offset + 4) & 0xff, space.read(offset + 8))
      switch header >> 24 {
      case 1:
        common = structure
        bar = UInt64(space.read(offset + 4) & 0xff)
      case 2:
        notification = structure
        multiplier = UInt64(space.read(offset + 16))
      case 3: interruptStatus = structure
      case 4: configuration = structure
      case 5: window = offset
      default: break
      }
    case PCIFunctionSpace.CapabilityID.msix:
      msix = offset
      vectors = header >> 16 & 0x7ff + 1
      let place = space.read(offset + 4)
      table = address(inBAR: place & 7, place & ~7)
    case PCIFunctionSpace.CapabilityID.powerManagement: power = offset
    case PCIFunctionSpace.CapabilityID.express: express = offset
    default: break
    }
  }

  private func address(inBAR index: UInt32, _ offset: UInt32) -> UInt64 {
    guard index < 6 else { return 0 }
    return address(ofBAR: Int(index)) + UInt64(offset)
  }

  /// Where a BAR was found, its lower bits left out.
  private func address(ofBAR index: Int) -> UInt64 {
    let isWide = found[index] & 7 == 4 && index < 5
    return UInt64(found[index] & ~15) | (isWide ? UInt64(found[index + 1]) << 32 : 0)
  }

  /// The BAR of the structures, where it was found.
  var barAddress: UInt64 { address(ofBAR: Int(bar)) }

  // MARK: The common structure: §4.1.4.3

  enum Register {
    static var deviceFeatureSelect: UInt64 { 0x00 }
    static var deviceFeature: UInt64 { 0x04 }
    static var driverFeatureSelect: UInt64 { 0x08 }
    static var driverFeature: UInt64 { 0x0c }
    static var configurationVector: UInt64 { 0x10 }
    static var status: UInt64 { 0x14 }
    static var queueSelect: UInt64 { 0x16 }
    static var queueSize: UInt64 { 0x18 }
    static var queueVector: UInt64 { 0x1a }
    static var queueEnable: UInt64 { 0x1c }
    static var queueNotifyOffset: UInt64 { 0x1e }
    static var queueDescriptors: UInt64 { 0x20 }
    static var queueDriver: UInt64 { 0x28 }
    static var queueDevice: UInt64 { 0x30 }
    static var queueReset: UInt64 { 0x3a }
  }

  var status: UInt8 {
    get { load8(common + Register.status) }
    set { store8(common + Register.status, newValue) }
  }

  var deviceFeatures: UInt64 {
    store32(common + Register.deviceFeatureSelect, 1)
    let high = UInt64(load32(common + Register.deviceFeature))
    store32(common + Register.deviceFeatureSelect, 0)
    return high << 32 | UInt64(load32(common + Register.deviceFeature))
  }

  func accept(_ features: UInt64) {
    store32(common + Register.driverFeatureSelect, 0)
    store32(common + Register.driverFeature, UInt32(truncatingIfNeeded: features))
    store32(common + Register.driverFeatureSelect, 1)
    store32(common + Register.driverFeature, UInt32(truncatingIfNeeded: features >> 32))
  }

  func select(queue: UInt32) {
    store16(common + Register.queueSelect, UInt16(truncatingIfNeeded: queue))
  }

  var queueMaximum: UInt32 { UInt32(load16(common + Register.queueSize)) }

  func setQueue(size: UInt32) {
    store16(common + Register.queueSize, UInt16(truncatingIfNeeded: size))
  }

  func setQueue(_ area: QueueArea, at address: UInt64) {
    let register =
      switch area {
      case .descriptors: Register.queueDescriptors
      case .driver: Register.queueDriver
      case .device: Register.queueDevice
      }
    store32(common + register, UInt32(truncatingIfNeeded: address))
    store32(common + register + 4, UInt32(truncatingIfNeeded: address >> 32))
  }

  var isQueueEnabled: Bool {
    get { load16(common + Register.queueEnable) == 1 }
    set { store16(common + Register.queueEnable, newValue ? 1 : 0) }
  }

  func resetQueue() { store16(common + Register.queueReset, 1) }

  func notify(queue: UInt32) {
    store16(notification + UInt64(queue) * multiplier, UInt16(truncatingIfNeeded: queue))
  }

  var registers: UInt64 { common }

  // MARK: Interrupts: §4.1.5.1.2

  /// Writes a message to the table; whether it is masked besides.
  func setMessage(_ vector: UInt32, address: UInt64, data: UInt32, isMasked: Bool = false) {
    let entry = table + 16 * UInt64(vector)
    store32(entry, UInt32(truncatingIfNeeded: address))
    store32(entry + 4, UInt32(truncatingIfNeeded: address >> 32))
    store32(entry + 8, data)
    store32(entry + 12, isMasked ? 1 : 0)
  }

  /// Message Control: PCI 3.0 §6.8.2.3.
  var messageControl: UInt16 {
    get { load16(space.base + msix + 2) }
    set { store16(space.base + msix + 2, newValue) }
  }

  static var messagesEnabled: UInt16 { 1 << 15 }
  static var messagesMasked: UInt16 { 1 << 14 }

  func openInterrupts(queues: Int) {
    setMessage(
      0, address: VirtioInterrupts.messageAddress, data: UInt32(VirtioInterrupts.messageVector))
    messageControl = Self.messagesEnabled
    store16(common + Register.configurationVector, 0)
    for queue in 0..<UInt32(queues) {
      select(queue: queue)
      store16(common + Register.queueVector, 0)
    }
  }

  func acknowledge() {}

  // MARK: Back to order

  /// Puts the registers of the configuration space back to what they were.
  func restore() {
    if power != 0 { store16(space.base + power + 4, 0) }
    space.command = 0
    for index in 0..<6 {
      space.write(PCIFunctionSpace.Register.bar + 4 * UInt64(index), found[index])
    }
    if msix != 0 { messageControl = 0 }
    space.command = PCIFunctionSpace.Command.memory | PCIFunctionSpace.Command.busMaster
  }

  /// A function-level reset (PCI Express 5.0 §6.6.2), if the function knows one.
  func resetFunction() -> Bool {
    guard express != 0, space.read(express + 4) >> 28 & 1 != 0 else { return false }
    store16(space.base + express + 8, load16(space.base + express + 8) | 1 << 15)
    restore()
    return true
  }
}
