/// What the operating system may count on in the fixed hardware.
///
/// - SeeAlso: ACPI 6.4 §5.2.9, table "Fixed ACPI Description Table Fixed Feature Flags".
private struct FixedFeatures: OptionSet {
  let rawValue: UInt32

  /// WBINVD works and keeps memory coherent.
  static let wbinvd = FixedFeatures(rawValue: 1 << 0)
  /// HLT puts any processor into C1.
  static let processorC1 = FixedFeatures(rawValue: 1 << 2)
  /// There is no sleep button among the fixed hardware.
  static let noFixedSleepButton = FixedFeatures(rawValue: 1 << 5)
  /// The clock's alarm is not wired to the fixed hardware.
  static let noFixedRTC = FixedFeatures(rawValue: 1 << 6)
  /// The PM timer counts 32 bits, not 24.
  static let timer32Bits = FixedFeatures(rawValue: 1 << 8)
  static let resetRegister = FixedFeatures(rawValue: 1 << 10)
  /// Better keep time by a platform timer than by processors that may drift apart.
  static let usePlatformClock = FixedFeatures(rawValue: 1 << 15)
}

/// Which parts of the PC/AT the guest may look for.
///
/// - SeeAlso: ACPI 6.4 §5.2.9.3 "IA-PC Boot Architecture Flags".
private struct BootArchitecture: OptionSet {
  let rawValue: UInt16

  static let legacyDevices = BootArchitecture(rawValue: 1 << 0)
  static let has8042 = BootArchitecture(rawValue: 1 << 1)
  static let noVGA = BootArchitecture(rawValue: 1 << 2)
  static let noCMOSClock = BootArchitecture(rawValue: 1 << 5)
}

extension Table {
  /// Where the fixed hardware is, and what it is.
  ///
  /// - SeeAlso: ACPI 6.4 §5.2.9 "Fixed ACPI Description Table (FADT)".
  static func fadt(_ pc: PCDescription, facs: UInt32, dsdt: UInt32) -> Table {
    let power = pc.powerManagement
    let events = power.generalPurposeEvents
    let absent = Field.address(.absent)
    let eventBlock = events.map { GenericAddress.ports($0.port, length: $0.length, .byte) }
    return Table(
      "FACP", revision: 6,
      [
        .dword(facs),  // FIRMWARE_CTRL
        .dword(dsdt),  // DSDT
        .reserved(1),
        .byte(0),  // Preferred_PM_Profile: unspecified
        .word(UInt16(power.interrupt)),  // SCI_INT
        .dword(0),  // SMI_CMD: none, so the hardware is in ACPI mode from the start
        .byte(0),  // ACPI_ENABLE
        .byte(0),  // ACPI_DISABLE
        .byte(0),  // S4BIOS_REQ
        .byte(0),  // PSTATE_CNT
        .dword(UInt32(power.event)),  // PM1a_EVT_BLK
        .dword(0),  // PM1b_EVT_BLK
        .dword(UInt32(power.control)),  // PM1a_CNT_BLK
        .dword(0),  // PM1b_CNT_BLK
        .dword(0),  // PM2_CNT_BLK
        .dword(UInt32(power.timer)),  // PM_TMR_BLK
        .dword(UInt32(events?.port ?? 0)),  // GPE0_BLK
        .dword(0),  // GPE1_BLK
        .byte(4),  // PM1_EVT_LEN
        .byte(2),  // PM1_CNT_LEN
        .byte(0),  // PM2_CNT_LEN
        .byte(4),  // PM_TMR_LEN
        .byte(events?.length ?? 0),  // GPE0_BLK_LEN
        .byte(0),  // GPE1_BLK_LEN
        .byte(0),  // GPE1_BASE
        .byte(0),  // CST_CNT
        .word(0xFFF),  // P_LVL2_LAT: more than 100 says that there is no C2
        .word(0xFFF),  // P_LVL3_LAT: more than 1000 says that there is no C3
        .word(0),  // FLUSH_SIZE
        .word(0),  // FLUSH_STRIDE
        .byte(0),  // DUTY_OFFSET
        .byte(0),  // DUTY_WIDTH
        .byte(0),  // DAY_ALRM
        .byte(0),  // MON_ALRM
        .byte(pc.realTimeClock?.centuryRegister ?? 0),  // CENTURY
        .word(bootArchitecture(pc).rawValue),  // IAPC_BOOT_ARCH
        .reserved(1),
        .dword(fixedFeatures(pc).rawValue),  // Flags
        .address(.ports(power.reset.port, length: 1, .byte)),  // RESET_REG
        .byte(power.reset.value),  // RESET_VALUE
        .word(0),  // ARM_BOOT_ARCH
        .byte(4),  // FADT Minor Version
        .qword(0),  // X_FIRMWARE_CTRL: zero, as FIRMWARE_CTRL is not
        .qword(UInt64(dsdt)),  // X_DSDT
        .address(.ports(power.event, length: 4, .word)),  // X_PM1a_EVT_BLK
        absent,  // X_PM1b_EVT_BLK
        .address(.ports(power.control, length: 2, .word)),  // X_PM1a_CNT_BLK
        absent,  // X_PM1b_CNT_BLK
        absent,  // X_PM2_CNT_BLK
        .address(.ports(power.timer, length: 4, .dword)),  // X_PM_TMR_BLK
        .address(eventBlock ?? .absent),  // X_GPE0_BLK
        absent,  // X_GPE1_BLK
        absent,  // SLEEP_CONTROL_REG
        absent,  // SLEEP_STATUS_REG
        .qword(0),  // Hypervisor Vendor Identity
      ])
  }

  private static func fixedFeatures(_ pc: PCDescription) -> FixedFeatures {
    var features: FixedFeatures = [
      .wbinvd, .processorC1, .noFixedSleepButton, .noFixedRTC, .resetRegister, .usePlatformClock,
    ]
    if pc.powerManagement.timerHas32Bits { features.insert(.timer32Bits) }
    return features
  }

  private static func bootArchitecture(_ pc: PCDescription) -> BootArchitecture {
    var parts: BootArchitecture = .legacyDevices
    if pc.hasKeyboardController { parts.insert(.has8042) }
    if !pc.hasVGA { parts.insert(.noVGA) }
    if pc.realTimeClock == nil { parts.insert(.noCMOSClock) }
    return parts
  }
}

/// What the guest and its firmware would say to each other across a sleep. It is not a table: no
/// common header, no checksum, and it lies on a 64-byte boundary.
///
/// - SeeAlso: ACPI 6.4 §5.2.10 "Firmware ACPI Control Structure (FACS)".
let firmwareControlStructure: [UInt8] = [
  Field.text("FACS", width: 4),
  .dword(64),  // Length
  .dword(0),  // Hardware Signature
  .dword(0),  // Firmware Waking Vector
  .dword(0),  // Global Lock
  .dword(0),  // Flags
  .qword(0),  // X Firmware Waking Vector
  .byte(2),  // Version
  .reserved(3),
  .dword(0),  // OSPM Flags
  .reserved(24),
].encoded
