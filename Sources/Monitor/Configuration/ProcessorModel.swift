package import ArchitectureX86

/// The models of processor that a machine may have.
package enum ProcessorModel {
  /// Their names, for a sentence.
  private static var names: String { X86.CPUModel.all.map(\.name).joined(separator: " or ") }

  /// Reads a model's name.
  package static func parse(_ name: String) throws(ConfigurationError) -> X86.CPUModel {
    guard let model = X86.CPUModel.all.first(where: { $0.name == name }) else {
      throw ConfigurationError(name, "There is no such processor model: write \(names).")
    }
    return model
  }
}
