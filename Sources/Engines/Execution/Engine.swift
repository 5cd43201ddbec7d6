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

  package init(processors: Int, model: ISA.Model, clock: any VMClock, loop: any Loop) {
    self.processors = processors
    self.model = model
    self.clock = clock
    self.loop = loop
  }
}

/// A guest as its engine sees it: an address space, and the processors that run in it.
package protocol Partition<ISA>: AnyObject, Sendable {
  associatedtype ISA: InstructionSet
  /// Makes all regions of `memory` the guest's RAM and ROM, at their own addresses. Once, before any processor is bound.
  func map(_ memory: GuestMemory) throws(EngineError)
  /// Makes the calling thread the processor's, for life.
  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<ISA>
  /// Makes the processor's `run` return `.kicked` soon, or its next `run` at once. From any thread.
  func kick(_ index: Int)
  /// Renders the processors for people: what the engine counts, and their interrupt controllers. From any thread.
  func inspect(_ node: inout Node)

  // Powers an engine may have. `nil` is an answer, not an error.
  var interruptController: (any ProcessorInterrupts)? { get }
  var dirtyPages: (any DirtyPageTracker)? { get }
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

/// Which pages the guest or a device wrote.
package protocol DirtyPageTracker: AnyObject, Sendable {
  func start()
  func stop()
  /// Indices (`GuestMemory.address(ofPage:)`) of the pages written since the last collection. From any thread.
  func collect() -> [Int]
}

/// A processor. Not `Sendable`: the thread that bound it is the only one to touch it.
package protocol VirtualProcessor<ISA>: AnyObject {
  associatedtype ISA: InstructionSet
  /// Runs guest code until there is a decision to take. The engine carries register accesses to the
  /// buses itself, and sleeps while the processor is halted.
  func run(_ buses: inout Buses) throws(EngineError) -> Exit
  func state(of vtl: VTL) throws(EngineError) -> ISA.State
  func setState(_ state: ISA.State, of vtl: VTL) throws(EngineError)
}

/// What only the machine's owner can decide.
package enum Exit: Sendable, Equatable {
  /// `kick` was called.
  case kicked
  /// A breakpoint or a step that the owner asked for.
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
