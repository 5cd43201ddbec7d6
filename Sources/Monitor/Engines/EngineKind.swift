package import ArchitectureX86
package import Execution
package import KVM
import SoftwareEngine

/// An engine of this Roost.
///
/// Microsoft's hypervisor (`/dev/mshv`) will be the third; nothing but this list and the choice knows them by
/// name.
package enum EngineKind: String, Sendable, CaseIterable {
  case kvm
  /// Our own processor, which makes host code of hot code where the host can run it.
  case software
  /// Our own processor, which interprets all code.
  case interpreter = "software:interpreter"

  /// Opens what the engine needs of the host.
  package func makeEngine() throws(KVMUnavailable) -> any Engine<X86> {
    switch self {
    case .kvm: try KVMEngine()
    case .software: SoftwareEngine()
    case .interpreter: SoftwareEngine(tier: .interpreter)
    }
  }

  /// Where a machine goes that is to leave this engine.
  package var other: EngineKind {
    switch self {
    case .kvm: .software
    case .software, .interpreter: .kvm
    }
  }
}
