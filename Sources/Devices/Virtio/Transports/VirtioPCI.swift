import Board
package import Inspection
package import Memory
package import PCI
package import SavedState
package import Work

/// A virtio device as a PCI function: its structures and its MSI-X table in one BAR, found by capabilities.
///
/// A transitional device has the legacy interface besides, in a BAR of ports: for drivers from before VIRTIO 1.0.
///
/// - SeeAlso: VIRTIO 1.3 §4.1 "Virtio Over PCI Bus".
package final class VirtioPCI {
  // Wiring: fixed for the life of the device.
  package let function: VirtioFunction
  /// What is plugged into a bus.
  package let configuration: ConfigurationSpace
  private let interrupts: FunctionInterrupts
  private let structureBAR: UInt8

  /// - Parameters:
  ///   - express: makes it a function of PCI Express.
  ///   - isTransitional: offers the legacy interface as well; only kinds that had one.
  ///   - rings: what it offers for its queues.
  package init(
    _ device: any VirtioDevice, memory: GuestMemory, translation: (any DMATranslation)? = nil,
    express: PCIExpress? = nil, isTransitional: Bool = false, loop: any Loop,
    offering rings: VirtioFeatures = .rings
  ) {
    let profile = device.profile
    precondition(
      profile.configurationSize <= 4096 && profile.queueSizes.count <= Self.mostQueues,
      "a device whose configuration or queues do not fit their structures")
    let gate = Gate()
    let interrupts = FunctionInterrupts(vectors: min(profile.queueSizes.count + 1, 2048))
    let offered = translation == nil ? rings : rings.union(.accessPlatform)
    let function = VirtioFunction(
      device, offering: offered, dma: DMA(memory, gate: gate, translation: translation),
      loop: loop, interrupts: interrupts, takesLegacy: isTransitional)
    let structures = PCIStructures(function, vectors: interrupts.msix.vectors)
    let legacy = isTransitional ? [PCILegacyInterface.bar(for: function, interrupts.msix)] : []
    structureBAR = UInt8(legacy.count)
    let bar = Self.bar(structures, profile, interrupts.msix)
    configuration = ConfigurationSpace(
      Self.identity(profile.deviceID, isTransitional: isTransitional), bars: legacy + [bar],
      capabilities: Self.capabilities(bar: structureBAR, structures, profile),
      msix: interrupts.msix, express: express, interruptPin: .a, busMaster: gate)
    self.function = function
    self.interrupts = interrupts
    interrupts.connect(to: configuration)
    configuration.attach(self)
  }

  // Neither keeps the other for ever.
  deinit { interrupts.connect(to: nil) }
}

extension VirtioPCI: FunctionReset {
  package func functionReset() { function.reset() }
}

// MARK: - What the machine sees

extension VirtioPCI: Component {
  package static let schema = "virtio-pci/1"

  package struct Saved: Codable, Sendable {
    var configuration: ConfigurationSpace.Saved
    var function: VirtioFunctionState
  }

  package func start() { function.start() }
  package func stop(_ rest: Barrier) { function.stop(rest) }

  package func reset() {
    configuration.reset()
    function.reset()
  }

  package func save() throws(SaveError) -> Saved {
    Saved(configuration: configuration.save(), function: try function.save())
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let before = configuration.save()
    try configuration.restore(saved.configuration)
    do {
      try function.restore(saved.function)
    } catch {
      try configuration.restore(before)
      throw error
    }
  }

  package func inspect(_ node: inout Node) {
    function.inspect(&node)
    node.child("pci") { configuration.inspect(&$0) }
  }
}

// MARK: - What the function is made of

extension VirtioPCI {
  /// The structures, each in a page of its own: VIRTIO 1.3 §4.1.4.
  enum Structure: UInt8, CaseIterable {
    // By their `cfg_type`.
    case common = 1
    case notification = 2
    case interruptStatus = 3
    case configuration = 4

    var offset: UInt64 { UInt64(rawValue - 1) * 0x1000 }

    /// Bytes that answer, at most a page; none: the device has no such structure.
    func length(for profile: VirtioProfile) -> UInt64 {
      switch self {
      case .common: PCIStructures.commonLength
      case .notification: UInt64(profile.queueSizes.count) * notifyMultiplier
      case .interruptStatus: 1
      case .configuration: UInt64(profile.configurationSize)
      }
    }
  }

  static let notifyMultiplier: UInt64 = 4
  private static let mostQueues = 1024
  private static let tableOffset: UInt64 = 0x4000

  private static func bar(
    _ structures: PCIStructures, _ profile: VirtioProfile, _ msix: MSIX
  ) -> BAR {
    var blocks: [BAR.Block] = []
    for structure in Structure.allCases where structure.length(for: profile) > 0 {
      let range = structure.offset..<structure.offset + structure.length(for: profile)
      blocks.append(BAR.Block(at: range, device: structures, region: structure.rawValue))
    }
    blocks.append(msix.block(at: tableOffset))
    var size = tableOffset
    while size < tableOffset + msix.size { size *= 2 }
    return BAR(.memory64(prefetchable: true), size: size, blocks: blocks)
  }

  /// §4.1.4 "Virtio Structure PCI Capabilities".
  private static func capabilities(
    bar: UInt8, _ structures: PCIStructures, _ profile: VirtioProfile
  ) -> [PCICapability] {
    var capabilities: [PCICapability] = []
    for structure in Structure.allCases where structure.length(for: profile) > 0 {
      let length = structure.length(for: profile)
      var registers: [UInt32] = [
        16 << 16 | UInt32(structure.rawValue) << 24, UInt32(bar), UInt32(structure.offset),
        UInt32(length),
      ]
      if structure == .notification {
        registers[0] += 4 << 16
        registers.append(UInt32(notifyMultiplier))
      }
      capabilities.append(PCICapability(id: 0x09, registers: registers))
    }
    capabilities.append(PCIConfigurationAccess.capability(to: structures, bar: bar))
    return capabilities
  }

  /// §4.1.2 "PCI Device Discovery".
  private static func identity(_ id: VirtioDeviceID, isTransitional: Bool) -> PCIIdentity {
    let transitional: [VirtioDeviceID: UInt16] = [
      .network: 0x1000, .block: 0x1001, .balloon: 0x1002, .console: 0x1003, .entropy: 0x1005,
      .nineP: 0x1009,
    ]
    let classes: [VirtioDeviceID: UInt32] = [
      .network: 0x02_0000, .block: 0x01_0000, .console: 0x07_8000, .socket: 0x07_8000,
      .fileSystem: 0x01_8000, .nineP: 0x01_8000, .persistentMemory: 0x05_8000,
    ]
    let code = PCIIdentity.ClassCode(rawValue: classes[id] ?? 0x00_ff00)
    guard isTransitional else {
      return PCIIdentity(
        vendor: 0x1af4, device: 0x1040 + id.rawValue, revision: 1, classCode: code,
        subsystemVendor: 0x1af4, subsystem: 0x1100)
    }
    guard let device = transitional[id] else {
      preconditionFailure("a kind of virtio device that never had a legacy interface")
    }
    return PCIIdentity(
      vendor: 0x1af4, device: device, revision: 0, classCode: code, subsystemVendor: 0x1af4,
      subsystem: id.rawValue)
  }
}
