import ArchitectureX86
import Board
import CKVM
import Execution
import InterruptControllers
import Work

// The processor's state between KVM's pieces and `X86.State`.

extension KVMProcessor {
  func state(of vtl: VTL) throws(EngineError) -> X86.State {
    try check(vtl)
    return try state(counter: time.counter())
  }

  func setState(_ state: X86.State, of vtl: VTL) throws(EngineError) {
    try check(vtl)
    try setState(state)
  }

  private func check(_ vtl: VTL) throws(EngineError) {
    guard vtl == .zero else {
      throw EngineError("KVM has no virtual trust level \(vtl.rawValue)")
    }
  }

  private var components: UInt64 { partition.plan.model.features.savedComponents }

  // MARK: - Out

  /// - Parameter counter: the time-stamp counter.
  func state(counter: UInt64) throws(EngineError) -> X86.State {
    try serveNMI()
    // First: KVM takes a waiting INIT or SIPI when asked for this.
    let activity = try multiprocessingState()
    var events = kvm_vcpu_events()
    try handle.request(KVM_REQUEST_GET_VCPU_EVENTS, &events, "show pending events")
    var registers = kvm_regs()
    try handle.request(KVM_REQUEST_GET_REGS, &registers, "show its registers")
    var system = kvm_sregs()
    try handle.request(KVM_REQUEST_GET_SREGS, &system, "show its registers")
    var debug = kvm_debugregs()
    try handle.request(KVM_REQUEST_GET_DEBUGREGS, &debug, "show its debug registers")
    var apic = X86.APIC(
      try apicPage(), base: system.apic_base, tscDeadline: try time.armedDeadline(),
      at: partition.plan.clock.now
    ).legal(id: UInt32(index))
    // At rest the kernel's timer runs on, and what it brings is in no state.
    if let countDown { apic.set(countDown) }
    return X86.State(
      registers: registers.general, rip: registers.rip, rflags: registers.rflags,
      segments: system.segments, ldtr: X86.Segment(system.ldt), tr: X86.Segment(system.tr),
      gdtr: X86.Table(system.gdt), idtr: X86.Table(system.idt), cr0: system.cr0, cr2: system.cr2,
      cr3: system.cr3, cr4: system.cr4, cr8: system.cr8,
      debug: [debug.db.0, debug.db.1, debug.db.2, debug.db.3, debug.dr6, debug.dr7],
      efer: system.efer, xcr0: try xcr0(), msrs: try msrs(), xsave: try xsaveArea(),
      tsc: counter, activity: Self.activity(activity),
      events: X86.PendingEvents(events),
      apic: apic)
  }

  private func multiprocessingState() throws(EngineError) -> UInt32 {
    var state = kvm_mp_state()
    try handle.request(KVM_REQUEST_GET_MP_STATE, &state, "show what it is doing")
    return state.mp_state
  }

  private static func activity(_ state: UInt32) -> X86.Activity {
    switch Int32(bitPattern: state) {
    case KVM_MP_STATE_HALTED: .halted
    case KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED: .waitForSIPI
    default: .active
    }
  }

  private func msrs() throws(EngineError) -> [X86.MSRValue] {
    try handle.readMSRs([X86.MSR.tscAdjust] + MSRFilter.state) + keptMSRs.saved
  }

  private func xcr0() throws(EngineError) -> UInt64 {
    // Without XSAVE there is no such register; KVM shows what its processor happens to hold.
    guard partition.plan.model.features.hasXSAVE else { return 1 }
    var registers = kvm_xcrs()
    try handle.request(KVM_REQUEST_GET_XCRS, &registers, "show XCR0")
    return registers.xcrs.0.value
  }

  private func xsaveArea() throws(EngineError) -> [UInt8] {
    var area = kvm_xsave()
    try handle.request(KVM_REQUEST_GET_XSAVE, &area, "show its vector registers")
    let components = components
    return withUnsafeBytes(of: area) { $0.savedArea(of: components) }
  }

  // MARK: - In

  func setState(_ state: X86.State) throws(EngineError) {
    guard state.registers.count == 16, state.segments.count == 6, state.debug.count == 6,
      state.xsave.count >= 576, state.apic.map({ $0.registers.count == 64 }) ?? true
    else { throw EngineError("a processor's state has the wrong number of registers") }
    let apic = state.apic ?? firmwareAPIC
    // An INIT or SIPI that waits belongs to the former state: being asked, KVM takes it.
    _ = try multiprocessingState()
    var system = try systemRegisters(state, base: apic.base)
    try handle.request(KVM_REQUEST_SET_SREGS, &system, "take its control registers")
    keptMSRs = X86.KeptMSRs()
    try setMSRs(state)
    try setRegisters(state)
    try setVectorState(state)
    try setDebugRegisters(state)
    try time.disarm()
    try setAPIC(apic)
    countDown = X86.APIC.CountDown(apic)
    time.setCounter(state.tsc)
    time.setDeadline(apic.tscDeadline)
    try setActivity(state.activity)
    var events = state.events.kvm(rflags: state.rflags)
    try handle.request(KVM_REQUEST_SET_VCPU_EVENTS, &events, "take pending events")
    try replayPending(apic)
    forgetReadiness()
  }

  func setMSRs(_ state: X86.State) throws(EngineError) {
    for msr in state.msrs where !keptMSRs.write(msr.index, msr.value) {
      // What this KVM has not, or a value it does not take, is left as it is.
      _ = try? handle.writeMSR(msr.index, msr.value)
    }
  }

  func setRegisters(_ state: X86.State) throws(EngineError) {
    var registers = kvm_regs()
    registers.general = state.registers
    registers.rip = state.rip
    registers.rflags = state.rflags | 2
    try handle.request(KVM_REQUEST_SET_REGS, &registers, "take its registers")
  }

  func setDebugRegisters(_ state: X86.State) throws(EngineError) {
    var debug = kvm_debugregs()
    debug.db = (state.debug[0], state.debug[1], state.debug[2], state.debug[3])
    debug.dr6 = state.debug[4]
    debug.dr7 = state.debug[5]
    try handle.request(KVM_REQUEST_SET_DEBUGREGS, &debug, "take its debug registers")
  }

  func setAPIC(_ apic: X86.APIC) throws(EngineError) {
    var page = apic.page(at: partition.plan.clock.now)
    try handle.request(KVM_REQUEST_SET_LAPIC, &page, "take its local APIC")
    try partition.interrupts.expectEnds(of: apic.levelVectors, on: index)
  }

  func setActivity(_ activity: X86.Activity) throws(EngineError) {
    var state = kvm_mp_state()
    state.mp_state = UInt32(bitPattern: Self.multiprocessingState(activity))
    try handle.request(KVM_REQUEST_SET_MP_STATE, &state, "take what it is doing")
  }

  /// - Parameter base: IA32_APIC_BASE.
  func systemRegisters(_ state: X86.State, base: UInt64) throws(EngineError) -> kvm_sregs {
    var system = kvm_sregs()
    system.segments = state.segments
    // KVM takes the privilege level from SS.
    system.ss.dpl = Self.privilege(of: state)
    system.ldt = state.ldtr.kvm
    system.tr = state.tr.kvm
    // A task register is always busy: SDM Vol. 3C §27.3.1.2.
    if state.tr.attributes & 0x80 == 0 || system.tr.type & 7 != 3 {
      system.tr.type = 0xb
      system.tr.present = 1
      system.tr.unusable = 0
      system.tr.s = 0
    }
    system.gdt = state.gdtr.kvm
    system.idt = state.idtr.kvm
    system.cr0 = state.cr0
    system.cr2 = state.cr2
    system.cr3 = state.cr3
    system.cr4 = state.cr4
    system.cr8 = state.cr8
    system.efer = state.efer
    system.apic_base = base
    // Outside long mode the bit means nothing, and KVM refuses it.
    if state.efer & X86.EFER.longModeActive == 0 { system.cs.l = 0 }
    return system
  }

  /// CPL: SDM Vol. 3A §5.5.
  private static func privilege(of state: X86.State) -> UInt8 {
    if state.cr0 & X86.CR0.protection == 0 { return 0 }
    if state.rflags & X86.Flags.virtual8086 != 0 { return 3 }
    return UInt8(state.segments[1].selector & 3)
  }

  private static func multiprocessingState(_ activity: X86.Activity) -> Int32 {
    switch activity {
    case .halted: KVM_MP_STATE_HALTED
    // INIT has come, of which KVM wants to have seen one before it takes a SIPI.
    case .waitForSIPI: KVM_MP_STATE_INIT_RECEIVED
    case .active, .shutdown: KVM_MP_STATE_RUNNABLE
    }
  }

  func setVectorState(_ state: X86.State) throws(EngineError) {
    if partition.plan.model.features.hasXSAVE {
      var extended = kvm_xcrs()
      extended.nr_xcrs = 1
      extended.xcrs.0.value = state.xcr0 | 1
      try handle.request(KVM_REQUEST_SET_XCRS, &extended, "take XCR0")
    }
    // What the model has not, but user mode may use all the same where KVM does not hide it, stays as it is.
    var area = kvm_xsave()
    try handle.request(KVM_REQUEST_GET_XSAVE, &area, "show its vector registers")
    let components = components
    withUnsafeMutableBytes(of: &area) { $0.takeArea(state.xsave, of: components) }
    try handle.request(KVM_REQUEST_SET_XSAVE, &area, "take its vector registers")
  }

  /// What waits in the saved APIC for the processor to take it, sent again.
  private func replayPending(_ apic: X86.APIC) throws(EngineError) {
    if apic.pendingINIT {
      partition.interrupts.signal(.init(address: address, data: 5 << 8 | 1 << 14), from: 0)
    }
    if let vector = apic.pendingSIPI {
      partition.interrupts.signal(
        .init(address: address, data: 6 << 8 | 1 << 14 | UInt32(vector)), from: 0)
    }
  }

  private var address: UInt64 { 0xfee0_0000 | UInt64(index & 0xff) << 12 }

  // MARK: - Power-on

  /// The state after power-on where KVM leaves another: the model's signature in DX, and local vectors
  /// that are masked (SDM Vol. 3A Table 10-1, §11.4.7.1).
  func powerOn() throws(EngineError) {
    var state = try state(counter: 0)
    state.registers[X86.Register.rdx.rawValue] = UInt64(partition.plan.model.leaf(1, 0)?.eax ?? 0)
    state.apic = freshAPIC { _ in }
    state.tsc = 0
    state.activity = index == 0 ? .active : .waitForSIPI
    try setState(state)
  }

  /// The local APIC as firmware leaves it: see `X86.State.apic`.
  private var firmwareAPIC: X86.APIC { freshAPIC { $0.setVirtualWire() } }

  private func freshAPIC(_ change: (LocalAPIC) -> Void) -> X86.APIC {
    let plan = partition.plan
    let lone = LoneLocalAPIC(
      id: UInt32(index), processors: plan.processors, clock: plan.clock,
      tscFrequency: plan.model.tscFrequency, physicalAddressBits: plan.model.physicalAddressBits)
    change(lone.apic)
    return lone.apic.save()
  }
}
