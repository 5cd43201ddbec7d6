import ArchitectureX86
import Board
import Execution
import HostOS
import Inspection
import Memory
import Synchronization

/// An engine whose processors run a Swift closure in place of guest code: for tests of what is around it.
struct FakeEngine: Engine {
  typealias ISA = X86
  /// Called over and over while a processor runs; answers an exit to leave by.
  typealias Program = @Sendable (_ processor: Int, inout Buses) throws(EngineError) -> Exit?
  let program: Program

  init(_ program: @escaping Program = { (_, _) throws(EngineError) in nil }) {
    self.program = program
  }

  func makePartition(_ plan: PartitionPlan<X86>) throws(EngineError) -> any Partition<X86> {
    FakePartition(processors: plan.processors, program)
  }
}

private final class FakePartition: Partition {
  typealias ISA = X86
  private let program: FakeEngine.Program
  private let kicks: [Kick]
  private let pins = FakeInterrupts()

  init(processors: Int, _ program: @escaping FakeEngine.Program) {
    self.program = program
    kicks = (0..<processors).map { _ in Kick() }
  }

  func map(_ memory: GuestMemory) throws(EngineError) {}
  func permit(_ access: MemoryAccess, in range: GPARange) throws(EngineError) {}
  func kick(_ index: Int) { kicks[index].raise() }
  func inspect(_ node: inout Node) {}

  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<X86> {
    FakeProcessor(index, kicks[index], program)
  }

  var interruptController: (any ProcessorInterrupts)? { pins }
  var dirtyPages: (any DirtyPageTracker)? { nil }
}

private final class Kick: Sendable {
  private let isRaised = Atomic<Bool>(false)
  let event = Event()

  func raise() {
    isRaised.store(true, ordering: .releasing)
    event.signal()
  }

  func take() -> Bool { isRaised.exchange(false, ordering: .acquiringAndReleasing) }
}

private final class FakeProcessor: VirtualProcessor {
  typealias ISA = X86
  private let index: Int
  private let kick: Kick
  private let program: FakeEngine.Program
  private var state: X86.State

  init(_ index: Int, _ kick: Kick, _ program: @escaping FakeEngine.Program) {
    self.index = index
    self.kick = kick
    self.program = program
    state = .powerOn(isBootProcessor: index == 0)
  }

  func setDebugStops(_ stops: DebugStops) throws(EngineError) {}

  func run(_ buses: inout Buses) throws(EngineError) -> Exit {
    while !kick.take() {
      if let exit = try program(index, &buses) { return exit }
      kick.event.wait(until: HostClock.now.advanced(by: 200_000))
    }
    return .kicked
  }

  func state(of vtl: VTL) throws(EngineError) -> X86.State { state }
  func setState(_ state: X86.State, of vtl: VTL) throws(EngineError) { self.state = state }
}

private final class FakeInterrupts: ProcessorInterrupts {
  func set(_ pin: UInt32, asserted: Bool) {}
  func signal(_ message: MSI, from requester: UInt16) {}
  func connect(acknowledger: any InterruptAcknowledger) {}
  func connect(endOfInterrupt: any EndOfInterruptListener) {}
}

extension X86.State {
  /// SDM Vol. 3A Table 10-1, as far as these tests care.
  static func powerOn(isBootProcessor: Bool) -> X86.State {
    let data = X86.Segment(selector: 0, base: 0, limit: 0xffff, attributes: 0x93)
    var segments = [X86.Segment](repeating: data, count: 6)
    segments[X86.SegmentRegister.cs.rawValue] = X86.Segment(
      selector: 0xf000, base: 0xffff_0000, limit: 0xffff, attributes: 0x9b)
    return X86.State(
      registers: [UInt64](repeating: 0, count: 16), rip: 0xfff0, rflags: 2, segments: segments,
      ldtr: data, tr: data, gdtr: X86.Table(base: 0, limit: 0xffff),
      idtr: X86.Table(base: 0, limit: 0xffff), cr0: 0x6000_0010, cr2: 0, cr3: 0, cr4: 0, cr8: 0,
      debug: [UInt64](repeating: 0, count: 6), efer: 0, xcr0: 1, msrs: [],
      xsave: [UInt8](repeating: 0, count: 576), tsc: 0,
      activity: isBootProcessor ? .active : .waitForSIPI, events: X86.PendingEvents(), apic: nil)
  }
}
