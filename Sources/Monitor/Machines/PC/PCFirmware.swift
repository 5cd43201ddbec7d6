import ACPI
package import ArchitectureX86
import Chipset
package import Memory
import SMBIOS

/// What a PC's firmware leaves in memory for the guest to find.
package struct PCFirmware: Sendable {
  package struct Table: Sendable {
    package let address: GPA
    package let bytes: [UInt8]
  }

  package let tables: [Table]

  /// Describes the machine of `map` with its processors.
  ///
  /// - Parameter windows: how many virtio devices are not on PCI.
  package init(_ map: PCAddressMap, processors: Int, model: X86.CPUModel, windows: Int = 0) {
    let pc = Self.describe(map, processors: processors, windows: windows)
    let acpi = ACPITables(
      describing: pc, at: UInt32(map.acpiTables.lowerBound),
      rootPointerAt: UInt32(PCAddressMap.rootPointer))
    precondition(
      UInt64(acpi.length) <= map.acpiTables.upperBound - map.acpiTables.lowerBound,
      "the ACPI tables outgrew their area")
    let identity = model.leaf(1, 0) ?? X86.CPUIDLeaf()
    let multiProcessor = MPTable(
      describing: pc, processor: .init(signature: identity.eax, features: identity.edx),
      at: UInt32(PCAddressMap.multiProcessor.lowerBound))
    let smbios = SMBIOSTables(
      describing: SystemInformation(
        processor: .init(
          manufacturer: model.vendor, version: model.brand, signature: identity.eax,
          features: identity.edx, cores: processors),
        memory: Self.installedMemory(map)),
      at: UInt32(PCAddressMap.smbios.lowerBound))
    tables =
      ([acpi.rootPointer] + acpi.tables).map {
        Table(address: GPA(UInt64($0.address)), bytes: $0.bytes)
      }
      + [
        Table(address: GPA(PCAddressMap.smbios.lowerBound), bytes: smbios.bytes),
        Table(address: GPA(PCAddressMap.multiProcessor.lowerBound), bytes: multiProcessor.bytes),
      ]
    precondition(
      UInt64(smbios.bytes.count) <= 0x8000 && UInt64(multiProcessor.bytes.count) <= 0x8000,
      "a table outgrew its area")
  }

  private static func describe(
    _ map: PCAddressMap, processors: Int, windows: Int
  ) -> PCDescription {
    PCDescription(
      processors: (0..<processors).map(UInt32.init),
      localAPICAddress: UInt32(PCAddressMap.localAPIC.lowerBound),
      ioAPICs: [
        .init(
          id: PC.ioAPICID(processors: processors), address: UInt32(PCAddressMap.ioAPIC.lowerBound))
      ],
      pci: .init(
        configurationBase: UInt32(PCAddressMap.pciConfiguration.lowerBound),
        memoryWindow: PCAddressMap.pciMemory,
        highMemoryWindow: map.pciHighMemory.lowerBound...map.pciHighMemory.upperBound - 1),
      powerManagement: .init(
        event: PC.Port.powerManagementEvent, control: PC.Port.powerManagementControl,
        timer: PC.Port.powerManagementTimer,
        generalPurposeEvents: .init(port: PC.Port.generalPurposeEvents, length: 4)),
      hpet: .init(address: UInt32(PCAddressMap.hpet.lowerBound), blockID: HPET.blockID),
      serialPorts: PCDescription.SerialPort.customary,
      virtioDevices: (0..<windows).map { index in
        let window = PCAddressMap.virtioWindow(index)
        let routing = PCDescription.PCIRouting()
        return .init(
          address: UInt32(window.lowerBound), length: UInt32(window.count),
          interrupt: routing.firstInterrupt + UInt32(index) % routing.count)
      })
  }

  private static func installedMemory(_ map: PCAddressMap) -> [SystemInformation.MemoryRange] {
    var ranges = [SystemInformation.MemoryRange(address: 0, size: map.lowMemoryEnd)]
    if !map.highMemory.isEmpty {
      ranges.append(
        .init(
          address: map.highMemory.lowerBound,
          size: map.highMemory.upperBound - map.highMemory.lowerBound))
    }
    return ranges
  }
}
