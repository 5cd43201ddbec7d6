extension ConfigurationSpace {
  /// What a function's registers hold after reset, and which of their bits a guest may change.
  ///
  /// The size of a BAR is in the bits that cannot be written, as the specification has it.
  struct Layout: Sendable {
    /// Doublewords: 256 bytes.
    static let count = 64
    static let firstBAR = 4
    static let lastBAR = 9
    private static let firstCapability = 16

    /// A BAR and its first register.
    struct Slot: Sendable {
      let bar: BAR
      let register: Int
    }

    private(set) var initial = [UInt32](repeating: 0, count: count)
    private(set) var writable = [UInt32](repeating: 0, count: count)
    /// Bits that writing a one clears.
    private(set) var clearable = [UInt32](repeating: 0, count: count)
    private(set) var bars: [Slot] = []
    private(set) var capabilities: [(id: UInt8, registers: Range<Int>)] = []

    init(
      _ identity: PCIIdentity, bars: [BAR], capabilities: [PCICapability],
      interruptPin: InterruptPin?
    ) {
      initial[0] = UInt32(identity.device) << 16 | UInt32(identity.vendor)
      initial[2] = identity.classCode.rawValue << 8 | UInt32(identity.revision)
      initial[11] = UInt32(identity.subsystem) << 16 | UInt32(identity.subsystemVendor)
      initial[15] = UInt32(interruptPin?.rawValue ?? 0) << 8
      writable[3] = 0x0000_ffff  // cache line size, latency timer: kept, without effect
      writable[15] = 0x0000_00ff  // interrupt line: the guest's own note
      place(bars)
      placeCommandAndStatus(hasInterrupt: interruptPin != nil)
      place(capabilities)
    }

    /// §6.2.2 and §6.2.3.
    private mutating func placeCommandAndStatus(hasInterrupt: Bool) {
      var command: Command = [.busMaster, .parityErrorResponse, .systemError]
      if bars.contains(where: { !$0.bar.space.isMemory }) { command.insert(.ports) }
      if bars.contains(where: { $0.bar.space.isMemory }) { command.insert(.memory) }
      if hasInterrupt { command.insert(.interruptDisable) }
      writable[1] = UInt32(command.rawValue)
      clearable[1] = 0xf900_0000
    }

    /// §6.2.5.1.
    private mutating func place(_ bars: [BAR]) {
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
      precondition(register <= Self.lastBAR + 1, "a function has six BARs")
    }

    /// §6.7: a list from the Capabilities Pointer on, one structure behind the other.
    private mutating func place(_ capabilities: [PCICapability]) {
      var register = Self.firstCapability
      for (index, capability) in capabilities.enumerated() {
        let next = register + capability.registers.count
        precondition(next <= Self.count, "the capabilities do not fit")
        initial.replaceSubrange(register..<next, with: capability.registers)
        writable.replaceSubrange(register..<next, with: capability.writable)
        let pointer = index + 1 < capabilities.count ? UInt32(next * 4) : 0
        initial[register] = initial[register] & 0xffff_0000 | pointer << 8 | UInt32(capability.id)
        writable[register] &= 0xffff_0000
        self.capabilities.append((capability.id, register..<next))
        register = next
      }
      guard !capabilities.isEmpty else { return }
      initial[13] = UInt32(Self.firstCapability * 4)
      initial[1] |= 1 << 20
    }
  }
}
