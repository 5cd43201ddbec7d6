package import Board
package import Inspection
package import Memory
package import Work

/// An instruction set, as engines know it: what the state of one of its processors is made of.
package protocol InstructionSet: Sendable {
  associatedtype State: Codable & Sendable
  /// Which model of processor the guest sees.
  associatedtype Model: Sendable
}

/// One way to execute guests: KVM, our own software processor, Hypervisor.framework, WHP, MSHV.
package protocol Engine<ISA>: Sendable {
  associatedtype ISA: InstructionSet
  func makePartition(_ plan: PartitionPlan<ISA>) throws(EngineError) -> any Partition<ISA>
}

/// What a partition is to be made of.
package struct PartitionPlan<ISA: InstructionSet>: Sendable {
  package let processors: Int
  package let model: ISA.Model
  package let clock: any VMClock
  /// Where the engine's own timers run.
  package let loop: any Loop
  /// What the engine has to say about the guest, in a sentence; from any thread, and seldom.
  package let remark: @Sendable (String) -> Void

  package init(
    processors: Int, model: ISA.Model, clock: any VMClock, loop: any Loop,
    remark: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.processors = processors
    self.model = model
    self.clock = clock
    self.loop = loop
    self.remark = remark
  }
}

/// A guest as its engine sees it: an address space, and the processors that run in it.
package protocol Partition<ISA>: AnyObject, Sendable {
  associatedtype ISA: InstructionSet
  /// Makes all regions of `memory` the guest's RAM and ROM, at their own addresses. Once, before any processor is bound.
  func map(_ memory: GuestMemory) throws(EngineError)
  /// Sets what the processors may do with a run of whole pages of the memory that was mapped; at first
  /// they may do all that its kind allows. Accesses that they may not make go to the register bus.
  ///
  /// From any thread, while processors run: done at once for the processor whose thread calls, and soon for the
  /// others. What devices reach is not changed.
  func permit(_ access: MemoryAccess, in range: GPARange) throws(EngineError)
  /// Makes the calling thread the processor's, for life.
  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<ISA>
  /// Makes the processor's `run` return `.kicked` soon, or its next `run` at once. From any thread.
  func kick(_ index: Int)
  /// Renders the processors for people: what the engine counts, and their interrupt controllers. From any thread.
  func inspect(_ node: inout Node)

  // Powers an engine may have. `nil` is an answer, not an error.
  var interruptController: (any ProcessorInterrupts)? { get }
  var dirtyPages: (any DirtyPageTracker)? { get }
  var doorbells: (any DoorbellRegistrar)? { get }
  var messageTriggers: (any MessageTriggers)? { get }
  var writeCoalescer: (any WriteCoalescer)? { get }
  var addressLine20: (any AddressLine20)? { get }
}

extension Partition {
  package var doorbells: (any DoorbellRegistrar)? { nil }
  package var messageTriggers: (any MessageTriggers)? { nil }
  package var writeCoalescer: (any WriteCoalescer)? { nil }
  package var addressLine20: (any AddressLine20)? { nil }
}

/// What processors may do with a page of memory.
package enum MemoryAccess: UInt8, Sendable, CaseIterable {
  /// Nothing: reads and writes go to the register bus.
  case none
  /// Read and execute; writes go to the register bus.
  case read
  /// All that the memory's kind allows.
  case full
}

/// The processors' own interrupt controllers, seen from the board.
///
/// Pins of `set(_:asserted:)` are those of `ProcessorPin`, the same for all processors.
package protocol ProcessorInterrupts: InterruptController, MSITarget {
  /// Who names the vector of an external interrupt (LINT0 in ExtINT mode).
  func connect(acknowledger: any InterruptAcknowledger)
  /// Who hears of ended level-triggered interrupts.
  func connect(endOfInterrupt: any EndOfInterruptListener)
}

/// Pins that the board drives on every local APIC.
package enum ProcessorPin {
  /// INTR, from the 8259 pair.
  package static let lint0: UInt32 = 0
  /// NMI.
  package static let lint1: UInt32 = 1
}

/// A processor. Not `Sendable`: the thread that bound it is the only one to touch it.
package protocol VirtualProcessor<ISA>: AnyObject {
  associatedtype ISA: InstructionSet
  /// Runs guest code until there is a decision to take. The engine carries register accesses to the
  /// buses itself, and sleeps while the processor is halted.
  func run(_ buses: inout Buses) throws(EngineError) -> Exit
  func state(of vtl: VTL) throws(EngineError) -> ISA.State
  func setState(_ state: ISA.State, of vtl: VTL) throws(EngineError)
  /// Sets where `run` is to stop for a debugger; replaces what was asked for before.
  func setDebugStops(_ stops: DebugStops) throws(EngineError)
}

/// Where a debugger wants a processor to stop. The guest sees nothing of it.
package struct DebugStops: Sendable, Equatable {
  /// After the next instruction.
  package var step = false
  /// Linear addresses of instructions, before they run. At most four.
  package var breakpoints: [UInt64] = []

  package init(step: Bool = false, breakpoints: [UInt64] = []) {
    self.step = step
    self.breakpoints = breakpoints
  }

  package static let maximumBreakpoints = 4
}

/// What only the machine's owner can decide.
package enum Exit: Sendable, Equatable {
  /// `kick` was called.
  case kicked
  /// A stop that `setDebugStops` asked for.
  case debug
  /// The processor shut down: an exception while delivering a double fault.
  case tripleFault(VTL)
}

/// The engine or its host failed.
package struct EngineError: Error, Sendable, CustomStringConvertible {
  /// One sentence: what was attempted and why it failed.
  package let description: String
  package init(_ description: String) { self.description = description }
}
