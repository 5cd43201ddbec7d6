import ArchitectureX86
import CProcessor

// Virtual-8086 mode, its extensions (VME) and protected-mode virtual interrupts (PVI): SDM Vol. 3A §20.2 to §20.4.

extension UnsafeMutablePointer<x86_cpu> {
  /// IOPL.
  @inline(__always)
  var ioPrivilege: UInt32 {
    UInt32(truncatingIfNeeded: (pointee.system_flags & X86.Flags.ioPrivilege) &>> 12)
  }

  /// Whether CLI and STI mean VIF instead of IF.
  private var virtualizesInterrupts: Bool {
    isVirtual8086
      ? pointee.cr4 & X86.CR4.virtual8086 != 0
      : pointee.privilege == 3 && pointee.cr4 & X86.CR4.protectedVirtualInterrupts != 0
  }

  /// CLI and STI where IOPL forbids them; `false` if they fault.
  func setVirtualInterruptFlag(_ isSet: Bool) -> Bool {
    guard virtualizesInterrupts else { return false }
    if !isSet {
      pointee.system_flags &= ~X86.Flags.virtualInterrupt
      return true
    }
    guard pointee.system_flags & X86.Flags.virtualInterruptPending == 0 else { return false }
    pointee.system_flags |= X86.Flags.virtualInterrupt
    return true
  }

  /// Virtual-8086 mode with an IOPL below 3, where PUSHF, POPF, IRET and INT n are sensitive to it.
  var isSensitiveVirtual8086: Bool { isVirtual8086 && ioPrivilege < 3 }

  /// Whether PUSHF and POPF may run: in sensitive virtual-8086 mode only with VME, and 16 bits wide.
  func mayUseFlags(log2: Int) -> Bool {
    !isSensitiveVirtual8086 || pointee.cr4 & X86.CR4.virtual8086 != 0 && log2 == 1
  }

  /// RFLAGS as PUSHF and INT n show them under VME: IF is VIF, and IOPL seems to be 3.
  var virtualFlags: UInt64 {
    let enabled = pointee.system_flags & X86.Flags.virtualInterrupt != 0
    return rflags & ~X86.Flags.interrupt | (enabled ? X86.Flags.interrupt : 0)
      | X86.Flags.ioPrivilege
  }

  /// The 16 bits that POPF and IRET load under VME; `false` if they fault.
  func loadVirtualFlags(_ image: UInt64) -> Bool {
    let enables = image & X86.Flags.interrupt != 0
    guard image & X86.Flags.trap == 0,
      !enables || pointee.system_flags & X86.Flags.virtualInterruptPending == 0
    else { return false }
    let writable =
      (X86.Flags.status | X86.Flags.direction | X86.Flags.nestedTask | X86.Flags.trap) & 0xffff
    let old = rflags & ~(writable | X86.Flags.virtualInterrupt | X86.Flags.resume)
    rflags = old | image & writable | (enables ? X86.Flags.virtualInterrupt : 0)
    return true
  }
}

extension Core {
  /// IRET of 16 bits under VME.
  func returnWithVirtualInterrupts() throws(Fault) {
    var frame = StackFrame(self)
    let offset = try frame.pop(1)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(1))
    let flags = try frame.pop(1)
    guard offset <= cpu.limit(1), cpu.loadVirtualFlags(flags) else { throw .generalProtection() }
    frame.commit()
    loadParagraph(1, selector)
    modeChanged()
    setOffset(offset)
  }

  // MARK: - Interrupts by instruction

  /// What an interrupt instruction is; its kinds differ in who may use them.
  enum InterruptInstruction: UInt8 {
    /// INT n.
    case numbered = 0
    /// INTO, INT3.
    case overflow = 1
    case breakpoint = 2
    /// INT1.
    case debug = 3
  }

  func softwareInterrupt(
    _ vector: UInt8, _ kind: InterruptInstruction, returnTo: UInt64
  ) throws(Fault) {
    let start = cpu.pointee.rip
    cpu.pointee.rip = returnTo
    do throws(Fault) {
      if kind == .numbered, cpu.isVirtual8086, try redirect(vector) { return }
      try deliverOnce(
        Event(vector: vector, source: kind == .debug ? .privilegedSoftware : .software))
    } catch {
      if !error.isInNewTask { cpu.pointee.rip = start }
      throw error
    }
  }

  /// INT n in virtual-8086 mode: SDM Vol. 3A §20.3.3, Table 20-2.
  ///
  /// - Returns: whether the 8086 program's own handler was entered.
  private func redirect(_ vector: UInt8) throws(Fault) -> Bool {
    let isSensitive = cpu.ioPrivilege < 3
    guard cpu.pointee.cr4 & X86.CR4.virtual8086 != 0 else {
      guard !isSensitive else { throw .generalProtection() }
      return false
    }
    guard try !isIntercepted(vector) else {
      guard !isSensitive else { throw .generalProtection() }
      return false
    }
    let target = try systemLoad(UInt64(vector) * 4, 4, user: true)
    try enterParagraphHandler(target, flags: isSensitive ? cpu.virtualFlags : cpu.rflags)
    cpu.pointee.system_flags &=
      ~(X86.Flags.trap
      | (isSensitive ? X86.Flags.virtualInterrupt : X86.Flags.interrupt))
    return true
  }

  /// The software interrupt redirection bit map: 32 bytes below the I/O permission bit map.
  private func isIntercepted(_ vector: UInt8) throws(Fault) -> Bool {
    guard cpu.pointee.tr_attributes & 8 != 0, cpu.pointee.tr_limit >= 103 else {
      throw .generalProtection()
    }
    let ports = try systemLoad(cpu.pointee.tr_base &+ 102, 2)
    guard ports >= 32 else { throw .generalProtection() }
    let place = ports - 32 + UInt64(vector >> 3)
    guard place <= UInt64(cpu.pointee.tr_limit) else { throw .generalProtection() }
    return try systemLoad(cpu.pointee.tr_base &+ place, 1) >> UInt64(vector & 7) & 1 != 0
  }
}
