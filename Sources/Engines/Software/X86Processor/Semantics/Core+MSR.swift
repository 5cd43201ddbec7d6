import InterruptControllers
import ArchitectureX86
import CProcessor

// RDMSR and WRMSR. A register that is not here faults, as on hardware.

extension Core {
  func readMSR(_ index: UInt32) throws(Fault) -> UInt64 {
    guard model.features.announces(msr: index) else { throw .generalProtection() }
    switch index {
    case X86.MSR.timeStampCounter: return timeStampCounter
    case X86.MSR.tscAdjust: return tscAdjust
    case X86.MSR.apicBase, X86.MSR.tscDeadline, X86.MSR.x2apicFirst...X86.MSR.x2apicLast:
      guard let value = apic.readMSR(index) else { throw .generalProtection() }
      return value
    case X86.MSR.sysenterCS: return cpu.pointee.sysenter_cs
    case X86.MSR.sysenterESP: return cpu.pointee.sysenter_esp
    case X86.MSR.sysenterEIP: return cpu.pointee.sysenter_eip
    case X86.MSR.miscEnable: return cpu.pointee.misc_enable
    case X86.MSR.pageAttributeTable: return cpu.pointee.pat
    case X86.MSR.efer: return cpu.pointee.efer
    case X86.MSR.star: return cpu.pointee.star
    case X86.MSR.lstar: return cpu.pointee.lstar
    case X86.MSR.cstar: return cpu.pointee.cstar
    case X86.MSR.syscallMask: return cpu.pointee.syscall_mask
    case X86.MSR.fsBase: return cpu.segmentBase(4)
    case X86.MSR.gsBase: return cpu.segmentBase(5)
    case X86.MSR.kernelGSBase: return cpu.pointee.kernel_gs_base
    case X86.MSR.tscAux: return cpu.pointee.tsc_aux
    case X86.MSR.extendedSupervisorState: return 0
    default:
      guard let value = keptMSRs.read(index) else { throw .generalProtection() }
      return value
    }
  }

  func writeMSR(_ index: UInt32, _ value: UInt64) throws(Fault) {
    guard model.features.announces(msr: index) else { throw .generalProtection() }
    switch index {
    case X86.MSR.extendedSupervisorState:
      // No component is the supervisor's.
      guard value == 0 else { throw .generalProtection() }
    case X86.MSR.timeStampCounter:
      let change = value &- timeStampCounter
      tscAdjust &+= change
      setTSCOffset(tscOffset &+ change)
    case X86.MSR.tscAdjust:
      setTSCOffset(tscOffset &+ (value &- tscAdjust))
      tscAdjust = value
    case X86.MSR.apicBase, X86.MSR.tscDeadline, X86.MSR.x2apicFirst...X86.MSR.x2apicLast:
      guard apic.writeMSR(value, index) else { throw .generalProtection() }
      hasWrittenAPIC = true
      // The APIC page may have moved: cached translations know where it was.
      if index == X86.MSR.apicBase { flushTranslations(global: true) }
    case X86.MSR.sysenterCS: cpu.pointee.sysenter_cs = value & 0xffff
    case X86.MSR.sysenterESP: cpu.pointee.sysenter_esp = try canonical(value)
    case X86.MSR.sysenterEIP: cpu.pointee.sysenter_eip = try canonical(value)
    case X86.MSR.miscEnable: cpu.pointee.misc_enable = value
    case X86.MSR.pageAttributeTable:
      // Each byte is a memory type: 0, 1, 4 to 7 (SDM Vol. 3A §11.12.2).
      for entry in 0..<8 {
        let type = value >> UInt64(entry * 8) & 0xff
        guard type < 8, type != 2, type != 3 else { throw .generalProtection() }
      }
      cpu.pointee.pat = value
    case X86.MSR.efer: try setEFER(value)
    case X86.MSR.star: cpu.pointee.star = value
    case X86.MSR.lstar: cpu.pointee.lstar = try canonical(value)
    case X86.MSR.cstar: cpu.pointee.cstar = try canonical(value)
    case X86.MSR.syscallMask: cpu.pointee.syscall_mask = value & 0xffff_ffff
    case X86.MSR.fsBase: cpu.set(Slot.segmentBase &+ 32, try canonical(value))
    case X86.MSR.gsBase: cpu.set(Slot.segmentBase &+ 40, try canonical(value))
    case X86.MSR.kernelGSBase: cpu.pointee.kernel_gs_base = try canonical(value)
    case X86.MSR.tscAux: cpu.pointee.tsc_aux = value & 0xffff_ffff
    default:
      guard keptMSRs.write(index, value) else { throw .generalProtection() }
    }
  }

  /// RDMSR and WRMSR: as `readMSR` and `writeMSR`, and says once of each register that it is missing.
  func readMSRForGuest(_ index: UInt32) throws(Fault) -> UInt64 {
    do throws(Fault) {
      return try readMSR(index)
    } catch {
      noteMissingMSR(index, "read")
      throw error
    }
  }

  func writeMSRForGuest(_ index: UInt32, _ value: UInt64) throws(Fault) {
    do throws(Fault) {
      try writeMSR(index, value)
    } catch {
      // It may be the value that the register does not take.
      if (try? readMSR(index)) == nil { noteMissingMSR(index, "wrote") }
      throw error
    }
  }

  /// How many there may be: a guest may try them all.
  private static let mostMissingMSRs = 100

  private func noteMissingMSR(_ index: UInt32, _ verb: String) {
    asHost {
      guard missingMSRs.count < Self.mostMissingMSRs, missingMSRs.insert(index).inserted else {
        return
      }
      remark?(
        "Processor \(self.index) of the guest \(verb) the model-specific register 0x"
          + String(index, radix: 16) + ", which the model \(model.name) does not have.")
    }
  }

  func setTSCOffset(_ offset: UInt64) {
    tscOffset = offset
    apic.tscOffset = offset
  }

  private func canonical(_ value: UInt64) throws(Fault) -> UInt64 {
    // Also outside long mode; with five levels of paging in 57 bits.
    let shift: Int64 = cpu.pointee.cr4 & X86.CR4.linearAddress57 != 0 ? 7 : 16
    guard (Int64(bitPattern: value) &<< shift) &>> shift == Int64(bitPattern: value) else {
      throw .generalProtection()
    }
    return value
  }

  private func setEFER(_ value: UInt64) throws(Fault) {
    let features = model.features
    let writable =
      (features.hasSYSCALL ? X86.EFER.systemCall : 0)
      | (features.hasLongMode ? X86.EFER.longModeEnable : 0)
      | (features.hasNoExecute ? X86.EFER.executeDisable : 0)
    guard value & ~(writable | X86.EFER.longModeActive) == 0,
      (value ^ cpu.pointee.efer) & X86.EFER.longModeEnable == 0
        || cpu.pointee.cr0 & X86.CR0.paging == 0
    else { throw .generalProtection() }
    let changesTranslation = (value ^ cpu.pointee.efer) & X86.EFER.executeDisable != 0
    cpu.pointee.efer = value & writable | cpu.pointee.efer & X86.EFER.longModeActive
    if changesTranslation { flushTranslations(global: true) }
  }
}
