import InterruptControllers
import ArchitectureX86
import CProcessor

// Instructions that change the processor's mode, its tables or its address space: SDM Vol. 2. Each leaves to
// the run loop, which looks at everything anew; they are rare.

/// What an instruction does. It captures nothing: a captured variable would live in the handler's frame, which
/// then could not end in a jump, and the stack would grow with every such instruction.
typealias SystemWork = (Core, Op) throws(Fault) -> Void

/// Carries out an instruction that may fault; the next one follows.
@inline(__always)
func system(_ cpu: CPU, _ op: Op, _ body: SystemWork) {
  guard perform(cpu, op, body) else { return }
  return next(cpu, op)
}

/// Carries out an instruction that may fault, then leaves to the run loop at the next instruction.
@inline(__always)
func systemThenLeave(_ cpu: CPU, _ op: Op, _ body: SystemWork) {
  let following = cpu.codeAddress(cpu.nextRIP(of: op))
  guard perform(cpu, op, body) else { return }
  cpu.pointee.rip = following
  cpu.pointee.exit = LeaveReason.stateChange
}

/// Carries out a far transfer, which sets `rip` itself.
@inline(__always)
func transfer(
  _ cpu: CPU, _ op: Op, _ reason: UInt32 = LeaveReason.stateChange, _ body: SystemWork
) {
  guard perform(cpu, op, body) else { return }
  cpu.pointee.exit = reason
}

@inline(never)
private func perform(_ cpu: CPU, _ op: Op, _ body: SystemWork) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { core in
    do throws(Fault) {
      try body(core, op)
      return true
    } catch {
      // A task that was just entered has its own place to fault at.
      if error.isInNewTask {
        raiseAtRIP(cpu, error.vector, code: error.code)
      } else {
        raise(cpu, op, error.vector, code: error.code)
      }
      return false
    }
  }
}

extension Core {
  func requirePrivilege0() throws(Fault) {
    guard cpu.pointee.privilege == 0 else { throw .generalProtection() }
  }
}

enum SystemInstructions {
  // MARK: - Flags and halting

  /// CLI and STI: by IOPL; `detail` is what IF becomes.
  static let setInterruptFlag: Handler = { cpu, op in
    guard !cpu.isProtected || cpu.pointee.privilege <= cpu.ioPrivilege else {
      guard cpu.setVirtualInterruptFlag(op.pointee.detail != 0) else {
        return raise(cpu, op, X86.Exception.generalProtection, code: 0)
      }
      return next(cpu, op)
    }
    if op.pointee.detail == 0 {
      cpu.pointee.system_flags &= ~X86.Flags.interrupt
      return next(cpu, op)
    }
    let wasClear = cpu.pointee.system_flags & X86.Flags.interrupt == 0
    cpu.pointee.system_flags |= X86.Flags.interrupt
    guard wasClear else { return next(cpu, op) }
    cpu.pointee.interrupt_shadow = InterruptShadow.interrupts
    cpu.pointee.rip = cpu.codeAddress(cpu.nextRIP(of: op))
    cpu.pointee.exit = LeaveReason.stateChange
  }

  static let setDirection: Handler = { cpu, op in
    if op.pointee.detail == 0 {
      cpu.pointee.system_flags &= ~X86.Flags.direction
    } else {
      cpu.pointee.system_flags |= X86.Flags.direction
    }
    return next(cpu, op)
  }

  /// CLC, STC, CMC: `detail` 0, 1, 2.
  static let setCarry: Handler = { cpu, op in
    cpu.setCarryAlone(op.pointee.detail == 2 ? !cpu.carryFlag : op.pointee.detail == 1)
    return next(cpu, op)
  }

  static let loadAHFromFlags: Handler = { cpu, op in
    cpu.set(Slot.rax &+ 1, UInt8(truncatingIfNeeded: cpu.statusFlags | X86.Flags.reserved1))
    return next(cpu, op)
  }

  static let storeAHIntoFlags: Handler = { cpu, op in
    let image = UInt64(cpu.get(Slot.rax &+ 1, UInt8.self))
    cpu.statusFlags = cpu.statusFlags & X86.Flags.overflow | image & X86.Flags.status
    return next(cpu, op)
  }

  static let halt: Handler = { cpu, op in
    guard cpu.pointee.privilege == 0 else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    cpu.pointee.rip = cpu.codeAddress(cpu.nextRIP(of: op))
    cpu.pointee.exit = LeaveReason.halt
  }

  /// PAUSE: a spinning processor gives the host a chance to run the one it waits for.
  static let pause: Handler = { cpu, op in
    x86_relax()
    return next(cpu, op)
  }

  static let nothing: Handler = { cpu, op in return next(cpu, op) }

  static let fence: Handler = { cpu, op in
    x86_fence()
    return next(cpu, op)
  }

  // MARK: - Interrupts by software

  /// INT n, INT3, INTO, INT1, as `detail` says: the handler returns behind the instruction.
  static let interrupt: Handler = { cpu, op in
    if op.pointee.detail == 1, !cpu.overflowFlag { return next(cpu, op) }
    return transfer(cpu, op, LeaveReason.entry) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.softwareInterrupt(
        UInt8(truncatingIfNeeded: op.pointee.immediate),
        Core.InterruptInstruction(rawValue: op.pointee.detail) ?? .numbered,
        returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  static let interruptReturn: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.interruptReturn(
        log2: Int(op.pointee.detail), returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  // MARK: - Far transfers

  /// To the selector in `displacement` and the offset in `immediate`; `detail` is the operand size.
  static let farJump: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.farJump(
        UInt16(truncatingIfNeeded: op.pointee.displacement), op.pointee.immediate,
        returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  static let farCall: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.farCall(
        UInt16(truncatingIfNeeded: op.pointee.displacement), op.pointee.immediate,
        log2: Int(op.pointee.detail), returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  /// Selector in temporary 1, offset in temporary 0.
  static let farJumpIndirect: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.farJump(
        cpu.get(Slot.temporary1), cpu.get(Slot.temporary),
        returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  static let farCallIndirect: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.farCall(
        cpu.get(Slot.temporary1), cpu.get(Slot.temporary), log2: Int(op.pointee.detail),
        returnTo: cpu.codeAddress(cpu.nextRIP(of: op)))
    }
  }

  static let farReturn: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.farReturn(log2: Int(op.pointee.detail), releasing: op.pointee.immediate)
    }
  }

  // MARK: - Segment registers

  /// MOV Sreg; `destination` is the segment register, `source` a slot. SS holds interrupts off for one
  /// instruction.
  static let moveToSegment: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.loadSegment(Int(op.pointee.destination), cpu.get(op.pointee.source))
      if op.pointee.destination == 2 { cpu.pointee.interrupt_shadow = InterruptShadow.stack }
    }
  }

  /// POP Sreg.
  static let popSegment: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      var frame = StackFrame(core)
      let selector = UInt16(truncatingIfNeeded: try frame.pop(Int(op.pointee.detail)))
      let stack = cpu.rsp
      // By the width of the stack that it came from.
      frame.commit()
      do throws(Fault) {
        try core.loadSegment(Int(op.pointee.destination), selector)
      } catch {
        cpu.rsp = stack
        throw error
      }
      if op.pointee.destination == 2 { cpu.pointee.interrupt_shadow = InterruptShadow.stack }
    }
  }

  /// LDS, LES, LSS, LFS, LGS: selector in temporary 1, offset in temporary 0; `source` is the register's slot.
  static let loadFarPointer: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.loadSegment(Int(op.pointee.destination), cpu.get(Slot.temporary1))
      cpu.set(
        op.pointee.source, cpu.get(Slot.temporary, UInt64.self), log2: Int(op.pointee.detail))
    }
  }

  static let moveFromSegment: Handler = { cpu, op in
    cpu.set(op.pointee.destination, UInt64(cpu.selector(Int(op.pointee.source))))
    return next(cpu, op)
  }

  // MARK: - Tables: `temporary` has the limit or selector, `temporary1` the base

  static let loadGDTR: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      cpu.pointee.gdtr_limit = UInt32(cpu.get(Slot.temporary, UInt16.self))
      cpu.pointee.gdtr_base = try core.checkedTableBase(op)
    }
  }

  static let loadIDTR: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      cpu.pointee.idtr_limit = UInt32(cpu.get(Slot.temporary, UInt16.self))
      cpu.pointee.idtr_base = try core.checkedTableBase(op)
    }
  }

  /// SGDT, SIDT into the temporaries: `detail` 0 or 1.
  static let readTable: Handler = { cpu, op in
    guard cpu.mayReadTables else { return raise(cpu, op, X86.Exception.generalProtection, code: 0) }
    let isGDT = op.pointee.detail == 0
    cpu.set(
      Slot.temporary, UInt64(isGDT ? cpu.pointee.gdtr_limit : cpu.pointee.idtr_limit))
    cpu.set(Slot.temporary1, isGDT ? cpu.pointee.gdtr_base : cpu.pointee.idtr_base)
    return next(cpu, op)
  }

  static let loadLDTR: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      try core.loadLDTR(core.cpu.get(op.pointee.source))
    }
  }

  static let loadTR: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      try core.loadTR(core.cpu.get(op.pointee.source))
    }
  }

  /// SLDT, STR: `detail` 0 or 1.
  static let readTaskRegister: Handler = { cpu, op in
    guard !cpu.usesParagraphs else { return raise(cpu, op, X86.Exception.invalidOpcode) }
    guard cpu.mayReadTables else { return raise(cpu, op, X86.Exception.generalProtection, code: 0) }
    let value = op.pointee.detail == 0 ? cpu.pointee.ldtr_selector : cpu.pointee.tr_selector
    cpu.set(op.pointee.destination, UInt64(value))
    return next(cpu, op)
  }

  /// LAR, LSL, VERR, VERW: `detail` 0 to 3, `flags` the operand size; ZF says whether the selector will do.
  static let inspectSelector: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      let selector = cpu.get(op.pointee.source, UInt16.self)
      let answer = try core.inspect(selector, kind: op.pointee.detail)
      cpu.setZeroAlone(answer != nil)
      if let answer, op.pointee.detail < 2 {
        cpu.set(op.pointee.destination, answer, log2: Int(op.pointee.flags))
      }
    }
  }

  // MARK: - Control and debug registers

  static let moveFromControl: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let value: UInt64 =
        switch op.pointee.detail {
        case 0: cpu.pointee.cr0
        case 2: cpu.pointee.cr2
        case 3: cpu.pointee.cr3
        case 4: cpu.pointee.cr4
        case 8: UInt64(core.apic.taskPriority)
        default: throw .invalidOpcode
        }
      cpu.set(op.pointee.destination, value)
    }
  }

  static let moveToControl: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      var value = cpu.get(op.pointee.source, UInt64.self)
      if cpu.pointee.code_mode != 2 { value &= 0xffff_ffff }
      switch op.pointee.detail {
      case 0: try core.setCR0(value)
      case 2: cpu.pointee.cr2 = value
      case 3: try core.setCR3(value)
      case 4: try core.setCR4(value)
      case 8:
        guard value < 16 else { throw .generalProtection() }
        core.apic.taskPriority = UInt8(value)
        core.hasWrittenAPIC = true
      default: throw .invalidOpcode
      }
    }
  }

  static let moveFromDebug: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let number = try core.debugRegister(op.pointee.detail)
      try core.requireDebugRegisters()
      cpu.set(op.pointee.destination, core.debugRegisterValue(number))
    }
  }

  static let moveToDebug: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let number = try core.debugRegister(op.pointee.detail)
      try core.requireDebugRegisters()
      try core.setDebugRegister(number, cpu.get(op.pointee.source))
    }
  }

  static let clearTaskSwitched: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      cpu.pointee.cr0 &= ~X86.CR0.taskSwitched
      core.modeChanged()
    }
  }

  static let readMachineStatus: Handler = { cpu, op in
    guard cpu.mayReadTables else { return raise(cpu, op, X86.Exception.generalProtection, code: 0) }
    cpu.set(op.pointee.destination, cpu.pointee.cr0)
    return next(cpu, op)
  }

  /// LMSW: may set PE but not clear it.
  static let loadMachineStatus: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let value = UInt64(cpu.get(op.pointee.source, UInt16.self) & 0xf)
      let kept = cpu.pointee.cr0 & X86.CR0.protection
      try core.setCR0(cpu.pointee.cr0 & ~0xf | value | kept)
    }
  }

  static let invalidatePage: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let offset = cpu.offset(op) & addressMask(op.pointee.flags)
      core.flushTranslation(of: offset &+ cpu.get(op.pointee.segment, UInt64.self))
    }
  }

  /// INVPCID; `source` is the register with its type. Translations know no contexts: all are dropped.
  static let invalidateContext: Handler = { cpu, op in
    guard invalidateContexts(cpu, op) else { return }
    cpu.pointee.rip = cpu.codeAddress(cpu.nextRIP(of: op))
    cpu.pointee.exit = LeaveReason.stateChange
  }

  /// CLAC, STAC: `detail` is what AC becomes.
  static let setAccessFlag: Handler = { cpu, op in
    guard cpu.pointee.privilege == 0 else { return raise(cpu, op, X86.Exception.invalidOpcode) }
    if op.pointee.detail == 0 {
      cpu.pointee.system_flags &= ~X86.Flags.alignmentCheck
    } else {
      cpu.pointee.system_flags |= X86.Flags.alignmentCheck
    }
    return next(cpu, op)
  }

  /// What real and virtual-8086 mode do not recognize, whatever its operand: SDM Vol. 2, "Real-Address Mode
  /// Exceptions" of LAR, LLDT and others.
  static let protectedNothing: Handler = { cpu, op in
    guard !cpu.usesParagraphs else { return raise(cpu, op, X86.Exception.invalidOpcode) }
    return next(cpu, op)
  }

  /// What needs privilege level 0, whatever its operand. Of INVD and WBINVD it is all: there is no cache to write back.
  static let privilegedNothing: Handler = { cpu, op in
    return system(cpu, op) { (core, _) throws(Fault) in try core.requirePrivilege0() }
  }

  static let swapGS: Handler = { cpu, op in
    guard cpu.pointee.privilege == 0 else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    let old = cpu.segmentBase(5)
    cpu.set(Slot.segmentBase &+ 40, cpu.pointee.kernel_gs_base)
    cpu.pointee.kernel_gs_base = old
    return next(cpu, op)
  }

  // MARK: - MSRs, identification, time

  static let readMSR: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let value = try core.readMSRForGuest(cpu.get(Slot.rcx, UInt32.self))
      cpu.set(Slot.rax, UInt32(truncatingIfNeeded: value))
      cpu.set(Slot.rdx, UInt32(truncatingIfNeeded: value >> 32))
    }
  }

  static let writeMSR: Handler = { cpu, op in
    return systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.requirePrivilege0()
      let value =
        UInt64(cpu.get(Slot.rdx, UInt32.self)) << 32 | UInt64(cpu.get(Slot.rax, UInt32.self))
      try core.writeMSRForGuest(cpu.get(Slot.rcx, UInt32.self), value)
    }
  }

  static let identify: Handler = { cpu, op in
    let leaf = cpu.core {
      $0.distrustUnheardPages()
      return $0.cpuid(cpu.get(Slot.rax, UInt32.self), cpu.get(Slot.rcx, UInt32.self))
    }
    cpu.set(Slot.rax, leaf.eax)
    cpu.set(Slot.rbx, leaf.ebx)
    cpu.set(Slot.rcx, leaf.ecx)
    cpu.set(Slot.rdx, leaf.edx)
    return next(cpu, op)
  }

  /// RDTSC, RDTSCP: `detail` 0 or 1.
  static let readTimeStamp: Handler = { cpu, op in
    return system(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      guard cpu.pointee.cr4 & X86.CR4.timeStampDisable == 0 || cpu.pointee.privilege == 0 else {
        throw .generalProtection()
      }
      let value = core.timeStampCounter
      cpu.set(Slot.rax, UInt32(truncatingIfNeeded: value))
      cpu.set(Slot.rdx, UInt32(truncatingIfNeeded: value >> 32))
      if op.pointee.detail == 1 {
        cpu.set(Slot.rcx, UInt32(truncatingIfNeeded: cpu.pointee.tsc_aux))
      }
    }
  }

  // MARK: - SYSCALL, SYSRET, SYSENTER, SYSEXIT

  static let systemCall: Handler = { cpu, op in
    return transfer(cpu, op, LeaveReason.entry) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.systemCall(returnTo: cpu.nextRIP(of: op))
    }
  }

  static let systemReturn: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.systemReturn(to64: op.pointee.detail == 3)
    }
  }

  static let systemEnter: Handler = { cpu, op in
    return transfer(cpu, op, LeaveReason.entry) { (core, _) throws(Fault) in try core.systemEnter()
    }
  }

  static let systemExit: Handler = { cpu, op in
    return transfer(cpu, op) { (core, op) throws(Fault) in
      let cpu = core.cpu
      try core.systemExit(to64: op.pointee.detail == 3)
    }
  }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// Whether SGDT, SIDT, SLDT, STR and SMSW may run: SDM Vol. 3A §2.5, UMIP.
  @inline(__always)
  fileprivate var mayReadTables: Bool {
    pointee.privilege == 0 || pointee.cr4 & X86.CR4.userModeInstructionPrevention == 0
  }
}

/// The work of INVPCID: SDM Vol. 2A.
@inline(never)
private func invalidateContexts(_ cpu: CPU, _ op: Op) -> Bool {
  guard cpu.pointee.privilege == 0 else {
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
    return false
  }
  guard let address = Segmented.linear(cpu, op, 16, write: false),
    let context = load(cpu, op, address, UInt64.self),
    let linear = load(cpu, op, (address &+ 8) & cpu.pointee.address_mask, UInt64.self)
  else { return false }
  let type =
    cpu.pointee.code_mode == 2
    ? cpu.get(op.pointee.source, UInt64.self)
    : UInt64(cpu.get(op.pointee.source, UInt32.self))
  let needsNoContexts = cpu.pointee.cr4 & X86.CR4.processContextIdentifiers == 0 && type < 2
  guard type < 4, type > 1 || context >> 12 == 0, !needsNoContexts || context & 0xfff == 0,
    type != 0 || cpu.core({ $0.isCanonical(linear) })
  else {
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
    return false
  }
  cpu.core { $0.flushTranslations(global: true) }
  return true
}

// MARK: - IN and OUT

/// `flags` 1: the port is `immediate`, else DX.
@inline(__always)
func portInput<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  return system(cpu, op) { (core, op) throws(Fault) in
    let cpu = core.cpu
    let port = op.pointee.flags == 1 ? UInt16(truncatingIfNeeded: op.pointee.immediate) : cpu.port
    guard core.mayUsePort(port, MemoryLayout<T>.size) else { throw core.portFault() }
    cpu.set(Slot.rax, core.portRead(port, T.self))
  }
}

@inline(__always)
func portOutput<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  return system(cpu, op) { (core, op) throws(Fault) in
    let cpu = core.cpu
    let port = op.pointee.flags == 1 ? UInt16(truncatingIfNeeded: op.pointee.immediate) : cpu.port
    guard core.mayUsePort(port, MemoryLayout<T>.size) else { throw core.portFault() }
    core.portWrite(port, cpu.get(Slot.rax, T.self))
  }
}

let portInputs: [Handler] = [
  { portInput(UInt8.self, $0, $1) }, { portInput(UInt16.self, $0, $1) },
  { portInput(UInt32.self, $0, $1) },
]
let portOutputs: [Handler] = [
  { portOutput(UInt8.self, $0, $1) }, { portOutput(UInt16.self, $0, $1) },
  { portOutput(UInt32.self, $0, $1) },
]
