package import ArchitectureX86
package import Board
import InterruptControllers
package import Memory
package import Work

/// Carries out single instructions of a guest that another engine runs: those that the engine cannot run itself.
///
/// There is one for each processor, used by one thread at a time. It keeps nothing between two calls but a
/// buffer or two: the state comes and goes with every call, and translations and code are looked up anew.
package final class InstructionEmulator {
  private let core: Core
  private let localAPIC: LoneLocalAPIC

  /// How often a repeated string instruction goes on after an element, or after a page of them, within one call.
  private static let repetitions = 4096

  /// - Parameters:
  ///   - index: the processor's, and its APIC ID.
  ///   - processors: how many the machine has.
  ///   - memory: the guest's. What is written to it is noted in `dirtyPages`; no line of it is ever watched.
  ///   - rights: what the guest's processors may do with its pages; `nil`: all that the memory's kind allows.
  ///   - model: what CPUID answers and which features exist: that of the partition.
  ///   - clock: guest time, which the time-stamp counter follows.
  package init(
    index: Int, processors: Int, memory: GuestMemory, rights: PageRights? = nil,
    model: X86.CPUModel, clock: any VMClock
  ) {
    localAPIC = LoneLocalAPIC(
      id: UInt32(index), processors: processors, clock: clock, tscFrequency: model.tscFrequency,
      physicalAddressBits: model.physicalAddressBits)
    core = Core(
      index: index, memory: memory, rights: rights, apic: localAPIC.apic, model: model,
      clock: clock, keepsCode: false)
  }

  /// What an instruction left behind.
  package struct Outcome: Sendable {
    /// The processor afterwards. After a triple fault its activity is `shutdown`, after HLT `halted`; the
    /// shadow of STI and MOV SS is in `events`. Its `apic` is that of before unless `hasChangedAPIC`.
    package var state: X86.State
    /// Whether the instruction wrote to the local APIC, in its page or through an MSR or CR8, so that
    /// `state.apic` is to be taken over.
    package var hasChangedAPIC: Bool
    /// Interprocessor interrupts that the instruction sent, to be signalled to the machine's processors, this
    /// one among them. Nothing of them is in `state.apic` yet. Shorthands are expanded.
    package var messages: [MSI]
    /// Level-triggered interrupts that the instruction ended, to be told to the I/O APICs.
    package var endedInterrupts: [UInt8]
    package var isTripleFault: Bool
    /// The exception that the instruction raised, whether it was delivered or not.
    package var exception: X86.InjectedEvent?
    /// The instruction's bytes, for statistics; none if the first could not be fetched.
    package var instruction: InstructionBytes
  }

  /// Carries out exactly one instruction from `state`, or delivers the exception it raises.
  ///
  /// No interrupt, NMI or INIT is taken, whatever waits in `state`: that is the other engine's affair. A trap by
  /// TF is part of the instruction and is delivered. A repeated string instruction may end early, after some
  /// thousands of elements, with `rip` still at it: the next call, or the other engine, goes on with it. A
  /// processor that is not active executes nothing. What `events.injected` names enters its handler first; the
  /// instruction is then the handler's first.
  ///
  /// - Parameters:
  ///   - state: with `apic` set: `nil` means one as firmware leaves it.
  ///   - buses: where accesses go that do not reach memory.
  ///   - delivers: whether an exception enters its handler. If not, the state afterwards is the one in which the
  ///     processor found it: of a fault, with `rip` at the instruction.
  /// - Throws: a sentence if no processor can be in `state`; then nothing was done.
  package func execute(
    _ state: X86.State, _ buses: inout Buses, delivers: Bool = true
  ) throws(StateError) -> Outcome {
    try core.restore(state)
    core.hasWrittenAPIC = false
    core.raised = nil
    core.holdsExceptions = !delivers
    core.fetched.count = 0
    let isUp = core.runAlone(&buses, repetitions: Self.repetitions)
    let outgoing = localAPIC.takeOutgoing()
    var after = core.state
    if !core.hasWrittenAPIC, let before = state.apic { after.apic = before }
    return Outcome(
      state: after, hasChangedAPIC: core.hasWrittenAPIC, messages: outgoing.messages,
      endedInterrupts: outgoing.ended, isTripleFault: !isUp,
      exception: core.raised.map {
        X86.InjectedEvent(
          kind: .exception, vector: $0.vector,
          errorCode: $0.code.map { UInt32(truncatingIfNeeded: $0) })
      }, instruction: core.fetched)
  }
}
