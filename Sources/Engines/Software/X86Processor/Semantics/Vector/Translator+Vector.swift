import ArchitectureX86
import CProcessor

/// Instructions on XMM and MMX registers in the two-byte map. SDM Vol. 2D Table A-3; the rows of a cell
/// are `Instruction.mandatoryPrefix`: none, 66, F3, F2.
extension Translator {
  /// - Returns: `nil` if the instruction is none of these.
  mutating func vectorTwoByte() -> Flow? {
    if i.opcode == 0xae { return vectorControl() }
    if usesMMX {
      emitAvailability(VectorAvailability.requireMMX)
      return i.opcode == 0x77 ? emptyMMX() : mmx()
    }
    emitAvailability(VectorAvailability.requireSSE)
    return vectorMove() ?? vectorFloat() ?? vectorConversion() ?? vectorInteger()
      ?? mmxExchange()
  }

  /// Whether all operands are MMX (and general) registers.
  private var usesMMX: Bool {
    switch (i.mandatoryPrefix, i.opcode) {
    case (0, 0x60...0x7f), (0, 0xc4), (0, 0xc5), (0, 0xd0...0xff): true
    default: false
    }
  }

  /// In code decoded while CR0 or CR4 forbid vector instructions: asks them when the instruction runs.
  mutating func emitAvailability(_ check: Handler) {
    if vectorDisabled, i.vex == nil { emit(check) }
  }

  // MARK: - Operands

  /// The index of the register that is the r/m operand, or of the scratch it is loaded into.
  mutating func vectorSource(_ load: MemoryHandlers) -> UInt8 {
    guard i.isMemory else { return i.rm }
    emit(load, d: VectorScratch.source)
    return VectorScratch.source
  }

  /// An instruction whose destination is the register operand. `load` tells how a memory operand is loaded
  /// that is not as long as the register.
  mutating func vector(_ handler: Handler, _ load: MemoryHandlers? = nil) -> Flow {
    if i.vex != nil { return vexSibling(handler, load) }
    let source = vectorSource(load ?? VectorLoads.aligned)
    emit(handler, d: i.reg, s: source, immediate: i.immediate & 0xff)
    return .sequential
  }
}
