import ArchitectureX86
import CProcessor

// ADX, RDRAND, RDSEED, RDPID, the bases of FS and GS, SALC: SDM Vol. 2.

// MARK: - ADCX, ADOX

/// The carry comes from one flag and goes to it; `overflow`: OF instead of CF.
@inline(__always)
private func addChain<T: Width>(_: T.Type, overflow: Bool, _ cpu: CPU, _ op: Op) {
  let a = cpu.get(op.pointee.destination, T.self)
  let carry: T = (overflow ? cpu.overflowFlag : cpu.carryFlag) ? 1 : 0
  let (half, first) = a.addingReportingOverflow(cpu.get(op.pointee.source, T.self))
  let (sum, second) = half.addingReportingOverflow(carry)
  let out = first || second
  let flag = overflow ? X86.Flags.overflow : X86.Flags.carry
  cpu.statusFlags = cpu.statusFlags & ~flag | (out ? flag : 0)
  cpu.set(op.pointee.destination, sum)
  return next(cpu, op)
}

private let carryChains: [Handler] = [
  { addChain(UInt32.self, overflow: false, $0, $1) },
  { addChain(UInt64.self, overflow: false, $0, $1) },
]
private let overflowChains: [Handler] = [
  { addChain(UInt32.self, overflow: true, $0, $1) },
  { addChain(UInt64.self, overflow: true, $0, $1) },
]

// MARK: - RDRAND, RDSEED

/// The host always has random bits: CF is set and the other status flags are clear.
@inline(__always)
private func random<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(op.pointee.destination, T(truncatingIfNeeded: x86_random()))
  cpu.statusFlags = X86.Flags.carry
  return next(cpu, op)
}

private let randomNumbers: [Handler] = [
  { random(UInt16.self, $0, $1) }, { random(UInt16.self, $0, $1) },
  { random(UInt32.self, $0, $1) }, { random(UInt64.self, $0, $1) },
]

// MARK: - RDPID, RDFSBASE and its kin, SALC

enum Additional {
  static let readProcessorID: Handler = { cpu, op in
    cpu.set(op.pointee.destination, cpu.pointee.tsc_aux)
    return next(cpu, op)
  }

  /// `source` is the segment base's slot, `detail` the operand size.
  static let readBase: Handler = { cpu, op in
    guard cpu.pointee.cr4 & X86.CR4.fsgsbase != 0 else {
      return raise(cpu, op, X86.Exception.invalidOpcode)
    }
    cpu.set(
      op.pointee.destination, cpu.get(op.pointee.source, UInt64.self),
      log2: Int(op.pointee.detail))
    return next(cpu, op)
  }

  /// `destination` is the segment base's slot.
  static let writeBase: Handler = { cpu, op in
    guard cpu.pointee.cr4 & X86.CR4.fsgsbase != 0 else {
      return raise(cpu, op, X86.Exception.invalidOpcode)
    }
    let value =
      op.pointee.detail == 3
      ? cpu.get(op.pointee.source, UInt64.self) : UInt64(cpu.get(op.pointee.source, UInt32.self))
    guard (Int64(bitPattern: value) &<< 16) &>> 16 == Int64(bitPattern: value) else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    cpu.set(op.pointee.destination, value)
    return next(cpu, op)
  }

  /// SALC: AL becomes CF's mask. AMD and Intel processors have it outside 64-bit mode.
  static let setALOnCarry: Handler = { cpu, op in
    cpu.set(Slot.rax, cpu.carryFlag ? 0xff as UInt8 : 0)
    return next(cpu, op)
  }
}

// MARK: - Translation

extension Translator {
  /// 0F 38 F6 with 66 or F3.
  mutating func addWithChain() -> Flow? {
    let chains: [Handler]
    switch i.mandatoryPrefix {
    case 0x66: chains = carryChains
    case 0xf3: chains = overflowChains
    default: return nil
    }
    let log2 = i.rex & 8 != 0 ? 3 : 2
    emit(chains[log2 - 2], d: Slot.register(i.reg), s: rmSource(log2))
    return .sequential
  }

  /// 0F C7 with a register: /6 RDRAND, /7 RDSEED, and with F3 RDPID.
  mutating func randomOrIdentity() -> Flow? {
    switch (i.repeatPrefix, i.extension3) {
    case (0xf3, 7) where features.hasRDPID:
      emit(Additional.readProcessorID, d: Slot.register(i.rm))
    case (0, 6) where features.hasRDRAND, (0, 7) where features.hasRDSEED:
      emit(randomNumbers[i.operandLog2], d: Slot.register(i.rm))
    default: return nil
    }
    return .sequential
  }

  /// F3 0F AE /0 to /3 with a register: RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE.
  mutating func segmentBase() -> Flow? {
    guard features.hasFSGSBASE, i.mode == .bits64, i.repeatPrefix == 0xf3, i.extension3 < 4 else {
      return nil
    }
    let base = Slot.segmentBase + 32 + (i.extension3 & 1) * 8
    let register = Slot.register(i.rm)
    let log2: UInt8 = i.rex & 8 != 0 ? 3 : 2
    if i.extension3 < 2 {
      emit(Additional.readBase, d: register, s: base, detail: log2)
    } else {
      emit(Additional.writeBase, d: base, s: register, detail: log2)
    }
    return .sequential
  }
}
