package import ArchitectureX86
package import Execution
package import SameISA

/// Executes x86 guests on a processor of our own: no hardware virtualization needed.
package struct SoftwareEngine: Engine {
  package typealias ISA = X86

  /// The most processors that a partition may have: APIC IDs are 8 bits in xAPIC mode, and 255 is a broadcast.
  package static let maximumProcessors = 255

  /// How far it goes to make code run fast.
  package enum Tier: Sendable {
    /// Decodes each instruction once, and interprets it.
    case interpreter
    /// Makes host code of what runs often. Hosts other than x86-64, and those that forbid code to be made, keep to the
    /// interpreter; `inspect` tells.
    case translator
    /// Makes host code of what runs, and checks it against the interpreter: one processor, on x86-64 hosts. `isExact`
    /// compares all status flags everywhere, and so not that those are kept at which somebody looks.
    case comparison(ComparisonRecord, isExact: Bool)
  }

  private let tier: Tier

  package init(tier: Tier = .translator) { self.tier = tier }

  package func makePartition(
    _ plan: PartitionPlan<X86>
  ) throws(EngineError) -> any Partition<X86> {
    guard (1...Self.maximumProcessors).contains(plan.processors) else {
      throw EngineError(
        "the software engine runs 1 to \(Self.maximumProcessors) processors, not \(plan.processors)"
      )
    }
    if case .comparison = tier, plan.processors != 1 {
      throw EngineError("host code is compared on one processor, not on \(plan.processors)")
    }
    return SoftwarePartition(plan, tier)
  }
}
