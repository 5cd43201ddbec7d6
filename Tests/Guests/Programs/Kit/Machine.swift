import Arch

/// What a guest may know of the machine it runs on.
enum Machine {
  /// QEMU's translator, which departs from the manuals in places that ours must not.
  static var isTCG: Bool {
    let leaf = cpuid(0x4000_0000, 0)
    return leaf.ebx == 0x5447_4354 && leaf.ecx == 0x4354_4743
  }

  /// The error code that names a gate: IDT flag and vector (SDM vol. 3A §6.13). TCG counts in 8 bytes.
  static func gateError(_ vector: UInt64) -> UInt64 { vector << (isTCG ? 4 : 3) | 2 }

  /// The page-fault error code of a reserved bit: RSVD and P (SDM vol. 3A §4.7). TCG forgets P.
  static var reservedBitError: UInt64 { isTCG ? 8 : 9 }
}
