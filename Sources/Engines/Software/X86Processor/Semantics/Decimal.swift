import ArchitectureX86
import CProcessor

// DAA, DAS, AAA, AAS, AAM, AAD, BOUND, ARPL: not in 64-bit mode. SDM Vol. 2A.

enum Legacy {
  /// DAA, DAS: `detail` 0 or 1.
  static let decimalAdjust: Handler = { cpu, op in
    let isSubtraction = op.pointee.detail == 1
    let old = cpu.get(Slot.rax, UInt8.self)
    let oldCarry = cpu.carryFlag
    let low = old & 0xf > 9 || cpu.auxiliaryFlag
    let high = old > 0x99 || oldCarry
    var al = old
    var carry = false
    if low {
      carry = oldCarry || (isSubtraction ? old < 6 : old > 0xf9)
      al = isSubtraction ? al &- 6 : al &+ 6
    }
    if high {
      al = isSubtraction ? al &- 0x60 : al &+ 0x60
      carry = true
    } else if !isSubtraction {
      carry = false
    }
    cpu.set(Slot.rax, al)
    cpu.setFlags(result: al, carry: carry, overflow: false)
    if low { cpu.pointee.flag_carry |= 8 }
    return next(cpu, op)
  }

  /// AAA, AAS: `detail` 0 or 1.
  static let asciiAdjust: Handler = { cpu, op in
    let adjusts = cpu.get(Slot.rax, UInt8.self) & 0xf > 9 || cpu.auxiliaryFlag
    var ax = cpu.get(Slot.rax, UInt16.self)
    if adjusts { ax = op.pointee.detail == 0 ? ax &+ 0x106 : ax &- 0x106 }
    cpu.set(Slot.rax, ax & 0xff0f)
    cpu.setFlags(result: UInt8(truncatingIfNeeded: ax & 0xf), carry: adjusts, overflow: false)
    if adjusts { cpu.pointee.flag_carry |= 8 }
    return next(cpu, op)
  }

  static let asciiAdjustAfterMultiply: Handler = { cpu, op in
    let base = UInt8(truncatingIfNeeded: op.pointee.immediate)
    guard base != 0 else { return raise(cpu, op, X86.Exception.divideError) }
    let al = cpu.get(Slot.rax, UInt8.self)
    cpu.set(Slot.rax &+ 1, al / base)
    cpu.set(Slot.rax, al % base)
    cpu.setLogicFlags(al % base)
    return next(cpu, op)
  }

  static let asciiAdjustBeforeDivide: Handler = { cpu, op in
    let base = UInt8(truncatingIfNeeded: op.pointee.immediate)
    let al = cpu.get(Slot.rax, UInt8.self) &+ cpu.get(Slot.rax &+ 1, UInt8.self) &* base
    cpu.set(Slot.rax, UInt16(al))
    cpu.setLogicFlags(al)
    return next(cpu, op)
  }

  /// BOUND: the index is `source`, the bounds are temporaries 0 and 1; `detail` is the operand size.
  static let bound: Handler = { cpu, op in
    let outside: Bool
    if op.pointee.detail == 1 {
      let index = cpu.get(op.pointee.source, UInt16.self).signed
      outside =
        index < cpu.get(Slot.temporary, UInt16.self).signed
        || index > cpu.get(Slot.temporary1, UInt16.self).signed
    } else {
      let index = cpu.get(op.pointee.source, UInt32.self).signed
      outside =
        index < cpu.get(Slot.temporary, UInt32.self).signed
        || index > cpu.get(Slot.temporary1, UInt32.self).signed
    }
    if outside { return raise(cpu, op, X86.Exception.boundRange) }
    return next(cpu, op)
  }

  /// ARPL on a slot.
  static let adjustPrivilege: Handler = { cpu, op in
    let selector = cpu.get(op.pointee.destination, UInt16.self)
    let wanted = cpu.get(op.pointee.source, UInt16.self) & 3
    cpu.setZeroAlone(selector & 3 < wanted)
    if selector & 3 < wanted { cpu.set(op.pointee.destination, selector & ~3 | wanted) }
    return next(cpu, op)
  }
}

extension Translator {
  mutating func decimalAdjust(_ opcode: UInt8) -> Flow {
    guard i.mode != .bits64 else { return undefined() }
    emit(
      opcode < 0x30 ? Legacy.decimalAdjust : Legacy.asciiAdjust, detail: opcode & 8 != 0 ? 1 : 0)
    return .sequential
  }

  mutating func asciiAdjust(_ opcode: UInt8) -> Flow {
    guard i.mode != .bits64 else { return undefined() }
    emit(
      opcode == 0xd4 ? Legacy.asciiAdjustAfterMultiply : Legacy.asciiAdjustBeforeDivide,
      immediate: i.immediate & 0xff)
    return .sequential
  }

  mutating func bound() -> Flow {
    guard i.mode != .bits64, i.isMemory else { return undefined() }
    let log2 = i.operandLog2
    emit(Loads.plain[log2], d: Slot.temporary)
    emit(Loads.plain[log2], d: Slot.temporary1, displacedBy: Int32(1 << log2))
    emit(Legacy.bound, s: Slot.register(i.reg), detail: UInt8(log2))
    return .sequential
  }

  mutating func adjustPrivilege() -> Flow {
    let register = Slot.register(i.reg)
    emit(SystemInstructions.protectedNothing)
    modifyRM(1) { $0.emit(Legacy.adjustPrivilege, d: $1, s: register) }
    return .sequential
  }
}
