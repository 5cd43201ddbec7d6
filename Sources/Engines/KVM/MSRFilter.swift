import ArchitectureX86
import CKVM
import Execution

/// Which model-specific registers KVM keeps for the guest. All others leave the guest, so that what they do
/// does not depend on the host: see `X86.KeptMSRs`.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4.97 "KVM_X86_SET_MSR_FILTER". (The x2APIC's registers
///   cannot be filtered.)
enum MSRFilter {
  /// Registers that are state of KVM's processor, beyond those with a place of their own in its state.
  static let state: [UInt32] = [
    X86.MSR.sysenterCS, X86.MSR.sysenterESP, X86.MSR.sysenterEIP, X86.MSR.miscEnable,
    X86.MSR.pageAttributeTable, X86.MSR.star, X86.MSR.lstar, X86.MSR.cstar, X86.MSR.syscallMask,
    X86.MSR.kernelGSBase, X86.MSR.tscAux,
  ]

  private static let kept: [UInt32] =
    state + [
      X86.MSR.timeStampCounter, X86.MSR.tscAdjust, X86.MSR.apicBase, X86.MSR.tscDeadline,
      X86.MSR.efer, X86.MSR.fsBase, X86.MSR.gsBase,
    ]

  /// Two windows hold all that may be let through: one bit a register.
  private static let windows: [(base: UInt32, count: UInt32)] = [
    (0, 0x800), (0xc000_0000, 0x400),
  ]

  /// - Parameter seen: registers whose accesses leave the guest although KVM keeps them.
  static func install(on machine: KVMHandle, seen: Set<UInt32> = []) throws(EngineError) {
    var filter = kvm_msr_filter()
    filter.flags = UInt32(KVM_MSR_FILTER_DEFAULT_DENY)
    let low = bitmap(of: windows[0], without: seen)
    let high = bitmap(of: windows[1], without: seen)
    defer {
      low.deallocate()
      high.deallocate()
    }
    filter.ranges.0 = range(windows[0], low)
    filter.ranges.1 = range(windows[1], high)
    try machine.request(
      KVM_REQUEST_SET_MSR_FILTER, &filter, "leave model-specific registers to user space")
  }

  private static func bitmap(
    of window: (base: UInt32, count: UInt32), without seen: Set<UInt32>
  ) -> UnsafeMutableBufferPointer<UInt8> {
    let bits = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: Int(window.count / 8))
    bits.initialize(repeating: 0)
    for index in kept
    where index >= window.base && index - window.base < window.count && !seen.contains(index) {
      let bit = Int(index - window.base)
      bits[bit / 8] |= 1 << UInt8(bit % 8)
    }
    return bits
  }

  private static func range(
    _ window: (base: UInt32, count: UInt32), _ bitmap: UnsafeMutableBufferPointer<UInt8>
  ) -> kvm_msr_filter_range {
    var range = kvm_msr_filter_range()
    range.flags = UInt32(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)
    range.base = window.base
    range.nmsrs = window.count
    range.bitmap = bitmap.baseAddress
    return range
  }
}
