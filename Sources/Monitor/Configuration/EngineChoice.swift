package import ArchitectureX86
package import Execution
import SoftwareEngine

/// Which engine executes the guest.
package enum EngineChoice: Sendable, Equatable {
  /// Our own processor.
  case software

  /// Reads `software`, or `software:interpreter` to name its tier.
  package init(parsing text: String) throws(ConfigurationError) {
    switch text {
    case "software", "software:interpreter": self = .software
    case "kvm":
      throw ConfigurationError(
        text, "Roost cannot use KVM yet: leave the option out, or write software.")
    default: throw ConfigurationError(text, "There is no such engine: write software.")
    }
  }

  package func makeEngine() -> any Engine<X86> {
    switch self {
    case .software: SoftwareEngine()
    }
  }
}
