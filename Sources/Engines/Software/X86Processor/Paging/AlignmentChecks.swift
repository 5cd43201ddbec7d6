import ArchitectureX86
import CProcessor

// Alignment checks: SDM Vol. 3A §6.15, "Interrupt 17 - Alignment Check Exception (#AC)". While they are on, handlers
// see a TLB in which nothing is, so that every access of theirs is a slow one, which checks; while they are off nobody
// asks.
//
// What an access must be aligned to is its size (the manual's Table 6-7), and at most 16 bytes; ten bytes of the x87 FPU
// count as eight. Elements that a mask chooses are not checked (SDM Vol. 2C, "VGATHERDPS/VGATHERDPD"). The manual puts
// #AC behind #PF, and leaves their order to each processor: the check comes first, as it does on AMD's.

extension Core {
  /// Chooses the TLB that handlers see, after a change of CPL, of CR0.AM or of EFLAGS.AC.
  func selectTranslations() {
    let isUser = cpu.pointee.privilege == 3
    checksAlignment =
      isUser && cpu.pointee.cr0 & X86.CR0.alignmentMask != 0
      && cpu.pointee.system_flags & X86.Flags.alignmentCheck != 0
    cpu.pointee.tlb = checksAlignment ? tlb.blind() : tlb.table(user: isUser)
    cpu.pointee.is_blind = checksAlignment ? 1 : 0
  }

  /// Whether an access with that alignment, a power of two, may be made; if not, #AC is raised at `rip`.
  func permitsAlignment(_ linear: UInt64, _ alignment: Int) -> Bool {
    guard checksAlignment, linear & UInt64(alignment &- 1) != 0 else { return true }
    // An address that is none is told by the access itself.
    guard isCanonical(linear) else { return true }
    raiseAtRIP(cpu, X86.Exception.alignmentCheck, code: 0)
    return false
  }
}

/// The same for an operand that is read or written as a block.
@inline(never)
func permitsAlignment(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ alignment: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { $0.permitsAlignment(linear, alignment) }
}
