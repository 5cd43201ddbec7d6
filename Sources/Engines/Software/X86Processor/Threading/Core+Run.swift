import ArchitectureX86
package import Board
import CProcessor
package import Execution
import InterruptControllers

/// Bits of `x86_cpu.attention`: why threaded code should return to the loop.
enum Attention {
  /// The owner wants `run` to return.
  static let kick: UInt32 = 1
  /// The local APIC has something.
  static let interrupt: UInt32 = 2
  /// Messages of other cores, or a full code cache.
  static let housekeeping: UInt32 = 4
  /// The core's own: only one instruction is to run.
  static let alone: UInt32 = 8
}

extension Core {
  /// Runs guest code until there is a decision to take. Only on the core's thread.
  package func run(_ buses: inout Buses) -> Exit {
    withUnsafeMutablePointer(to: &buses) { pointer in
      self.buses = pointer
      enterVectorState(cpu)
      defer { leaveVectorState(cpu) }
      return deliverInjected() ? loop() : .tripleFault(.zero)
    }
  }

  private func loop() -> Exit {
    while true {
      if x86_attention(cpu) != 0 {
        let attention = x86_attention_take(cpu)
        if attention & Attention.housekeeping != 0 { asHost { keepHouse() } }
        if attention & Attention.kick != 0 { return .kicked }
      }
      let pending = apic.pending
      if _slowPath(!pending.isEmpty), !takeEvents(pending) { return .tripleFault(.zero) }
      if _slowPath(activity != .active) {
        statistics.halts.increment()
        asHost { neighbours?.sleep(self) }
        continue
      }
      if _slowPath(isDebugged) {
        if let exit = runDebugged() { return exit }
        continue
      }
      if _slowPath(hasBreakpoints || pendingDebugStatus != 0) {
        guard let isDone = runWithBreakpoints() else { return .tripleFault(.zero) }
        if isDone { continue }
      }
      // Behind STI and MOV SS what is pending waits for one instruction.
      let isShadowed = cpu.pointee.interrupt_shadow != 0 && !pending.isEmpty
      if _slowPath(isShadowed || isTraced) {
        guard runAlone() else { return .tripleFault(.zero) }
        continue
      }
      cpu.pointee.interrupt_shadow = 0
      cpu.pointee.exit = LeaveReason.lookUp
      if let op = lookUp() { op.pointee.run(cpu, op) }
      if !conclude(isTraced: false) { return .tripleFault(.zero) }
    }
  }

  /// Does what breakpoints want done before the instruction at `rip`, and runs it if it must run alone.
  ///
  /// - Returns: whether there is nothing left to run; `nil` after a triple fault.
  private func runWithBreakpoints() -> Bool? {
    if pendingDebugStatus != 0, cpu.pointee.interrupt_shadow != InterruptShadow.stack {
      return deliverPendingDebug() ? true : nil
    }
    if hasCodeBreakpoints {
      guard let isRaised = meetCodeBreakpoint() else { return nil }
      if isRaised { return true }
    }
    if breakpoints.data.isEmpty, breakpoints.ports.isEmpty,
      cpu.pointee.interrupt_shadow != InterruptShadow.stack
    {
      return false
    }
    return runAlone() ? true : nil
  }

  /// Carries out one instruction, unless a debugger wants to stop before it; the answer is why `run` is to return.
  private func runDebugged() -> Exit? {
    let rip = cpu.pointee.rip
    if debugStops.breakpoints.contains(rip), rip != passedBreakpoint {
      passedBreakpoint = rip
      return .debug
    }
    passedBreakpoint = nil
    if hasCodeBreakpoints {
      guard let isRaised = meetCodeBreakpoint() else { return .tripleFault(.zero) }
      if isRaised { return nil }
    }
    guard runAlone() else { return .tripleFault(.zero) }
    guard debugStops.step else { return nil }
    passedBreakpoint = cpu.pointee.rip
    return .debug
  }

  /// Sets where `run` is to stop for a debugger. The guest's own means of debugging are not used for it.
  package func setDebugStops(_ stops: DebugStops) {
    debugStops = stops
    isDebugged = stops != DebugStops()
    passedBreakpoint = cpu.pointee.rip
  }

  /// Whether a single-step trap follows every instruction.
  var isTraced: Bool { cpu.pointee.system_flags & X86.Flags.trap != 0 }

  /// What follows after threaded code was left; `false` after a triple fault.
  ///
  /// - Parameter isTraced: whether TF was set before the instruction.
  func conclude(isTraced: Bool) -> Bool {
    let exit = cpu.pointee.exit
    switch exit {
    case LeaveReason.exception:
      statistics.exceptions.increment()
      // An instruction that faulted has reached nothing.
      pendingDebugStatus &= DebugStatus.task
      return report(
        Event(
          vector: UInt8(truncatingIfNeeded: cpu.pointee.exception_vector), source: .exception,
          code: cpu.pointee.exception_has_code != 0 ? cpu.pointee.exception_code : nil))
        && deliverPendingDebug()
    case LeaveReason.halt: activity = .halted
    case LeaveReason.stateChange: distrustUnheardPages()
    case LeaveReason.unfinished:
      // The breakpoint at a repeated instruction was met before its first round.
      if hasCodeBreakpoints { cpu.pointee.system_flags |= X86.Flags.resume }
    default: break
    }
    // The single-step trap behind an instruction: SDM Vol. 3B §17.3.1.4. A handler that was entered is traced only
    // if the way in left TF set; behind MOV SS there is no trap.
    if isTraced, exit != LeaveReason.entry || self.isTraced,
      cpu.pointee.interrupt_shadow != InterruptShadow.stack
    {
      pendingDebugStatus |= DebugStatus.step
    }
    return deliverPendingDebug()
  }

  /// Delivers an exception that an instruction raised, or leaves that to whoever asked to see it.
  func report(_ event: Event) -> Bool {
    raised = event
    return holdsExceptions || deliver(event)
  }

  /// Takes what the local APIC has, in the order of SDM Vol. 3A Table 6-2; `false` after a triple fault.
  private func takeEvents(_ pending: LocalAPIC.Pending) -> Bool {
    if pending.contains(.initialise), apic.takeINIT() {
      apic.softReset()
      initialise()
      activity = index == 0 ? .active : .waitForSIPI
      return true
    }
    if pending.contains(.startUp), let vector = apic.takeStartUp() {
      if activity == .waitForSIPI { startUp(vector: vector) }
      return true
    }
    guard activity == .active || activity == .halted, cpu.pointee.interrupt_shadow == 0 else {
      return true
    }
    if pending.contains(.nmi), !nmiBlocked, apic.takeNMI() {
      activity = .active
      return deliver(Event(vector: X86.Exception.nmi, source: .hardware, code: nil))
    }
    if pending.contains(.interrupt), cpu.pointee.system_flags & X86.Flags.interrupt != 0,
      let vector = apic.acknowledgeInterrupt()
    {
      statistics.interrupts.increment()
      activity = .active
      return deliver(Event(vector: vector, source: .hardware, code: nil))
    }
    return true
  }

  /// Whether a sleeping core has something to do: asked by whoever lets it sleep.
  package var mustWake: Bool {
    if x86_attention(cpu) & ~Attention.interrupt != 0 { return true }
    let pending = apic.pending
    if !pending.isDisjoint(with: [.initialise, .startUp]) { return true }
    guard activity == .halted else { return false }
    return pending.contains(.nmi) && !nmiBlocked
      || pending.contains(.interrupt) && cpu.pointee.system_flags & X86.Flags.interrupt != 0
  }
}
