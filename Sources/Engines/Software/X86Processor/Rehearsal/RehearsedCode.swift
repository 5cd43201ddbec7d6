import ArchitectureX86
package import CProcessor

/// Instructions as threaded code of which each leads back to whoever runs it: for `Rehearsal`.
package final class RehearsedCode {
  private let ops: UnsafeMutablePointer<x86_op>
  private var starts: [Int] = []

  /// - Parameter instructions: each with its offset in the page where it lies whole, for the core as it is.
  package init(_ instructions: [(offset: Int, instruction: Instruction)], for core: Core) {
    let capacity = (instructions.count + 2) * (Translator.stepsPerInstruction + 1)
    ops = .allocate(capacity: capacity)
    var translator = Translator(into: ops, capacity: capacity)
    translator.vectorDisabled = core.isVectorDisabled
    translator.features = core.model.features
    for (offset, instruction) in instructions {
      starts.append(translator.count)
      if case .sequential = translator.translate(instruction, at: offset) {
        translator.appendLink(lookUpHere, at: offset + Int(instruction.length))
      }
    }
  }

  deinit { ops.deallocate() }

  /// The first op of an instruction, by its number.
  package func op(_ number: Int) -> UnsafePointer<x86_op> { UnsafePointer(ops + starts[number]) }
}
