package import LinuxBoot
package import Memory

/// Where everything lies in a PC's physical address space. The map follows from the amounts of RAM and of
/// persistent memory, the size of the ROM and the processor's address bits alone, so that the same machine
/// always has the same map.
///
///     0000_0000  RAM, 640 KiB
///     000e_0000  ROM, 128 KiB: tables for the guest, or the end of the firmware
///     0010_0000  RAM, as far as it goes; its last 64 KiB hold the ACPI tables
///     b000_0000  PCI configuration space (ECAM), 256 MiB
///     c000_0000  PCI memory
///     fec0_0000  I/O APIC, HPET (fed0_0000), virtio (fed1_0000), local APICs (fee0_0000)
///     ff00_0000  ROM, up to 16 MiB, ends at 4 GiB
///   1_0000_0000  the rest of the RAM
///                persistent memory, each from the next multiple of 1 GiB on
///                PCI memory, 64-bit: from the next multiple of 64 GiB to 512 GiB; if fewer than 128 GiB
///                are left there, to the end of what the processor can address
package struct PCAddressMap: Sendable, Equatable {
  package let memory: UInt64
  /// The bytes of firmware below 4 GiB; zero without firmware.
  package let romSize: UInt64
  /// The bits of the physical addresses that the processor announces.
  package let addressBits: UInt32
  /// In the order of the devices.
  package let persistent: [PersistentMemory]

  /// Memory that shows a file.
  package struct PersistentMemory: Sendable, Equatable {
    package let size: UInt64
    package let isReadOnly: Bool

    package init(size: UInt64, isReadOnly: Bool = false) {
      self.size = size
      self.isReadOnly = isReadOnly
    }
  }

  /// - Parameters:
  ///   - memory: a multiple of the page size, from `minimumMemory` to `maximumMemory`.
  ///   - addressBits: 40 or more.
  ///   - persistent: all of it below `persistentMemoryLimit`.
  package init(
    memory: UInt64, romSize: UInt64 = 0, addressBits: UInt32 = 40,
    persistent: [PersistentMemory] = []
  ) {
    self.memory = memory
    self.persistent = persistent
    self.romSize = romSize
    self.addressBits = addressBits
  }

  package static let baseMemoryEnd: UInt64 = 0xa_0000
  package static let lowROM: Range<UInt64> = 0xe_0000..<0x10_0000
  package static let extendedMemory: UInt64 = 0x10_0000
  package static let lowMemoryLimit: UInt64 = 0xb000_0000
  package static let pciConfiguration: Range<UInt64> = 0xb000_0000..<0xc000_0000
  package static let pciMemory: ClosedRange<UInt32> = 0xc000_0000...0xfebf_ffff
  package static let ioAPIC: Range<UInt64> = 0xfec0_0000..<0xfec0_1000
  package static let hpet: Range<UInt64> = 0xfed0_0000..<0xfed0_0400
  /// Registers of virtio devices that are not on PCI: a page each.
  package static func virtioWindow(_ index: Int) -> Range<UInt64> {
    let start = 0xfed1_0000 + UInt64(index) * 0x1000
    return start..<start + 0x200
  }
  package static let localAPIC: Range<UInt64> = 0xfee0_0000..<0xfee0_1000
  package static let fourGiB: UInt64 = 0x1_0000_0000
  /// The ports that PCI devices are given; those below are the ISA bus' and the board's.
  package static let pciPorts: Range<UInt64> = 0x1000..<0x1_0000

  /// What the guest is told about the extended BIOS data area, which no BIOS of ours uses.
  private static let extendedDataArea: Range<UInt64> = 0x9_fc00..<0xa_0000
  private static let acpiTableSize: UInt64 = 0x1_0000

  package static let minimumMemory: UInt64 = 8 << 20
  package static let maximumMemory: UInt64 = (512 - 1) << 30

  /// RAM below 4 GiB: up to here.
  package var lowMemoryEnd: UInt64 { min(memory, Self.lowMemoryLimit) }

  /// RAM above 4 GiB; empty if it all fits below.
  package var highMemory: Range<UInt64> {
    Self.fourGiB..<Self.fourGiB + (memory - lowMemoryEnd)
  }

  /// Persistent memory ends here at the latest: there are 128 GiB or more for PCI above it.
  package static let persistentMemoryLimit: UInt64 = 512 << 30
  /// Large pages of the guest's fit in, and whatever unit it counts memory in.
  private static let persistentMemoryAlignment: UInt64 = 1 << 30

  /// Persistent memory, in order; not in the guest's map of RAM.
  package var persistentMemory: [Range<UInt64>] {
    var end = highMemory.upperBound
    return persistent.map { memory in
      let start = Self.align(end, Self.persistentMemoryAlignment)
      end = start + memory.size
      return start..<end
    }
  }

  private static func align(_ address: UInt64, _ alignment: UInt64) -> UInt64 {
    (address + alignment - 1) / alignment * alignment
  }

  /// PCI memory of 64 bits, above all other.
  ///
  /// Many hosts have 39 address bits, whatever the guest's processor announces, and an access beyond them
  /// never arrives. So the window ends there, if enough is left below. Devices fill it from its start.
  package var pciHighMemory: Range<UInt64> {
    let granularity: UInt64 = 64 << 30, enough: UInt64 = 128 << 30, common: UInt64 = 1 << 39
    let start = Self.align(
      persistentMemory.last?.upperBound ?? highMemory.upperBound, granularity)
    return start..<(start + enough <= common ? common : 1 << UInt64(addressBits))
  }

  /// Where the ACPI tables are put.
  package var acpiTables: Range<UInt64> { lowMemoryEnd - Self.acpiTableSize..<lowMemoryEnd }

  /// Where the tables are put that guests look for: MP 1.4 §4, SMBIOS 3.3 §5.2, ACPI 6.5 §5.2.5.1.
  package static let rootPointer: UInt64 = 0xe_0000
  package static let smbios: Range<UInt64> = 0xf_0000..<0xf_8000
  package static let multiProcessor: Range<UInt64> = 0xf_8000..<0x10_0000

  /// The regions of guest memory.
  package var regions: [GuestMemory.Region] {
    var regions = [
      region(0..<Self.baseMemoryEnd), region(Self.lowROM, .rom),
      region(Self.extendedMemory..<lowMemoryEnd),
    ]
    if romSize > 0 { regions.append(region(Self.fourGiB - romSize..<Self.fourGiB, .rom)) }
    if !highMemory.isEmpty { regions.append(region(highMemory)) }
    for (range, memory) in zip(persistentMemory, persistent) {
      regions.append(region(range, memory.isReadOnly ? .rom : .ram))
    }
    return regions
  }

  /// The memory map that the guest is handed.
  package var memoryMap: [MemoryRange] {
    var map = [
      range(0..<Self.extendedDataArea.lowerBound, .usable),
      range(Self.extendedDataArea, .reserved),
      range(Self.lowROM, .reserved),
      range(Self.extendedMemory..<acpiTables.lowerBound, .usable),
      range(acpiTables, .reserved),
      range(Self.pciConfiguration, .reserved),
    ]
    if !highMemory.isEmpty { map.append(range(highMemory, .usable)) }
    return map
  }

  private func region(
    _ range: Range<UInt64>, _ kind: GuestMemory.Region.Kind = .ram
  ) -> GuestMemory.Region {
    GuestMemory.Region(
      start: GPA(range.lowerBound), count: range.upperBound - range.lowerBound, kind: kind)
  }

  private func range(_ range: Range<UInt64>, _ kind: MemoryRange.Kind) -> MemoryRange {
    MemoryRange(start: range.lowerBound, size: range.upperBound - range.lowerBound, kind: kind)
  }
}
