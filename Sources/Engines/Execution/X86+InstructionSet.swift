package import ArchitectureX86

extension X86: InstructionSet {
  package typealias Model = CPUModel
}
