extension ConfigurationSpace {
  /// What a function's registers hold after reset, and which of their bits a guest may change.
  ///
  /// The size of a BAR is in the bits that cannot be written, as the specification has it.
  struct Layout: Sendable {
    /// Doublewords of a conventional function, and of one of PCI Express.
    static let count = 64
    static let extendedCount = 1024
    static let firstBAR = 4
    private static let firstCapability = 16

    /// A BAR and its first register.
    struct Slot: Sendable {
      let bar: BAR
      let register: Int
    }

    /// A capability and its registers.
    struct Place: Sendable {
      let id: UInt16
      let isExtended: Bool
      let registers: Range<Int>
      let live: (any LiveCapability)?
    }

    private(set) var initial = [UInt32](repeating: 0, count: count)
    private(set) var writable = [UInt32](repeating: 0, count: count)
    /// Bits that writing a one clears.
    private(set) var clearable = [UInt32](repeating: 0, count: count)
    /// Bits that the function itself changes.
    private(set) var driven = [UInt32](repeating: 0, count: count)
    private(set) var bars: [Slot] = []
    private(set) var capabilities: [Place] = []

    var count: Int { initial.count }

    init(
      _ identity: PCIIdentity, _ header: Header, bars: [BAR], capabilities: [PCICapability],
      interruptPin: InterruptPin?
    ) {
      initial[0] = UInt32(identity.device) << 16 | UInt32(identity.vendor)
      initial[2] = identity.classCode.rawValue << 8 | UInt32(identity.revision)
      initial[15] = UInt32(interruptPin?.rawValue ?? 0) << 8
      writable[3] = 0x0000_ffff  // cache line size, latency timer: kept, without effect
      writable[15] = 0x0000_00ff  // interrupt line: the guest's own note
      var command: Command = [.busMaster, .parityErrorResponse, .systemError]
      clearable[1] = 0xf900_0000
      switch header {
      case .device:
        initial[11] = UInt32(identity.subsystem) << 16 | UInt32(identity.subsystemVendor)
      case .bridge:
        command.formUnion([.ports, .memory])
        placeBridge()
      }
      place(bars, limit: header == .device ? 6 : 2)
      if bars.contains(where: { !$0.space.isMemory }) { command.insert(.ports) }
      if bars.contains(where: { $0.space.isMemory }) { command.insert(.memory) }
      if interruptPin != nil { command.insert(.interruptDisable) }
      writable[1] = UInt32(command.rawValue)
      place(capabilities.filter { $0.extendedVersion == nil })
      let extended = capabilities.filter { $0.extendedVersion != nil }
      precondition(
        extended.isEmpty || place(of: UInt16(PCIExpress.id)) != nil,
        "only a function of PCI Express has extended capabilities")
      placeExtended(extended)
    }

    /// The first doubleword of the power management capability.
    var powerManagement: Int? { place(of: UInt16(PowerManagement.id))?.lowerBound }

    /// The registers of that capability; the first, if there are several.
    func place(of id: UInt16, isExtended: Bool = false) -> Range<Int>? {
      capabilities.first { $0.id == id && $0.isExtended == isExtended }?.registers
    }

    /// §6.2.5.1.
    private mutating func place(_ bars: [BAR], limit: Int) {
      var register = Self.firstBAR
      for bar in bars {
        let writableAddress = ~(bar.size - 1)
        self.bars.append(Slot(bar: bar, register: register))
        initial[register] = bar.space.type
        writable[register] = UInt32(truncatingIfNeeded: writableAddress)
        register += 1
        if bar.space.is64Bit {
          writable[register] = UInt32(truncatingIfNeeded: writableAddress >> 32)
          register += 1
        }
      }
      precondition(register <= Self.firstBAR + limit, "a function has six BARs, a bridge two")
    }

    /// PCI-to-PCI Bridge Architecture 1.2 §3.2 "Bridge Configuration Space": header type 1, bus numbers,
    /// and the windows: 64 KiB of ports, memory, and prefetchable memory of 64 bits.
    private mutating func placeBridge() {
      initial[3] = 1 << 16
      writable[6] = 0x00ff_ffff
      writable[7] = 0x0000_f0f0
      clearable[7] = 0xf900_0000
      writable[8] = 0xfff0_fff0
      initial[9] = 0x0001_0001
      writable[9] = 0xfff0_fff0
      writable[10] = .max
      writable[11] = .max
      // Bridge Control: Parity Error Response Enable, SERR# Enable, Secondary Bus Reset.
      writable[15] |= 0x0043_0000
    }

    /// §6.7: a list from the Capabilities Pointer on, one structure behind the other.
    private mutating func place(_ capabilities: [PCICapability]) {
      var register = Self.firstCapability
      for (index, capability) in capabilities.enumerated() {
        let next = register + capability.registers.count
        precondition(next <= Self.count && capability.id < 256, "the capabilities do not fit")
        copy(capability, to: register)
        let pointer = index + 1 < capabilities.count ? UInt32(next * 4) : 0
        initial[register] = initial[register] & 0xffff_0000 | pointer << 8 | UInt32(capability.id)
        writable[register] &= 0xffff_0000
        register = next
      }
      guard !capabilities.isEmpty else { return }
      initial[13] = UInt32(Self.firstCapability * 4)
      initial[1] |= 1 << 20
    }

    /// PCIe 6.0 §7.6.3 "PCI Express Extended Capability Header": a list that begins at offset 100h.
    private mutating func placeExtended(_ capabilities: [PCICapability]) {
      let size = capabilities.reduce(Self.count) { $0 + $1.registers.count }
      precondition(size <= Self.extendedCount, "the extended capabilities do not fit")
      for list in [\Self.initial, \Self.writable, \Self.clearable, \Self.driven] {
        self[keyPath: list] += [UInt32](repeating: 0, count: size - Self.count)
      }
      var register = Self.count
      for (index, capability) in capabilities.enumerated() {
        let next = register + capability.registers.count
        copy(capability, to: register)
        let pointer = index + 1 < capabilities.count ? UInt32(next * 4) : 0
        initial[register] =
          pointer << 20 | UInt32(capability.extendedVersion ?? 0) << 16 | UInt32(capability.id)
        writable[register] = 0
        register = next
      }
    }

    private mutating func copy(_ capability: PCICapability, to register: Int) {
      let range = register..<register + capability.registers.count
      initial.replaceSubrange(range, with: capability.registers)
      writable.replaceSubrange(range, with: capability.writable)
      clearable.replaceSubrange(range, with: capability.clearable)
      driven.replaceSubrange(range, with: capability.driven)
      self.capabilities.append(
        Place(
          id: capability.id, isExtended: capability.extendedVersion != nil, registers: range,
          live: capability.live))
    }
  }
}
