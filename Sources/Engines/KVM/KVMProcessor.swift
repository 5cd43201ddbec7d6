import ArchitectureX86
import Board
import CKVM
import Execution
import Glibc
import HostOS
import Memory
import Work
import X86Processor

/// One processor of KVM's, on the thread that bound it.
final class KVMProcessor: VirtualProcessor {
  typealias ISA = X86

  let index: Int
  let handle: KVMHandle
  let mapping: ProcessorMapping
  let partition: KVMPartition
  let memory: GuestMemory
  let exit: UnsafeMutablePointer<kvm_run>
  private let descriptor: Int32
  private let attention: Attention
  let statistics: KVMStatistics
  private let interrupts: KVMInterrupts
  private let gathered: (by: KVMWriteCoalescer, in: UnsafeMutablePointer<kvm_coalesced_mmio_ring>)?

  /// Registers that KVM does not keep: see `MSRFilter`.
  var keptMSRs = X86.KeptMSRs()
  var time: ProcessorTime
  /// Made when it is first needed.
  var emulator: InstructionEmulator?
  /// Whether `run` is to return after the next instruction.
  private(set) var isStepping = false
  private(set) var stops = DebugStops()
  /// Whether the step ends when KVM has finished the access that was answered last.
  private var endsStep = false
  /// How the local APIC's timer counted when the processor left the guest; `nil` while it runs.
  var countDown: X86.APIC.CountDown?
  /// What follows the guest's handlers, if arrivals there must be seen: see `UserModeQuirk`.
  var watch: UserModeQuirk.Watch?

  init(
    _ index: Int, _ handle: KVMHandle, _ mapping: ProcessorMapping, of partition: KVMPartition,
    memory: GuestMemory
  ) throws(EngineError) {
    self.index = index
    self.handle = handle
    self.mapping = mapping
    self.partition = partition
    self.memory = memory
    exit = mapping.exit
    descriptor = handle.number
    attention = partition.attention[index]
    watch = partition.hasUserModeQuirk ? UserModeQuirk.Watch() : nil
    statistics = partition.statistics[index]
    interrupts = partition.interrupts
    gathered = partition.coalescing.flatMap { coalescer in
      mapping.coalescedRing(page: coalescer.page).map { (coalescer, $0) }
    }
    try CPUIDTable(partition.plan.model, processor: index).install(on: handle)
    time = try ProcessorTime(handle, partition.timeKeeper, partition.plan.model)
    try powerOn()
    attention.bind(mapping)
  }

  // MARK: - Running

  func run(_ buses: inout Buses) throws(EngineError) -> Exit {
    try time.follow()
    countDown = nil
    let left = try runPastBreakpoint(&buses)
    try time.noteLeaving()
    countDown = try X86.APIC.CountDown(apicPage(), at: partition.plan.clock.now)
    return left
  }

  private func runPastBreakpoint(_ buses: inout Buses) throws(EngineError) -> Exit {
    if try standsAtBreakpoint() {
      try install(DebugStops(step: true))
      let left = try runOn(&buses)
      try install(stops)
      guard left == .debug, !stops.step else { return left }
    }
    return try runOn(&buses)
  }

  private func runOn(_ buses: inout Buses) throws(EngineError) -> Exit {
    endsStep = false
    while true {
      try serveInterrupts()
      if _slowPath(watch != nil) { try followHandlers() }
      partition.enterGuest(attention)
      let result = kvm_request(descriptor, UInt(KVM_REQUEST_RUN.rawValue), 0)
      attention.leave()
      if let gathered, gathered.by.isInUse { gathered.by.empty(gathered.in, into: &buses) }
      if let left = try answer(result, &buses) { return left }
    }
  }

  /// Deals with what made KVM_RUN return; `nil`: the guest goes on.
  @inline(__always)
  private func answer(_ result: Int32, _ buses: inout Buses) throws(EngineError) -> Exit? {
    if result == -EINTR || result == -EAGAIN {
      statistics.count(exit: UInt32(KVM_EXIT_INTR))
      // What else was asked for waits for the next entry, which returns at once.
      if _slowPath(endsStep) { return .debug }
      return attention.take().contains(.kick) ? .kicked : nil
    }
    guard result >= 0 else {
      // Of a file in guest memory that has shrunk, the host's kernel says no more than this.
      if result == -EFAULT, memory.mendFiles() { return nil }
      throw EngineError("KVM cannot run processor \(index): \(String(cString: strerror(-result)))")
    }
    statistics.count(exit: exit.pointee.exit_reason)
    switch Int32(bitPattern: exit.pointee.exit_reason) {
    case KVM_EXIT_IO:
      carryPort(&buses)
      endAccess()
    case KVM_EXIT_MMIO:
      carryMemory(&buses)
      endAccess()
    case KVM_EXIT_X86_RDMSR:
      try readMSR()
      endAccess()
    case KVM_EXIT_X86_WRMSR:
      try writeMSR()
      endAccess()
    case KVM_EXIT_IOAPIC_EOI: interrupts.ended(exit.pointee.eoi.vector)
    case KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_INTR: break
    case KVM_EXIT_DIRTY_RING_FULL: partition.tracker?.emptyRings()
    case KVM_EXIT_DEBUG:
      if watch?.handlers.contains(exit.pointee.debug.arch.pc) == true {
        return try enterHandler(&buses)
      }
      guard isGuestsOwn(exit.pointee.debug.arch) else { return .debug }
      try raiseDebugException(exit.pointee.debug.arch.dr6)
    case KVM_EXIT_SHUTDOWN: return .tripleFault(.zero)
    case KVM_EXIT_INTERNAL_ERROR: return try finishInstruction(&buses)
    default:
      throw EngineError("KVM stopped processor \(index) for reason \(exit.pointee.exit_reason)")
    }
    return nil
  }

  /// An access was answered. KVM finishes the instruction when it is entered the next time: until then it has not said
  /// whether the guest can take an interrupt, and a step has not ended.
  @inline(__always)
  private func endAccess() {
    exit.pointee.ready_for_interrupt_injection = 0
    guard _slowPath(isStepping) else { return }
    // KVM finishes the instruction, by further accesses perhaps, and runs no other. The order stays: if nobody asked,
    // the next entry finds nothing to do and goes on.
    endsStep = true
    kvm_set_immediate_exit(exit, 1)
  }

  /// The processor's state was changed, so that KVM has to say anew whether the guest can take an interrupt. The next
  /// entry returns at once to hear it: a processor that halts would not.
  func forgetReadiness() {
    exit.pointee.ready_for_interrupt_injection = 0
    if interrupts.hasExternal { kvm_set_immediate_exit(exit, 1) }
  }

  // MARK: - Accesses

  private func carryPort(_ buses: inout Buses) {
    let io = exit.pointee.io
    let address = UInt64(io.port)
    let size = UInt32(io.size)
    var data = UnsafeMutableRawPointer(exit) + Int(io.data_offset)
    for _ in 0..<io.count {
      if io.direction == UInt8(KVM_EXIT_IO_OUT) {
        buses.write(data.integer(size), count: size, at: address, in: .ports)
      } else {
        data.store(buses.read(count: size, at: address, in: .ports), size)
      }
      data += Int(size)
    }
  }

  private func carryMemory(_ buses: inout Buses) {
    let address = exit.pointee.mmio.phys_addr
    let size = min(exit.pointee.mmio.len, 8)
    withUnsafeMutableBytes(of: &exit.pointee.mmio.data) { bytes in
      guard let data = bytes.baseAddress else { return }
      if exit.pointee.mmio.is_write != 0 {
        buses.write(data.integer(size), count: size, at: address, in: .registers)
      } else {
        data.store(buses.read(count: size, at: address, in: .registers), size)
      }
    }
  }

  private func readMSR() throws(EngineError) {
    let index = exit.pointee.msr.index
    let value =
      UserModeQuirk.registers.contains(index) ? try handle.readMSR(index) : keptMSRs.read(index)
    exit.pointee.msr.data = value ?? 0
    exit.pointee.msr.error = value == nil ? 1 : 0
  }

  private func writeMSR() throws(EngineError) {
    let (index, value) = (exit.pointee.msr.index, exit.pointee.msr.data)
    let done =
      UserModeQuirk.registers.contains(index)
      ? try writeSeen(index, value) : keptMSRs.write(index, value)
    exit.pointee.msr.error = done ? 0 : 1
  }

  // MARK: - Interrupts that do not come by the kernel's local APIC

  /// Hands over what LINT0 and LINT1 brought, or asks to be told when the guest can take it.
  @inline(__always)
  private func serveInterrupts() throws(EngineError) {
    try serveNMI()
    if _fastPath(!interrupts.hasExternal) {
      exit.pointee.request_interrupt_window = 0
    } else if exit.pointee.ready_for_interrupt_injection != 0 {
      try handOverExternal()
    } else {
      exit.pointee.request_interrupt_window = 1
    }
  }

  /// Puts the vector where KVM keeps what it is delivering, from which a saved state takes it as well; what
  /// KVM_INTERRUPT queues is in no state.
  private func handOverExternal() throws(EngineError) {
    var events = kvm_vcpu_events()
    try handle.request(KVM_REQUEST_GET_VCPU_EVENTS, &events, "show pending events")
    guard events.interrupt.injected == 0, events.exception.injected == 0, events.nmi.injected == 0
    else {
      exit.pointee.request_interrupt_window = 1
      return
    }
    guard let vector = interrupts.acknowledgeExternal() else { return }
    // An NMI that came since is left alone.
    events.flags = 0
    events.interrupt.injected = 1
    events.interrupt.nr = vector
    events.interrupt.soft = 0
    try handle.request(KVM_REQUEST_SET_VCPU_EVENTS, &events, "take an interrupt")
    try wakeFromHalt()
    exit.pointee.ready_for_interrupt_injection = 0
    exit.pointee.request_interrupt_window = interrupts.hasExternal ? 1 : 0
  }

  private func wakeFromHalt() throws(EngineError) {
    var state = kvm_mp_state()
    try handle.request(KVM_REQUEST_GET_MP_STATE, &state, "show what it is doing")
    guard state.mp_state == UInt32(KVM_MP_STATE_HALTED) else { return }
    state.mp_state = UInt32(KVM_MP_STATE_RUNNABLE)
    try handle.request(KVM_REQUEST_SET_MP_STATE, &state, "wake from HLT")
  }

  /// Hands over what LINT1 brought.
  @inline(__always)
  func serveNMI() throws(EngineError) {
    if _slowPath(interrupts.hasNMI && interrupts.takeNMI(index)) { try handOverNMI() }
  }

  func apicPage() throws(EngineError) -> kvm_lapic_state {
    var page = kvm_lapic_state()
    try handle.request(KVM_REQUEST_GET_LAPIC, &page, "show its local APIC")
    return page
  }

  /// An edge at LINT1, which is an NMI only if the local vector says so.
  private func handOverNMI() throws(EngineError) {
    let vector = withUnsafeBytes(of: try apicPage()) {
      $0.loadUnaligned(fromByteOffset: 0x360, as: UInt32.self)
    }
    let isMasked = vector & 1 << 16 != 0
    guard !isMasked, vector >> 8 & 7 == 4 else { return }
    try handle.request(KVM_REQUEST_NMI, 0, "take an NMI")
  }

  // MARK: - For a debugger

  func setDebugStops(_ stops: DebugStops) throws(EngineError) {
    let limit =
      DebugStops.maximumBreakpoints
      - (partition.hasUserModeQuirk ? UserModeQuirk.breakpoints : 0)
    guard stops.breakpoints.count <= limit else {
      throw EngineError("a processor stops at no more than \(limit) places here")
    }
    self.stops = stops
    try install(stops)
  }

  func install(_ stops: DebugStops) throws(EngineError) {
    isStepping = stops.step
    var request = kvm_guest_debug()
    let breakpoints = stops.breakpoints + (watch?.handlers ?? [])
    if stops.step || !breakpoints.isEmpty { request.control = UInt32(KVM_GUESTDBG_ENABLE) }
    if stops.step { request.control |= UInt32(KVM_GUESTDBG_SINGLESTEP) }
    if !breakpoints.isEmpty {
      request.control |= UInt32(KVM_GUESTDBG_USE_HW_BP)
      // DR7: each breakpoint is on, and stops at instructions (SDM Vol. 3B §18.2.4).
      var enabled: UInt64 = 0x400
      withUnsafeMutableBytes(of: &request.arch.debugreg) { registers in
        for (number, address) in breakpoints.enumerated() {
          registers.storeBytes(of: address, toByteOffset: number * 8, as: UInt64.self)
          enabled |= 2 << UInt64(number * 2)
        }
        registers.storeBytes(of: enabled, toByteOffset: 7 * 8, as: UInt64.self)
      }
    }
    try handle.request(KVM_REQUEST_SET_GUEST_DEBUG, &request, "stop for a debugger")
  }

  /// Whether a debug exception is the guest's: KVM shows all of them while a debugger has breakpoints.
  private func isGuestsOwn(_ debug: kvm_debug_exit_arch) -> Bool {
    debug.exception == UInt32(X86.Exception.debug) && !isStepping && debug.dr6 & 0xf == 0
      && !stops.breakpoints.contains(debug.pc)
  }

  /// Delivers a debug exception that KVM showed instead.
  private func raiseDebugException(_ dr6: UInt64) throws(EngineError) {
    var debug = kvm_debugregs()
    try handle.request(KVM_REQUEST_GET_DEBUGREGS, &debug, "show its debug registers")
    // BD, BS and BT: SDM Vol. 3B §18.2.3.
    debug.dr6 |= dr6 & 0xe000
    try handle.request(KVM_REQUEST_SET_DEBUGREGS, &debug, "take its debug registers")
    try changeEvents { events in
      events.flags = 0
      events.exception.injected = 1
      events.exception.nr = X86.Exception.debug
      events.exception.has_error_code = 0
    }
  }

  /// Whether the next instruction is one at which a debugger wants to stop: it has seen that already.
  private func standsAtBreakpoint() throws(EngineError) -> Bool {
    guard !stops.breakpoints.isEmpty else { return false }
    var registers = kvm_regs()
    try handle.request(KVM_REQUEST_GET_REGS, &registers, "show its registers")
    var system = kvm_sregs()
    try handle.request(KVM_REQUEST_GET_SREGS, &system, "show its registers")
    let isLong = system.efer & X86.EFER.longModeActive != 0 && system.cs.l != 0
    return stops.breakpoints.contains(isLong ? registers.rip : system.cs.base &+ registers.rip)
  }
}

extension UnsafeMutableRawPointer {
  /// One to eight bytes as a number.
  @inline(__always)
  fileprivate func integer(_ size: UInt32) -> UInt64 {
    switch size {
    case 1: return UInt64(load(as: UInt8.self))
    case 2: return UInt64(loadUnaligned(as: UInt16.self))
    case 4: return UInt64(loadUnaligned(as: UInt32.self))
    case 8: return loadUnaligned(as: UInt64.self)
    default:
      return (0..<Int(size)).reduce(0) {
        $0 | UInt64(load(fromByteOffset: $1, as: UInt8.self)) << UInt64($1 * 8)
      }
    }
  }

  @inline(__always)
  fileprivate func store(_ value: UInt64, _ size: UInt32) {
    switch size {
    case 1: storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
    case 2: storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
    case 4: storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
    case 8: storeBytes(of: value, as: UInt64.self)
    default:
      for index in 0..<Int(size) {
        storeBytes(
          of: UInt8(truncatingIfNeeded: value >> UInt64(index * 8)), toByteOffset: index,
          as: UInt8.self)
      }
    }
  }
}
