extension SystemInformation {
  /// The structures of the table, in the order of their types as is customary.
  ///
  /// - SeeAlso: SMBIOS 3.3 §7 "Structure definitions"; sections below are of that document.
  var structures: [Structure] {
    var structures = [
      firmwareStructure, systemStructure, chassisStructure, processorStructure,
      memoryArrayStructure, memoryDeviceStructure,
    ]
    for (index, range) in memory.prefix(255).enumerated() {
      structures.append(mappedAddressStructure(range, number: UInt8(index)))
    }
    structures += [bootStructure, endOfTable]
    return structures
  }
}

// MARK: - Maker and name
extension SystemInformation {
  /// §7.1 "BIOS Information (Type 0)".
  private var firmwareStructure: Structure {
    let characteristicsNotSupported: UInt64 = 1 << 3
    let supportsACPI: UInt8 = 1 << 0
    let isVirtualMachine: UInt8 = 1 << 4
    return Structure(
      type: 0,
      [
        .string(firmware.vendor),
        .string(firmware.version),
        .word(0xE800),  // BIOS Starting Address Segment
        .string(firmware.releaseDate),
        .byte(0),  // BIOS ROM Size: 64 KiB
        .qword(characteristicsNotSupported),
        .byte(supportsACPI),
        .byte(isVirtualMachine),
        .byte(0xFF),  // BIOS major release: none
        .byte(0xFF),  // minor
        .byte(0xFF),  // Embedded controller firmware major release: none
        .byte(0xFF),  // minor
        .word(0),  // Extended BIOS ROM Size: not used
      ])
  }

  /// §7.2 "System Information (Type 1)".
  private var systemStructure: Structure {
    let powerSwitch: UInt8 = 6
    return Structure(
      type: 1,
      [
        .string(system.manufacturer),
        .string(system.product),
        .string(system.version),
        .string(system.serialNumber),
        .uuid(system.uuid),
        .byte(powerSwitch),  // Wake-up Type
        .string(system.sku),
        .string(system.family),
      ])
  }

  /// §7.4 "System Enclosure or Chassis (Type 3)".
  private var chassisStructure: Structure {
    let other: UInt8 = 1, unknown: UInt8 = 2, safe: UInt8 = 3
    return Structure(
      type: 3,
      [
        .string(chassis.manufacturer),
        .byte(other),  // Type
        .string(""),  // Version
        .string(chassis.serialNumber),
        .string(chassis.assetTag),
        .byte(safe),  // Boot-up State
        .byte(safe),  // Power Supply State
        .byte(safe),  // Thermal State
        .byte(unknown),  // Security Status
        .dword(0),  // OEM-defined
        .byte(0),  // Height: unspecified
        .byte(0),  // Number of Power Cords: unspecified
        .byte(0),  // Contained Element Count
        .byte(0),  // Contained Element Record Length
        .string(""),  // SKU Number
      ])
  }
}

// MARK: - Processor
extension SystemInformation {
  /// §7.5 "Processor Information (Type 4)".
  private var processorStructure: Structure {
    let other: UInt8 = 1, central: UInt8 = 3
    let populatedAndEnabled: UInt8 = 0x41
    let cores = processor.cores
    let threads = cores * processor.threadsPerCore
    return Structure(
      type: 4,
      [
        .string("CPU 0"),  // Socket Designation
        .byte(central),  // Processor Type
        .byte(other),  // Processor Family
        .string(processor.manufacturer),
        .dword(processor.signature),  // Processor ID
        .dword(processor.features),
        .string(processor.version),
        .byte(0),  // Voltage: unknown
        .word(0),  // External Clock: unknown
        .word(processor.speed),  // Max Speed
        .word(processor.speed),  // Current Speed
        .byte(populatedAndEnabled),
        .byte(other),  // Processor Upgrade
        .handle(.notProvided),  // L1 Cache
        .handle(.notProvided),  // L2 Cache
        .handle(.notProvided),  // L3 Cache
        .string(""),  // Serial Number
        .string(""),  // Asset Tag
        .string(""),  // Part Number
        .byte(Self.byteCount(cores)),  // Core Count
        .byte(Self.byteCount(cores)),  // Core Enabled
        .byte(Self.byteCount(threads)),  // Thread Count
        .word(processorCharacteristics),
        .word(UInt16(other)),  // Processor Family 2
        .word(UInt16(clamping: cores)),  // Core Count 2
        .word(UInt16(clamping: cores)),  // Core Enabled 2
        .word(UInt16(clamping: threads)),  // Thread Count 2
      ])
  }

  /// §7.5.9 "Processor Characteristics".
  private var processorCharacteristics: UInt16 {
    let is64Bit: UInt16 = 1 << 2, isMultiCore: UInt16 = 1 << 3, hasThreads: UInt16 = 1 << 4
    return is64Bit | (processor.cores > 1 ? isMultiCore : 0)
      | (processor.threadsPerCore > 1 ? hasThreads : 0)
  }

  /// §7.5.6: FFh refers to the word-sized count.
  private static func byteCount(_ count: Int) -> UInt8 { UInt8(clamping: count) }
}

// MARK: - Memory
extension SystemInformation {
  /// Sums and sizes stop at the largest number rather than wrap.
  private var memorySize: UInt64 {
    memory.reduce(0) { sum, range in
      let (total, overflow) = sum.addingReportingOverflow(range.size)
      return overflow ? .max : total
    }
  }

  /// §7.17 "Physical Memory Array (Type 16)".
  private var memoryArrayStructure: Structure {
    let systemBoard: UInt8 = 3, systemMemory: UInt8 = 3, noCorrection: UInt8 = 3
    let kibibytes = memorySize >> 10
    let extended: UInt32 = 0x8000_0000
    let fits = kibibytes < UInt64(extended)
    return Structure(
      type: 16,
      [
        .byte(systemBoard),  // Location
        .byte(systemMemory),  // Use
        .byte(noCorrection),  // Memory Error Correction
        .dword(fits ? UInt32(kibibytes) : extended),  // Maximum Capacity
        .handle(.noErrorInformation),
        .word(1),  // Number of Memory Devices
        .qword(fits ? 0 : memorySize),  // Extended Maximum Capacity
      ])
  }

  /// §7.18 "Memory Device (Type 17)": all RAM as one module.
  private var memoryDeviceStructure: Structure {
    let dimm: UInt8 = 9, ram: UInt8 = 7, other: UInt16 = 1 << 1
    let dram: UInt8 = 3, volatileMemory: UInt16 = 1 << 3
    let (size, extendedSize) = memoryDeviceSize
    return Structure(
      type: 17,
      [
        .handle(.structure(16)),  // Physical Memory Array
        .handle(.noErrorInformation),
        .word(0xFFFF),  // Total Width: unknown
        .word(0xFFFF),  // Data Width: unknown
        .word(size),
        .byte(dimm),  // Form Factor
        .byte(0),  // Device Set: none
        .string("DIMM 0"),  // Device Locator
        .string(""),  // Bank Locator
        .byte(ram),  // Memory Type
        .word(other),  // Type Detail
        .word(0),  // Speed: unknown
        .string(system.manufacturer),
        .string(""),  // Serial Number
        .string(""),  // Asset Tag
        .string(""),  // Part Number
        .byte(0),  // Attributes: rank unknown
        .dword(extendedSize),
        .word(0),  // Configured Memory Speed: unknown
        .word(0),  // Minimum Voltage: unknown
        .word(0),  // Maximum Voltage: unknown
        .word(0),  // Configured Voltage: unknown
        .byte(dram),  // Memory Technology
        .word(volatileMemory),  // Memory Operating Mode Capability
        .string(""),  // Firmware Version
        .word(0),  // Module Manufacturer ID: unknown
        .word(0),  // Module Product ID: unknown
        .word(0),  // Memory Subsystem Controller Manufacturer ID: unknown
        .word(0),  // Memory Subsystem Controller Product ID: unknown
        .qword(0),  // Non-volatile Size: none
        .qword(memorySize),  // Volatile Size
        .qword(0),  // Cache Size: none
        .qword(0),  // Logical Size: none
        .dword(0),  // Extended Speed: not used
        .dword(0),  // Extended Configured Memory Speed: not used
      ])
  }

  /// §7.18, Size and Extended Size: in mebibytes if whole, else in kibibytes; from 32 GiB less one
  /// mebibyte on in the field made for that.
  private var memoryDeviceSize: (size: UInt16, extended: UInt32) {
    let kibibytes = memorySize >> 10, mebibytes = memorySize >> 20
    let inKibibytes: UInt16 = 0x8000, seeExtended: UInt16 = 0x7FFF
    if mebibytes << 10 != kibibytes, kibibytes < UInt64(inKibibytes) {
      return (inKibibytes | UInt16(kibibytes), 0)
    }
    guard mebibytes < UInt64(seeExtended) else {
      return (seeExtended, UInt32(clamping: mebibytes) & 0x7FFF_FFFF)
    }
    return (UInt16(mebibytes), 0)
  }

  /// §7.20 "Memory Array Mapped Address (Type 19)".
  private func mappedAddressStructure(_ range: MemoryRange, number: UInt8) -> Structure {
    let (end, overflow) = range.address.addingReportingOverflow(range.size)
    let first = range.address
    let last = overflow ? UInt64.max : max(end, 1) - 1
    let extended: UInt32 = 0xFFFF_FFFF
    let fits = last >> 10 < UInt64(extended)
    return Structure(
      type: 19, number: number,
      [
        .dword(fits ? UInt32(first >> 10) : extended),  // Starting Address, in kibibytes
        .dword(fits ? UInt32(last >> 10) : extended),  // Ending Address
        .handle(.structure(16)),  // Memory Array
        .byte(1),  // Partition Width: devices a row
        .qword(fits ? 0 : first),  // Extended Starting Address
        .qword(fits ? 0 : last),  // Extended Ending Address
      ])
  }
}

// MARK: - The end
extension SystemInformation {
  /// §7.33 "System Boot Information (Type 32)".
  private var bootStructure: Structure {
    let noErrors: UInt8 = 0
    let reserved: [Structure.Field] = [.dword(0), .word(0)]
    return Structure(type: 32, reserved + [.byte(noErrors)])
  }

  /// §7.47 "End-of-Table (Type 127)".
  private var endOfTable: Structure { Structure(type: 127) }
}
