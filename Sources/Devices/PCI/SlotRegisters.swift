/// The slot of a port, as its Slot Capabilities, Slot Control and Slot Status registers have it.
///
/// - SeeAlso: PCIe 6.0 §7.5.3.9 "Slot Capabilities Register" to §7.5.3.11 "Slot Status Register", §6.7
///   "PCI Express Hot-Plug Support".
struct SlotRegisters: Sendable, Equatable {
  /// Slot Control in the low half, Slot Status in the high.
  var value: UInt32

  /// Attention button, power controller, attention and power indicators, surprise, hot-plug; 25 watts.
  static let hotPlugCapabilities: UInt32 = 0b111_1011 | 25 << 7
  static let noCommandCompleted: UInt32 = 1 << 18
  /// Slot Control: the enables, the indicators, the power controller.
  static let writable: UInt32 = 0x17ff

  static let attentionButtonPressed: UInt32 = 1 << 16
  static let presenceChanged: UInt32 = 1 << 19
  static let commandCompleted: UInt32 = 1 << 20
  static let presence: UInt32 = 1 << 22
  static let linkChanged: UInt32 = 1 << 24
  /// Those that the guest clears by writing a one. Nothing here has power faults or a latch.
  static let events = attentionButtonPressed | presenceChanged | commandCompleted | linkChanged

  private static let powerIsOff: UInt32 = 1 << 10
  private static let powerIndicator: UInt32 = 0b11 << 8
  private static let attentionIndicator: UInt32 = 0b11 << 6

  var isOn: Bool { value & Self.powerIsOff == 0 }
  var isPresent: Bool { value & Self.presence != 0 }

  /// After reset: an occupied slot has power, and its indicator shows it; attention is off.
  static func initial(isPresent: Bool, isHotPluggable: Bool) -> SlotRegisters {
    let on: UInt32 = 0b01 << 8, off: UInt32 = 0b11 << 8, attentionOff: UInt32 = 0b11 << 6
    guard isHotPluggable else { return SlotRegisters(value: isPresent ? presence : 0) }
    return SlotRegisters(
      value: attentionOff | (isPresent ? on | presence : off | powerIsOff))
  }

  /// Whether an event is there that the guest wants to be interrupted for: §6.7.3.4.
  var isInterrupting: Bool {
    let hotPlugInterruptEnable: UInt32 = 1 << 5
    guard value & hotPlugInterruptEnable != 0 else { return false }
    // Enables lie where their events do in the other half, but for that of the link.
    let sameBits = value & (value >> 16) & 0b1_1001
    let link = value & Self.linkChanged != 0 && value & 1 << 12 != 0
    return sameBits != 0 || link
  }

  /// Raises events; more of the same tell nothing new.
  mutating func raise(_ events: UInt32) { value |= events & Self.events }

  mutating func setPresent(_ present: Bool) {
    value = value & ~Self.presence | (present ? Self.presence : 0)
  }
}
