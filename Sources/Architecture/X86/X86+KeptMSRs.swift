extension X86 {
  /// Model-specific registers that are kept and read back, and change nothing: memory types have no meaning
  /// without a cache. The same on every engine, so that a machine finds them again on another.
  package struct KeptMSRs: Sendable, Equatable {
    private var values: [UInt32: UInt64] = [:]

    package init() {}

    private static func isKept(_ index: UInt32) -> Bool {
      switch index {
      case MSR.mtrrDefaultType,
        0x200...0x20f,  // variable-range MTRRs
        0x250, 0x258, 0x259, 0x268...0x26f,  // fixed-range MTRRs
        0xc001_0010, 0xc001_0015, 0xc001_001f,  // AMD: SYSCFG, HWCR, NB_CFG
        0xc001_0055,  // AMD: interrupt pending and CMP-halt
        0x2a, 0x119, 0x11e:  // P6: EBL_CR_POWERON, BBL_CR_CTL, BBL_CR_CTL3 (SDM Vol. 4 §2.22)
        true
      default: false
      }
    }

    /// What RDMSR answers; `nil`: there is no such register, and it raises #GP.
    package func read(_ index: UInt32) -> UInt64? {
      switch index {
      case MSR.biosSignature: 0x100_0065
      case MSR.platformID: 0
      case MSR.mtrrCapabilities: 0x508  // 8 variable ranges, fixed ranges, write-combining
      default: Self.isKept(index) ? values[index] ?? 0 : nil
      }
    }

    /// What WRMSR does; `false`: it raises #GP.
    package mutating func write(_ index: UInt32, _ value: UInt64) -> Bool {
      // A microcode update is taken, and changes nothing.
      if index == MSR.biosSignature || index == MSR.biosUpdateTrigger { return true }
      guard Self.isKept(index) else { return false }
      values[index] = value
      return true
    }

    /// Those that were written, in order.
    package var saved: [MSRValue] {
      values.sorted { $0.key < $1.key }.map { MSRValue(index: $0.key, value: $0.value) }
    }
  }
}
