/// The PCI Express capability: what kind of function it is, its link, its slot.
///
/// All links are alike: 5 GT/s, 16 lanes, trained, without power states. That is the fastest which needs
/// no further capability to describe its training.
///
/// - SeeAlso: PCIe 6.0 §7.5.3 "PCI Express Capability Structure".
package struct PCIExpress: Sendable, Equatable {
  /// Device/Port Type: §7.5.3.2.
  package enum Kind: UInt32, Sendable {
    /// On bus 0 it says that it is integrated in the root complex, and has no link.
    case endpoint = 0
    case rootPort = 4
    case switchUpstream = 5
    case switchDownstream = 6

    var hasSlot: Bool { self == .rootPort || self == .switchDownstream }
    var isPort: Bool { self != .endpoint }
  }

  package let kind: Kind
  /// The slot below a root port or downstream port.
  let slot: Slot?
  /// Tells the ports of one root complex or switch apart.
  let port: UInt8

  /// A slot, by its number in the chassis; and whether its function may come and go.
  package struct Slot: Sendable, Equatable {
    package let number: UInt16
    package let isHotPluggable: Bool

    package init(_ number: UInt16, isHotPluggable: Bool = true) {
      self.number = number & 0x1fff
      self.isHotPluggable = isHotPluggable
    }
  }

  package static let endpoint = PCIExpress(.endpoint)

  init(_ kind: Kind, slot: Slot? = nil, port: UInt8 = 0) {
    self.kind = kind
    self.slot = slot
    self.port = port
  }
}

// MARK: - Registers

extension PCIExpress {
  static let id: UInt8 = 0x10

  /// Doublewords of the structure.
  enum Register {
    static let capabilities = 0
    static let deviceCapabilities = 1
    static let device = 2
    static let linkCapabilities = 3
    static let link = 4
    static let slotCapabilities = 5
    static let slot = 6
    static let root = 7
    static let deviceCapabilities2 = 9
    static let device2 = 10
    static let linkCapabilities2 = 11
    static let link2 = 12
    static let count = 15
  }

  /// §7.5.3.4: Initiate Function Level Reset.
  static let initiateReset: UInt32 = 1 << 15
  /// What a function-level reset leaves as it is in Device Control and Link Control: §6.6.2.
  static let maximumPayload: UInt32 = 0b111 << 5
  static let linkControl: UInt32 = 0xffff
  /// §7.5.3.8: Data Link Layer Link Active.
  static let linkActive: UInt32 = 1 << 29

  private static let integratedEndpoint: UInt32 = 9
  private static let speed: UInt32 = 2
  private static let width: UInt32 = 16 << 4
  private static let slotClock: UInt32 = 1 << 28

  var capability: PCICapability {
    var registers = [UInt32](repeating: 0, count: Register.count)
    var writable = registers, clearable = registers, driven = registers
    let version: UInt32 = 2
    registers[0] = (version | kind.rawValue << 4 | (slot == nil ? 0 : 1 << 8)) << 16
    driven[0] = 0xf << 20

    // Payloads to 512 bytes; extended tags; role-based error reporting.
    registers[Register.deviceCapabilities] = 2 | 1 << 5 | 1 << 15 | (kind.isPort ? 0 : 1 << 28)
    // Relaxed ordering and no snoop allowed, reads of 512 bytes: the defaults of §7.5.3.4.
    registers[Register.device] = 0x2810
    writable[Register.device] = 0x79ff
    clearable[Register.device] = 0x000f_0000

    // The fields of §7.5.3.6: no power states (bit 22 says that this is meant), the port's number.
    registers[Register.linkCapabilities] = Self.speed | Self.width | 1 << 22 | UInt32(port) << 24
    registers[Register.link] = (Self.speed | Self.width) << 16 | Self.slotClock
    writable[Register.link] = kind == .endpoint || kind == .switchUpstream ? 0x00c8 : 0x00c0
    registers[Register.linkCapabilities2] = 0b0110
    registers[Register.link2] = Self.speed
    writable[Register.link2] = 0x000f

    // Completion timeout ranges A to D, and none.
    registers[Register.deviceCapabilities2] = 0x1f
    writable[Register.device2] = 0x001f

    if kind.hasSlot {
      registers[Register.linkCapabilities] |= 1 << 20  // reports whether the link is active
      driven[Register.link] = Self.linkActive
      // Link Disable and Retrain Link are kept out: the link is as the slot is.
    }
    if let slot { place(slot, &registers, &writable, &clearable, &driven) }
    if kind == .rootPort {
      writable[Register.root] = 0x000f  // nothing reports errors or power events here
    }
    if kind == .endpoint {
      driven[Register.linkCapabilities] = .max
      driven[Register.link] = .max
      driven[Register.linkCapabilities2] = .max
      driven[Register.link2] = .max
    }
    return PCICapability(
      id: Self.id, registers: registers, writable: writable, clearable: clearable, driven: driven)
  }

  /// §7.5.3.9 to §7.5.3.11.
  private func place(
    _ slot: Slot, _ registers: inout [UInt32], _ writable: inout [UInt32],
    _ clearable: inout [UInt32], _ driven: inout [UInt32]
  ) {
    let number = UInt32(slot.number) << 19
    driven[Register.slot] = SlotRegisters.presence
    guard slot.isHotPluggable else {
      registers[Register.slotCapabilities] = number | SlotRegisters.noCommandCompleted
      return
    }
    registers[Register.slotCapabilities] = number | SlotRegisters.hotPlugCapabilities
    writable[Register.slot] = SlotRegisters.writable
    clearable[Register.slot] = SlotRegisters.events
  }

  /// Where an endpoint is decides what it says of itself: on bus 0 it is part of the root complex, and
  /// has no link (§7.5.3.2, and §7.5.3 "PCI Express Capability Structure" on the registers it lacks).
  func adapt(_ registers: inout ArraySlice<UInt32>, isOnRootBus: Bool) {
    guard kind == .endpoint else { return }
    let first = registers.startIndex
    let type: UInt32 = isOnRootBus ? Self.integratedEndpoint : kind.rawValue
    registers[first] = registers[first] & ~(0xf << 20) | type << 20
    let own = capability
    for index in [
      Register.linkCapabilities, Register.link, Register.linkCapabilities2, Register.link2,
    ] {
      let kept = registers[first + index] & own.writable[index]
      let fixed = own.registers[index] & ~own.writable[index]
      registers[first + index] = isOnRootBus ? 0 : fixed | kept
    }
  }
}
