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
        if attention & Attention.housekeeping != 0 { keepHouse() }
        if attention & Attention.kick != 0 { return .kicked }
      }
      let pending = apic.pending
      if _slowPath(!pending.isEmpty), !takeEvents(pending) { return .tripleFault(.zero) }
      if _slowPath(activity != .active) {
        statistics.halts.increment()
        neighbours?.sleep(self)
        continue
      }
      if _slowPath(isDebugged) {
        if let exit = runDebugged() { return exit }
        continue
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

  /// Carries out one instruction, unless a debugger wants to stop before it; the answer is why `run` is to return.
  private func runDebugged() -> Exit? {
    let rip = cpu.pointee.rip
    if debugStops.breakpoints.contains(rip), rip != passedBreakpoint {
      passedBreakpoint = rip
      return .debug
    }
    passedBreakpoint = nil
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
  func conclude(isTraced: Bool) -> Bool {
    switch cpu.pointee.exit {
    case LeaveReason.exception:
      statistics.exceptions.increment()
      return deliver(
        Event(
          vector: UInt8(truncatingIfNeeded: cpu.pointee.exception_vector), source: .exception,
          code: cpu.pointee.exception_has_code != 0 ? cpu.pointee.exception_code : nil))
    case LeaveReason.halt:
      activity = .halted
      return !isTraced || trap()
    case LeaveReason.entry:
      // The handler is traced only if the way in left TF set.
      return !isTraced || !self.isTraced || trap()
    case LeaveReason.stateChange:
      distrustUnheardPages()
      return !isTraced || trap()
    default: return !isTraced || trap()
    }
  }

  /// The single-step trap behind an instruction: SDM Vol. 3B §17.3.1.4.
  private func trap() -> Bool {
    withUnsafeMutableBytes(of: &cpu.pointee.debug) { bytes in
      let status = bytes.load(fromByteOffset: 48, as: UInt64.self)
      bytes.storeBytes(of: status | 1 << 14, toByteOffset: 48, as: UInt64.self)
    }
    activity = .active
    return deliver(Event(vector: X86.Exception.debug, source: .exception, code: nil))
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
