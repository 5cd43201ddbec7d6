import ArchitectureX86
import Board
import CKVM
import Execution
import Work
import X86Processor

// Instructions that KVM's emulator does not know, carried out by our interpreter: one at a time, on the processor's
// state, with the machine's devices and local APIC.

extension KVMProcessor {
  /// Deals with an internal error of KVM's: an instruction that it could not emulate is finished here.
  func finishInstruction(_ buses: inout Buses) throws(EngineError) -> Exit? {
    guard exit.pointee.internal.suberror == UInt32(KVM_INTERNAL_ERROR_EMULATION) else {
      throw EngineError(
        "KVM failed at processor \(index): internal error \(exit.pointee.internal.suberror)")
    }
    let before = try state(counter: time.runningCounter())
    return try carryOut(before, after: before, &buses)
  }

  /// Carries out the next instruction of `state`, which is to take the place of KVM's `before`.
  func carryOut(
    _ state: X86.State, after before: X86.State, _ buses: inout Buses
  ) throws(EngineError) -> Exit? {
    let emulator = instructionEmulator
    let outcome: InstructionEmulator.Outcome
    do throws(StateError) {
      outcome = try emulator.execute(state, &buses)
    } catch {
      throw EngineError(
        "KVM left processor \(index) at an instruction that it cannot emulate, in a state that the "
          + "interpreter cannot take over: \(error)")
    }
    statistics.count(
      finished: outcome.instruction.opcodeText,
      second: partition.plan.clock.now.nanoseconds / 1_000_000_000)
    try apply(outcome, after: before)
    forgetReadiness()
    if outcome.isTripleFault { return .tripleFault(.zero) }
    return isStepping ? .debug : nil
  }

  /// Gives KVM back what the instruction changed. What KVM or other processors change meanwhile, interrupts
  /// above all, is left alone.
  private func apply(
    _ outcome: InstructionEmulator.Outcome, after before: X86.State
  ) throws(EngineError) {
    let after = outcome.state
    try setRegisters(after)
    if after.segments != before.segments || after.hasOtherSystemRegisters(than: before) {
      var system = try systemRegisters(after, base: after.apic?.base ?? before.apic?.base ?? 0)
      try handle.request(KVM_REQUEST_SET_SREGS, &system, "take its control registers")
    }
    if after.hasOtherVectorState(than: before) { try setVectorState(after) }
    if after.debug != before.debug { try setDebugRegisters(after) }
    if after.msrs != before.msrs { try setMSRs(after) }
    if after.events.interruptShadow != before.events.interruptShadow
      || after.events.nmiBlocked != before.events.nmiBlocked
    {
      try changeEvents { events in
        events.flags = UInt32(KVM_VCPUEVENT_VALID_SHADOW)
        events.interrupt.shadow = after.events.kvm(rflags: after.rflags).interrupt.shadow
        events.nmi.masked = after.events.nmiBlocked ? 1 : 0
      }
    }
    // What was on its way into a handler has entered it.
    if before.events.injected != nil {
      try changeEvents { events in
        events.flags = 0
        events.exception.injected = 0
        events.interrupt.injected = 0
        events.nmi.injected = 0
      }
    }
    if after.activity != before.activity { try setActivity(after.activity) }
    // Interrupts that arrive between the processor's exit and this are lost: only instructions that write to the
    // local APIC's page in a way that KVM cannot emulate come here.
    if outcome.hasChangedAPIC, let apic = after.apic { try setAPIC(apic) }
    for message in outcome.messages { partition.interrupts.signal(message, from: 0) }
    for vector in outcome.endedInterrupts { partition.interrupts.ended(vector) }
  }

  /// Changes what KVM has pending; `flags` say which of it counts.
  func changeEvents(_ change: (inout kvm_vcpu_events) -> Void) throws(EngineError) {
    var events = kvm_vcpu_events()
    try handle.request(KVM_REQUEST_GET_VCPU_EVENTS, &events, "show pending events")
    change(&events)
    try handle.request(KVM_REQUEST_SET_VCPU_EVENTS, &events, "take pending events")
  }

  private var instructionEmulator: InstructionEmulator {
    if let emulator { return emulator }
    let plan = partition.plan
    let made = InstructionEmulator(
      index: index, processors: plan.processors, memory: memory,
      rights: partition.rights, model: plan.model,
      clock: plan.clock)
    emulator = made
    return made
  }
}

extension X86.State {
  /// A model-specific register of those saved by index.
  func msr(_ index: UInt32) -> UInt64 { msrs.first { $0.index == index }?.value ?? 0 }

  /// Whether any x87 or vector register differs; what is reserved in the area may.
  fileprivate func hasOtherVectorState(than other: X86.State) -> Bool {
    // Up to MXCSR_MASK, the registers, and the components behind the header: SDM Vol. 1 §10.5.1, §13.4.
    xcr0 != other.xcr0 || xsave[..<28] != other.xsave[..<28]
      || xsave[32..<416] != other.xsave[32..<416] || xsave[576...] != other.xsave[576...]
  }

  /// Whether any register of `kvm_sregs` but the segments differs.
  fileprivate func hasOtherSystemRegisters(than other: X86.State) -> Bool {
    ldtr != other.ldtr || tr != other.tr || gdtr != other.gdtr || idtr != other.idtr
      || cr0 != other.cr0 || cr2 != other.cr2 || cr3 != other.cr3 || cr4 != other.cr4
      || cr8 != other.cr8 || efer != other.efer
  }
}

extension InstructionBytes {
  /// The first bytes in hexadecimal digits: enough to know the instruction by.
  fileprivate var opcodeText: String {
    all.prefix(4).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
