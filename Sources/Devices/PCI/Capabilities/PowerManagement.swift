/// The power states of a function: D0, in which it works, and D3hot, in which only its configuration
/// space answers. Registers keep what they hold in D3hot.
///
/// - SeeAlso: PCI Bus Power Management Interface 1.2 §3.2 "PCI Power Management Register Block"; PCIe 6.0
///   §7.5.2.
enum PowerManagement {
  static let id: UInt8 = 0x01
  /// The doubleword of Power Management Control/Status.
  static let controlIndex = 1
  static let powerState: UInt32 = 0b11

  static var capability: PCICapability {
    let version: UInt32 = 3 << 16, noSoftReset: UInt32 = 1 << 3
    return PCICapability(id: id, registers: [version, noSoftReset], writable: [0, powerState])
  }

  /// A state that there is not is not entered: §3.2.4.
  static func accepts(_ control: UInt32) -> Bool { [0, 3].contains(control & powerState) }
}
