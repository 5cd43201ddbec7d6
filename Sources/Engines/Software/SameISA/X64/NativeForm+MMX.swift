import ArchitectureX86
import X86Processor

// Instructions on MMX registers: the rows without a prefix of SDM Vol. 2D Tables. Where the x87 FPU's state is,
// theirs is. Left to the interpreter are MASKMOVQ, and what moves or converts between MMX and XMM registers.

extension NativeForm {
  /// The form of an instruction of 64-bit mode that the interpreter does not hold for undefined.
  static func mmx(_ i: Instruction, host: X86.Features) -> NativeForm? {
    guard i.vex == nil, !i.hasLock, i.mandatoryPrefix == 0 else { return nil }
    var form = NativeForm()
    form.uses = .x87
    switch i.map {
    case .oneByte: return nil
    case .twoByte: return form.nameMMX(i) ? form : nil
    case .threeByte38:
      guard host.hasSSSE3, 0x00...0x0b ~= i.opcode || 0x1c...0x1e ~= i.opcode else { return nil }
    case .threeByte3A: guard host.hasSSSE3, i.opcode == 0x0f else { return nil }  // PALIGNR
    }
    form.combine(bytes: 8)
    return form
  }

  /// ModRM.reg ← ModRM.reg, ModRM.rm.
  private mutating func combine(bytes: Int) {
    (reg, rm, memoryBytes) = (.modifies(.x87), .reads(.x87), bytes)
  }

  private mutating func nameMMX(_ i: Instruction) -> Bool {
    let general = i.rex & 8 != 0 ? 8 : 4
    switch i.opcode {
    case 0x77: break  // EMMS
    case 0x60...0x62: combine(bytes: 4)
    case 0x63...0x6b, 0x74...0x76, 0xd1...0xd5, 0xd8...0xe5, 0xe8...0xef, 0xf1...0xf6, 0xf8...0xfe:
      combine(bytes: 8)
    case 0x6e: (reg, rm, memoryBytes) = (.writes(.x87), .reads(.general), general)
    case 0x7e: (reg, rm, memoryBytes) = (.reads(.x87), .writes(.general), general)
    case 0x6f, 0x70: (reg, rm, memoryBytes) = (.writes(.x87), .reads(.x87), 8)
    case 0x7f: (reg, rm, memoryBytes) = (.reads(.x87), .writes(.x87), 8)
    case 0xe7 where i.isMemory: (reg, rm, memoryBytes) = (.reads(.x87), .writes(.x87), 8)
    case 0x71...0x73 where !i.isMemory: rm = .modifies(.x87)
    case 0xc4: (reg, rm, memoryBytes) = (.modifies(.x87), .reads(.general), 2)
    case 0xc5 where !i.isMemory, 0xd7 where !i.isMemory:
      (reg, rm) = (.writes(.general), .reads(.x87))
    default: return false
    }
    return true
  }
}
