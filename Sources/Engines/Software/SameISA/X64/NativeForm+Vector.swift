import ArchitectureX86
import X86Processor

/// Forms of instructions on XMM and YMM registers, of `VectorEntry`'s tables.
extension NativeForm {
  /// The form of an instruction of SSE to SSE4.2, AES, PCLMULQDQ, SHA, AVX, AVX2, FMA and F16C, in 64-bit mode.
  ///
  /// "Written" is what the instruction may write: the upper half of a YMM register outlives whatever has no VEX
  /// prefix. Registers that no field of the encoding names are not in the form: XMM0 as a mask or as SHA's third
  /// operand, the register in an immediate's upper half, and what PCMPESTRI and its kin read of RAX and RDX and
  /// write to RCX or XMM0.
  ///
  /// - Parameters:
  ///   - i: an instruction that the interpreter does not hold for undefined.
  ///   - guest: what the guest's model announces.
  ///   - host: what the host's processor has, and its operating system has enabled.
  /// - Returns: `nil` if the interpreter has to do it.
  static func vector(
    _ i: Instruction, guest: X86.Features, host: X86.Features
  ) -> NativeForm? {
    guard i.mode == .bits64, !i.hasLock, !i.hasAddressSizePrefix else { return nil }
    // 66 beside F2 or F3 means nothing to instructions for which they are part of the opcode: SDM Vol. 2A §2.1.1.
    guard i.repeatPrefix == 0 || !i.hasOperandSizePrefix, let entry = VectorEntry.of(i) else {
      return nil
    }
    guard entry.isAnnounced(by: guest, for: i), entry.isAnnounced(by: host, for: i) else {
      return nil
    }
    switch entry.place {
    case .any: break
    case .memory: guard i.isMemory else { return nil }
    case .register: guard !i.isMemory else { return nil }
    }
    guard let vex = i.vex else { return NativeForm(entry, bytes: entry.short, of: i) }
    guard !vex.isInvalid, entry.permits(vex) else { return nil }
    return NativeForm(entry, bytes: vex.isWide ? entry.wide : entry.short, of: i)
  }

  /// `nil` if there is no such instruction on vectors of that length.
  private init?(_ entry: VectorEntry, bytes: Int?, of i: Instruction) {
    guard let bytes else { return nil }
    uses = .vectors
    name(entry.operands, isVEX: i.vex != nil)
    if entry.operands == .compare { flagsWritten = .all }
    guard i.isMemory else { return }
    memoryBytes = bytes
    alignment = entry.alignment(bytes: bytes, isVEX: i.vex != nil)
  }

  /// SDM Vol. 2A §3.1.1.4 "Operand Encoding Column in the Instruction Summary Table".
  private mutating func name(_ operands: VectorEntry.Operands, isVEX: Bool) {
    switch operands {
    case .nothing: break
    case .load: (reg, rm) = (.writes(.vector), .reads(.vector))
    case .store: (reg, rm) = (.reads(.vector), .writes(.vector))
    case .compare: (reg, rm) = (.reads(.vector), .reads(.vector))
    case .combine: (reg, vvvv, rm) = (.modifies(.vector), .none, .reads(.vector))
    case .combineIntoRM: (rm, vvvv, reg) = (.modifies(.vector), .none, .reads(.vector))
    case .combineGeneral: (reg, vvvv, rm) = (.modifies(.vector), .none, .reads(.general))
    case .accumulate:
      (reg, vvvv, rm) = (.modifies(.vector), .reads(.vector), .reads(.vector))
    case .shift: rm = isVEX ? .reads(.vector) : .modifies(.vector)
    case .toGeneral: (reg, rm) = (.writes(.general), .reads(.vector))
    case .extract: (reg, rm) = (.reads(.vector), .writes(.general))
    case .fromGeneral: (reg, rm) = (.writes(.vector), .reads(.general))
    }
    guard isVEX else { return }
    // With VEX, the first source is a register of its own: SDM Vol. 1 §14.1.2.
    switch operands {
    case .combine, .combineGeneral: (reg, vvvv) = (.writes(.vector), .reads(.vector))
    case .combineIntoRM: (rm, vvvv) = (.writes(.vector), .reads(.vector))
    case .shift: vvvv = .writes(.vector)
    default: break
    }
  }
}
