import Bits
import Work
import InterruptControllers
package import ArchitectureX86
import CProcessor

// The processor's state as it leaves and enters the engine.

extension Core {
  /// Between two calls of `run`.
  package var state: X86.State {
    var events = X86.PendingEvents()
    events.interruptShadow = cpu.pointee.interrupt_shadow != 0
    events.nmiPending = apic.isNMIPending
    events.nmiBlocked = nmiBlocked
    events.injected = injected
    return X86.State(
      registers: (0..<16).map { cpu.get(UInt8($0 * 8)) },
      rip: codeOffset(cpu.pointee.rip), rflags: cpu.rflags,
      segments: (0..<6).map { segment in
        X86.Segment(
          selector: cpu.selector(segment), base: cpu.keptBase(segment),
          limit: UInt32(truncatingIfNeeded: cpu.limit(segment)),
          attributes: cpu.attributes(segment))
      },
      ldtr: X86.Segment(
        selector: cpu.pointee.ldtr_selector, base: cpu.pointee.ldtr_base,
        limit: cpu.pointee.ldtr_limit, attributes: cpu.pointee.ldtr_attributes),
      tr: X86.Segment(
        selector: cpu.pointee.tr_selector, base: cpu.pointee.tr_base,
        limit: cpu.pointee.tr_limit, attributes: cpu.pointee.tr_attributes),
      gdtr: X86.Table(
        base: cpu.pointee.gdtr_base, limit: UInt16(truncatingIfNeeded: cpu.pointee.gdtr_limit)),
      idtr: X86.Table(
        base: cpu.pointee.idtr_base, limit: UInt16(truncatingIfNeeded: cpu.pointee.idtr_limit)),
      cr0: cpu.pointee.cr0, cr2: cpu.pointee.cr2, cr3: cpu.pointee.cr3, cr4: cpu.pointee.cr4,
      cr8: UInt64(apic.taskPriority),
      debug: [0, 1, 2, 3, 6, 7].map { debugRegisterValue($0) },
      efer: cpu.pointee.efer, xcr0: cpu.pointee.xcr0, msrs: savedMSRs, xsave: xsaveArea,
      tsc: timeStampCounter, activity: activity, events: events, apic: apic.save())
  }

  /// The registers that a saved state holds by index, apart from those that are only kept.
  private static let plainMSRs: [UInt32] = [
    X86.MSR.sysenterCS, X86.MSR.sysenterESP, X86.MSR.sysenterEIP, X86.MSR.miscEnable,
    X86.MSR.pageAttributeTable, X86.MSR.star, X86.MSR.lstar, X86.MSR.cstar,
    X86.MSR.syscallMask, X86.MSR.kernelGSBase, X86.MSR.tscAux,
  ]

  private var savedMSRs: [X86.MSRValue] {
    var saved = [X86.MSRValue(index: X86.MSR.tscAdjust, value: tscAdjust)]
    for index in Self.plainMSRs {
      if let value = try? readMSR(index) { saved.append(.init(index: index, value: value)) }
    }
    return saved + keptMSRs.saved
  }

  /// The XSAVE area in standard form with x87 and SSE state, and what else of it the model has: SDM Vol. 1 §13.4.
  private var xsaveArea: [UInt8] {
    let components = model.features.savedComponents
    var area = [UInt8](repeating: 0, count: Int(X86.StateComponents.areaSize(components)))
    area.withUnsafeMutableBytes {
      storeExtendedState(cpu, to: $0.baseAddress!, components: components)
    }
    return area
  }

  /// Takes over a state, checked whole before any of it is applied.
  ///
  /// - Throws: a sentence saying what no processor could be in.
  package func restore(_ state: X86.State) throws(StateError) {
    guard state.registers.count == 16, state.segments.count == 6, state.debug.count == 6,
      state.xsave.count >= 576
    else { throw StateError("a processor's state has the wrong number of registers") }
    guard state.cr0 >> 32 == 0,
      state.cr0 & X86.CR0.paging == 0 || state.cr0 & X86.CR0.protection != 0,
      state.cr8 < 16
    else { throw StateError("a processor's control registers contradict each other") }
    let isLong = state.efer & X86.EFER.longModeActive != 0
    guard
      !isLong
        || state.cr0 & X86.CR0.paging != 0
          && state.cr4 & X86.CR4.physicalAddressExtension != 0
          && state.efer & X86.EFER.longModeEnable != 0
    else { throw StateError("a processor is in long mode without paging") }
    guard permits(xcr0: state.xcr0 | X86.StateComponents.x87) else {
      throw StateError("a processor's XCR0 enables state that this model does not have")
    }
    guard let mxcsr = state.xsave.integer(UInt32.self, littleEndianAt: 24), mxcsr >> 16 == 0 else {
      throw StateError("a processor's MXCSR has reserved bits set")
    }
    do {
      if let saved = state.apic {
        try apic.restore(saved, nmiPending: state.events.nmiPending)
      } else {
        // As firmware leaves it.
        apic.initialise(asBootstrap: index == 0)
        apic.setVirtualWire()
      }
    } catch {
      throw StateError(String(describing: error))
    }
    apply(state)
  }

  private func apply(_ state: X86.State) {
    for register in 0..<16 { cpu.set(UInt8(register * 8), state.registers[register]) }
    cpu.rflags = state.rflags
    for (index, segment) in state.segments.enumerated() {
      cpu.setSegment(
        index, selector: segment.selector, base: segment.base, limit: UInt64(segment.limit),
        attributes: segment.attributes & 0x1_f0ff)
    }
    cpu.pointee.ldtr_selector = state.ldtr.selector
    cpu.pointee.ldtr_base = state.ldtr.base
    cpu.pointee.ldtr_limit = state.ldtr.limit
    cpu.pointee.ldtr_attributes = state.ldtr.attributes & 0x1_f0ff
    cpu.pointee.tr_selector = state.tr.selector
    cpu.pointee.tr_base = state.tr.base
    cpu.pointee.tr_limit = state.tr.limit
    cpu.pointee.tr_attributes = state.tr.attributes & 0x1_f0ff
    cpu.pointee.gdtr_base = state.gdtr.base
    cpu.pointee.gdtr_limit = UInt32(state.gdtr.limit)
    cpu.pointee.idtr_base = state.idtr.base
    cpu.pointee.idtr_limit = UInt32(state.idtr.limit)
    cpu.pointee.cr0 = state.cr0 | X86.CR0.extensionType
    cpu.pointee.cr2 = state.cr2
    cpu.pointee.cr3 = state.cr3
    cpu.pointee.cr4 = state.cr4
    cpu.pointee.efer = state.efer
    cpu.pointee.xcr0 = state.xcr0 | X86.StateComponents.x87
    withUnsafeMutableBytes(of: &cpu.pointee.debug) { bytes in
      for (position, number) in [0, 1, 2, 3, 6, 7].enumerated() {
        bytes.storeBytes(of: state.debug[position], toByteOffset: number * 8, as: UInt64.self)
      }
    }
    reloadPageDirectoryPointers()
    pendingDebugStatus = 0
    debugControlChanged()
    keptMSRs = X86.KeptMSRs()
    tscAdjust = 0
    for msr in state.msrs {
      if msr.index == X86.MSR.tscAdjust {
        tscAdjust = msr.value
      } else {
        // What this model has not, or a value it does not take, is left as it is.
        try? writeMSR(msr.index, msr.value)
      }
    }
    state.xsave.withUnsafeBytes { loadExtendedState(cpu, from: $0) }
    // A saved APIC has the whole priority; CR8 is its upper half.
    if state.apic == nil { apic.taskPriority = UInt8(truncatingIfNeeded: state.cr8 & 15) }
    setTSCOffset(state.tsc &- ticksNow)
    activity = state.activity
    nmiBlocked = state.events.nmiBlocked
    injected = state.events.injected
    cpu.pointee.interrupt_shadow = state.events.interruptShadow ? 1 : 0
    cpu.pointee.privilege = privilege(of: state)
    cpu.pointee.segment_rules = 0
    modeChanged()
    flushTranslations(global: true)
    setOffset(state.rip)
    passedBreakpoint = cpu.pointee.rip
  }

  /// The privilege level: the DPL of SS, as a VMCS has it, but 0 in real mode.
  private func privilege(of state: X86.State) -> UInt32 {
    if state.cr0 & X86.CR0.protection == 0 { return 0 }
    if state.rflags & X86.Flags.virtual8086 != 0 { return 3 }
    return UInt32(state.segments[1].selector & 3)
  }
}

/// A state that no processor could be in.
package struct StateError: Error, Sendable, CustomStringConvertible {
  package let description: String
  init(_ description: String) { self.description = description }
}
