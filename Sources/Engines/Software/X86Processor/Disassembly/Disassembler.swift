package import ArchitectureX86
import CProcessor

/// One instruction as text.
package struct Disassembly: Sendable, Equatable {
  /// In bytes, prefixes included.
  package var length: Int
  /// "lock", "rep", "repe" or "repne", where they mean something.
  package var prefixes: [String]
  /// The SDM's mnemonic in lower case.
  package var mnemonic: String
  /// In the order of the SDM: the destination first.
  package var operands: [String]

  /// The whole in Intel's syntax.
  package var text: String {
    (prefixes + [mnemonic]).joined(separator: " ")
      + (operands.isEmpty ? "" : " " + operands.joined(separator: ", "))
  }
}

/// Why bytes have no text.
package enum DisassemblyError: Error, Sendable, Equatable {
  /// More bytes are needed than there are.
  case truncated
  /// Longer than 15 bytes: #GP (SDM Vol. 2A §2.3.11).
  case tooLong
  /// No instruction in this mode, or of this model: #UD.
  case undefined
}

/// Says in text what bytes would do: the processor's own decoder and translator, with a table of names.
///
/// A value without state; any thread may use it.
package struct Disassembler: Sendable {
  private let mode: CodeMode
  private let features: X86.Features

  /// - Parameter model: the processor whose instructions are legal.
  package init(mode: CodeMode, model: X86.CPUModel) {
    self.init(mode: mode, features: model.features)
  }

  package init(mode: CodeMode, features: X86.Features) {
    self.mode = mode
    self.features = features
  }

  /// The instruction at the start of `bytes`, which lie at `address`: branches name where they lead.
  package func disassemble(
    _ bytes: [UInt8], at address: UInt64 = 0
  ) throws(DisassemblyError) -> Disassembly {
    let instruction = try Self.decode(bytes, mode)
    guard let row = InstructionTable.all.row(of: instruction) else { throw .undefined }
    var mnemonic = row.mnemonic(of: instruction)
    guard isDefined(instruction) || ["ud0", "ud1", "ud2"].contains(mnemonic) else {
      throw .undefined
    }
    // Without the feature, the older instruction of the same opcode.
    if mnemonic == "tzcnt", !features.hasBMI1 { mnemonic = "bsf" }
    if mnemonic == "lzcnt", !features.hasLZCNT { mnemonic = "bsr" }
    let text = OperandText(instruction, address)
    return Disassembly(
      length: Int(instruction.length), prefixes: prefixes(of: instruction), mnemonic: mnemonic,
      operands: row.operands.compactMap(text.operand))
  }

  private static func decode(
    _ bytes: [UInt8], _ mode: CodeMode
  ) throws(DisassemblyError) -> Instruction {
    let decoded = bytes.withUnsafeBytes { bytes in
      do throws(DecodeError) {
        return Result<Instruction, DisassemblyError>.success(
          try Decoder.decode(bytes, mode: mode))
      } catch {
        return .failure(error == .truncated ? .truncated : .tooLong)
      }
    }
    return try decoded.get()
  }

  /// Whether the translator makes anything of it but #UD.
  func isDefined(_ instruction: Instruction) -> Bool {
    withUnsafeTemporaryAllocation(of: x86_op.self, capacity: 4 * Translator.stepsPerInstruction) {
      guard let ops = $0.baseAddress else { return false }
      var translator = Translator(into: ops, capacity: $0.count)
      translator.features = features
      _ = translator.translate(instruction, at: 0)
      let undefined = unsafeBitCast(raiseInvalidOpcode, to: UInt.self)
      return !(0..<translator.count).contains {
        unsafeBitCast(ops[$0].run, to: UInt.self) == undefined
      }
    }
  }

  /// Those that the instruction heeds.
  private func prefixes(of i: Instruction) -> [String] {
    var prefixes = i.hasLock ? ["lock"] : []
    guard i.map == .oneByte, i.repeatPrefix != 0 else { return prefixes }
    switch i.opcode {
    case 0xa6, 0xa7, 0xae, 0xaf: prefixes.append(i.repeatPrefix == 0xf3 ? "repe" : "repne")
    case 0x6c...0x6f, 0xa4, 0xa5, 0xaa...0xad:
      prefixes.append(i.repeatPrefix == 0xf3 ? "rep" : "repne")
    default: break
    }
    return prefixes
  }
}
