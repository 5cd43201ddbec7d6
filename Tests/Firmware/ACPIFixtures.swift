import ACPI

/// The machines that the tables are tried on.
enum SampleMachine: CaseIterable {
  case complete, sparse, crowded

  var description: PCDescription {
    switch self {
    case .complete: .complete()
    case .sparse: .sparse
    case .crowded: .complete(processors: Array(0..<300))
    }
  }
}

extension PCDescription {
  /// A PC with one of everything.
  static func complete(processors: [UInt32] = [0, 1]) -> PCDescription {
    PCDescription(
      processors: processors,
      ioAPICs: [IOAPIC(id: 0)],
      pci: PCIHost(
        configurationBase: 0xB000_0000, memoryWindow: 0xC000_0000...0xFEBF_FFFF,
        highMemoryWindow: 0x10_0000_0000...0x17_FFFF_FFFF),
      powerManagement: PowerManagement(
        event: 0x600, control: 0x604, timer: 0x608,
        generalPurposeEvents: PortBlock(port: 0x620, length: 16), softOff: 5),
      hpet: HPET(blockID: 0x8086_A201), serialPorts: SerialPort.customary, hasVGA: true,
      virtioDevices: [.init(address: 0xfed1_0000, length: 0x200, interrupt: 20)])
  }

  /// A PC with as little as there can be.
  static var sparse: PCDescription {
    PCDescription(
      processors: [0], ioAPICs: [IOAPIC(id: 1)], interruptOverrides: [],
      pci: PCIHost(
        configurationBase: 0xE000_0000, buses: 0...15, memoryWindow: 0xE100_0000...0xFEBF_FFFF,
        highMemoryWindow: nil),
      powerManagement: PowerManagement(
        event: 0x600, control: 0x604, timer: 0x608, timerHas32Bits: false),
      realTimeClock: nil, hasKeyboardController: false)
  }

  var tables: ACPITables { ACPITables(describing: self, at: 0xBFFE_0000, rootPointerAt: 0xE_0000) }
}

extension ACPITables {
  func bytes(of signature: String) -> [UInt8] {
    tables.first { $0.signature == signature }?.bytes ?? []
  }
}

extension Collection<UInt8> {
  var sum: UInt8 { reduce(0, &+) }
}
