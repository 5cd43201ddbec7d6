import ArchitectureX86
import CProcessor

// IRET: SDM Vol. 2A, "IRET/IRETD/IRETQ".

extension Core {
  func interruptReturn(log2: Int, returnTo: UInt64) throws(Fault) {
    // NMIs are heard again even if the instruction faults: SDM Vol. 3A §6.7.1.
    nmiBlocked = false
    if cpu.usesParagraphs { return try returnToParagraph(log2: log2) }
    if cpu.pointee.system_flags & X86.Flags.nestedTask != 0 {
      guard !cpu.isLongModeActive else { throw .generalProtection() }
      let link = UInt16(truncatingIfNeeded: try systemLoad(cpu.pointee.tr_base, 2))
      let task = try taskTarget(link, busy: true, else: Fault.invalidTSS)
      try switchTask(to: task, by: .interruptReturn, returnTo: returnTo)
      return
    }
    var frame = StackFrame(self)
    let offset = try frame.pop(log2)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(log2))
    let flags = try frame.pop(log2)
    if flags & X86.Flags.virtual8086 != 0, cpu.pointee.privilege == 0, !cpu.isLongModeActive,
      log2 == 2
    {
      try returnToVirtual8086(offset, selector, flags, frame: &frame)
      return
    }
    let privilege = cpu.pointee.privilege
    try leave(
      to: selector, offset, frame: &frame, log2: log2, alwaysStack: cpu.pointee.code_mode == 2)
    loadReturnFlags(flags, log2: log2, privilege: privilege)
  }

  /// In real and virtual-8086 mode.
  private func returnToParagraph(log2: Int) throws(Fault) {
    if cpu.isVirtual8086, cpu.ioPrivilege < 3 {
      guard cpu.pointee.cr4 & X86.CR4.virtual8086 != 0, log2 == 1 else {
        throw .generalProtection()
      }
      return try returnWithVirtualInterrupts()
    }
    var frame = StackFrame(self)
    let offset = try frame.pop(log2)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(log2))
    let flags = try frame.pop(log2)
    guard offset <= cpu.limit(1) else { throw .generalProtection() }
    frame.commit()
    loadParagraph(1, selector)
    modeChanged()
    setOffset(offset)
    loadReturnFlags(flags, log2: log2, privilege: cpu.pointee.privilege)
  }

  private func returnToVirtual8086(
    _ offset: UInt64, _ selector: UInt16, _ flags: UInt64, frame: inout StackFrame
  ) throws(Fault) {
    let pointer = try frame.pop(2)
    var selectors = InlineArray<6, UInt16>(repeating: 0)
    selectors[1] = selector
    for segment in [2, 0, 3, 4, 5] {
      selectors[segment] = UInt16(truncatingIfNeeded: try frame.pop(2))
    }
    guard offset <= 0xffff else { throw .generalProtection() }
    cpu.rflags = flags & 0x3f_7fd7
    keepResumeFlag()
    cpu.pointee.privilege = 3
    for segment in 0..<6 { loadParagraph(segment, selectors[segment]) }
    cpu.rsp = pointer
    modeChanged()
    setOffset(offset)
  }

  /// As POPF, but by the privilege that the return came from, and with RF.
  private func loadReturnFlags(_ image: UInt64, log2: Int, privilege: UInt32) {
    var writable =
      X86.Flags.status | X86.Flags.trap | X86.Flags.direction | X86.Flags.nestedTask
      | X86.Flags.alignmentCheck | X86.Flags.identification | X86.Flags.resume
    if privilege == 0 {
      writable |= X86.Flags.ioPrivilege
      // Real mode keeps these: "EFLAGS := (tempEFLAGS AND 257FD5H) OR (EFLAGS AND 1A0000H)".
      if !cpu.usesParagraphs {
        writable |= X86.Flags.virtualInterrupt | X86.Flags.virtualInterruptPending
      }
    }
    if privilege <= cpu.ioPrivilege { writable |= X86.Flags.interrupt }
    if log2 == 1 { writable &= 0xffff }
    cpu.rflags = cpu.rflags & ~writable | image & writable
    keepResumeFlag()
  }

  /// RF goes with the next instruction. Where no breakpoint could ask for it, it goes at once.
  func keepResumeFlag() {
    if !hasCodeBreakpoints { cpu.pointee.system_flags &= ~X86.Flags.resume }
  }
}
