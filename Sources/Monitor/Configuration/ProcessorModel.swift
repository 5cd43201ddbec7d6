package import ArchitectureX86
import KVM

/// The models of processor that a machine may have.
package enum ProcessorModel {
  /// Their names, for a sentence.
  package static var names: String {
    X86.CPUModel.all.map(\.name).joined(separator: ", ") + " or host"
  }

  /// Reads a model's name.
  ///
  /// `host` stands for the last of them whose instructions the host's processor has. The machine is then of that
  /// model, also where it goes on.
  package static func parse(_ name: String) throws(ConfigurationError) -> X86.CPUModel {
    if name == "host" { return X86.CPUModel.all.last(where: \.isWithinHost) ?? .x86_64v1 }
    guard let model = X86.CPUModel.all.first(where: { $0.name == name }) else {
      throw ConfigurationError(name, "There is no such processor model: write \(names).")
    }
    return model
  }
}
