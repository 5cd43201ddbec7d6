import ArchitectureX86
import Board
import Execution
import X86Processor

/// One processor of a software partition, on the thread that bound it.
final class SoftwareProcessor: VirtualProcessor {
  typealias ISA = X86

  private let core: Core

  init(_ core: Core) {
    self.core = core
    core.becomeCurrent()
  }

  func run(_ buses: inout Buses) throws(EngineError) -> Exit { core.run(&buses) }

  func state(of vtl: VTL) throws(EngineError) -> X86.State {
    try check(vtl)
    return core.state
  }

  func setState(_ state: X86.State, of vtl: VTL) throws(EngineError) {
    try check(vtl)
    do throws(StateError) {
      try core.restore(state)
    } catch {
      throw EngineError(error.description)
    }
  }

  func setDebugStops(_ stops: DebugStops) throws(EngineError) {
    guard stops.breakpoints.count <= DebugStops.maximumBreakpoints else {
      throw EngineError(
        "a processor has \(DebugStops.maximumBreakpoints) breakpoints, not \(stops.breakpoints.count)"
      )
    }
    core.setDebugStops(stops)
  }

  private func check(_ vtl: VTL) throws(EngineError) {
    guard vtl == .zero else {
      throw EngineError("the software engine has no virtual trust level \(vtl.rawValue)")
    }
  }
}
