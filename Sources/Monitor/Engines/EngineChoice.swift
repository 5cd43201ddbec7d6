/// Which engine the user asks for.
package enum EngineChoice: Sendable, Equatable, CaseIterable {
  /// KVM where it runs all of a guest natively; elsewhere our own processor.
  case auto
  /// KVM where it runs guests at all; elsewhere our own processor.
  case autoAnyKVM
  case kvm
  case software
  /// Our own processor without its translator.
  case interpreter

  /// Whether Roost looks at the host to settle it.
  package var isAutomatic: Bool { self == .auto || self == .autoAnyKVM }

  /// Reads an engine's name.
  package init(parsing text: String) throws(ConfigurationError) {
    switch text {
    case "auto": self = .auto
    case "auto:any-kvm": self = .autoAnyKVM
    case "kvm": self = .kvm
    case "software", "software:translator": self = .software
    case "software:interpreter": self = .interpreter
    default:
      throw ConfigurationError(
        text,
        "There is no such engine: write auto, auto:any-kvm, kvm, software or software:interpreter.")
    }
  }
}
