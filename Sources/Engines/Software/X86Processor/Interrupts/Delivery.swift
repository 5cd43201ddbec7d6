import ArchitectureX86
import CProcessor

// Interrupts and exceptions on their way to a handler: SDM Vol. 3A chapter 6. IRET is in InterruptReturn.swift.

/// Something that goes through the interrupt descriptor table.
struct Event {
  enum Source {
    case hardware, exception
    /// INT n, INT3, INTO: the gate must admit the privilege level.
    case software
    /// INT1, which no gate refuses.
    case privilegedSoftware
  }
  var vector: UInt8
  var source: Source
  var code: UInt64?

  /// Whether faults on the way have EXT in their error code: SDM Vol. 3A §6.13 "Error Code".
  var isExternal: Bool { source != .software }
}

extension Core {
  /// Delivers an event; an exception on the way becomes a double fault, one in that shuts the processor
  /// down. `rip` is where the handler returns to.
  ///
  /// - Returns: `false` after a triple fault.
  func deliver(_ event: Event) -> Bool {
    var event = event
    // Each exception is of a graver kind than the one before, or of the same only once.
    for _ in 0..<8 {
      do throws(Fault) {
        try deliverOnce(event)
        return true
      } catch {
        if event.vector == X86.Exception.doubleFault, event.source == .exception { break }
        event = Self.combine(event, error)
      }
    }
    activity = .shutdown
    return false
  }

  /// What becomes of an exception during delivery: SDM Vol. 3A Table 6-5.
  private static func combine(_ first: Event, _ second: Fault) -> Event {
    func isContributory(_ vector: UInt8) -> Bool { [0, 10, 11, 12, 13].contains(vector) }
    let firstIsPageFault = first.source == .exception && first.vector == 14
    let firstIsContributory = first.source == .exception && isContributory(first.vector)
    let isDouble =
      firstIsPageFault && (second.vector == 14 || isContributory(second.vector))
      || firstIsContributory && isContributory(second.vector)
    return isDouble
      ? Event(vector: X86.Exception.doubleFault, source: .exception, code: 0)
      : Event(vector: second.vector, source: .exception, code: second.code)
  }

  func deliverOnce(_ event: Event) throws(Fault) {
    do throws(Fault) {
      if !cpu.isProtected {
        try deliverReal(event)
      } else if cpu.isLongModeActive {
        try deliverLong(event)
      } else {
        try deliverProtected(event)
      }
    } catch {
      throw event.isExternal ? error.external : error
    }
    if event.vector == X86.Exception.nmi, event.source == .hardware { nmiBlocked = true }
    if event.vector == X86.Exception.debug, event.source != .software {
      // The handler may use the debug registers: SDM Vol. 3B §17.2.4, GD.
      cpu.pointee.debug.7 &= ~DebugControl.generalDetect
    }
  }

  /// Delivers what a restored state had taken and not delivered yet: SDM Vol. 3C §26.6 "Event Injection".
  ///
  /// - Returns: `false` after a triple fault.
  func deliverInjected() -> Bool {
    guard let event = injected, activity == .active || activity == .halted else { return true }
    injected = nil
    activity = .active
    cpu.pointee.interrupt_shadow = 0
    let code = event.errorCode.map { UInt64($0) }
    switch event.kind {
    case .external: return deliver(Event(vector: event.vector, source: .hardware))
    case .nmi: return deliver(Event(vector: X86.Exception.nmi, source: .hardware))
    case .exception: return deliver(Event(vector: event.vector, source: .exception, code: code))
    case .software: return deliver(Event(vector: event.vector, source: .software))
    }
  }

  // MARK: - Real mode: SDM Vol. 3A §20.1.4

  private func deliverReal(_ event: Event) throws(Fault) {
    let entry = UInt64(event.vector) * 4
    guard entry + 3 <= UInt64(cpu.pointee.idtr_limit) else {
      throw .generalProtection(UInt16(event.vector) * 8 + 2)
    }
    let target = try systemLoad(cpu.pointee.idtr_base &+ entry, 4)
    try enterParagraphHandler(target, flags: savedFlags(event))
    cpu.pointee.system_flags &= ~(X86.Flags.interrupt | X86.Flags.trap | X86.Flags.alignmentCheck)
  }

  /// Enters a handler by a far pointer, as an 8086 does, with a frame of three words.
  func enterParagraphHandler(_ target: UInt64, flags: UInt64) throws(Fault) {
    var frame = StackFrame(self)
    try frame.push(flags & 0xffff, 1)
    try frame.push(UInt64(cpu.selector(1)), 1)
    try frame.push(codeOffset(cpu.pointee.rip) & 0xffff, 1)
    guard target & 0xffff <= cpu.limit(1) else { throw .generalProtection() }
    frame.commit()
    loadParagraph(1, UInt16(truncatingIfNeeded: target >> 16))
    modeChanged()
    setOffset(target & 0xffff)
    cpu.pointee.system_flags &= ~X86.Flags.resume
  }

  // MARK: - Long mode: SDM Vol. 3A §6.14

  private func deliverLong(_ event: Event) throws(Fault) {
    let index = UInt16(event.vector) * 8 + 2
    let refused = Fault.generalProtection(index)
    let entry = UInt64(event.vector) * 16
    guard entry + 15 <= UInt64(cpu.pointee.idtr_limit) else { throw refused }
    let low = try systemLoad(cpu.pointee.idtr_base &+ entry, 8)
    let high = try systemLoad(cpu.pointee.idtr_base &+ entry &+ 8, 8)
    let type = low >> 40 & 0x1f
    guard type == 0xe || type == 0xf,
      event.source != .software || low >> 45 & 3 >= UInt64(cpu.pointee.privilege)
    else { throw refused }
    guard low >> 47 & 1 != 0 else { throw .gateNotPresent(index) }
    let selector = UInt16(truncatingIfNeeded: low >> 16)
    let offset = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32
    let stackTable = low >> 32 & 7

    guard selector & ~3 != 0 else { throw .generalProtection() }
    let badCode = Fault.generalProtection(selector & ~3)
    let (code, address) = try descriptor(selector, else: badCode)
    guard code.isCode, code.privilege <= cpu.pointee.privilege, code.isLong, !code.isBig else {
      throw badCode
    }
    guard code.isPresent else { throw .notPresent(selector) }
    guard isCanonical(offset) else { throw .generalProtection() }

    let privilege = code.isConforming ? cpu.pointee.privilege : code.privilege
    let changes = privilege < cpu.pointee.privilege
    var pointer = cpu.rsp
    if stackTable != 0 {
      pointer = try taskStateLoad(36 + (stackTable - 1) * 8)
    } else if changes {
      pointer = try taskStateLoad(4 + UInt64(privilege) * 8)
    }
    var frame = StackFrame(self, pointer: pointer & ~0xf, user: privilege == 3)
    try frame.push(UInt64(cpu.selector(2)), 3)
    try frame.push(cpu.rsp, 3)
    try frame.push(savedFlags(event), 3)
    try frame.push(UInt64(cpu.selector(1)), 3)
    try frame.push(codeOffset(cpu.pointee.rip), 3)
    if let code = event.code { try frame.push(code, 3) }

    let oldPrivilege = cpu.pointee.privilege
    try markAccessed(code, at: address)
    installCode(selector, code, privilege: privilege, rip: offset)
    if privilege != oldPrivilege { loadNull(2, UInt16(privilege)) }
    cpu.rsp = frame.pointer
    clearFlags(interruptGate: type == 0xe)
  }

  /// RFLAGS as the frame shows it: RF is set for faults (SDM Vol. 3B §17.3.1.1).
  private func savedFlags(_ event: Event) -> UInt64 {
    let isFault = event.source == .exception && ![1, 3, 4, 8, 18].contains(event.vector)
    return isFault ? cpu.rflags | X86.Flags.resume : cpu.rflags
  }

  private func clearFlags(interruptGate: Bool) {
    var cleared =
      X86.Flags.trap | X86.Flags.nestedTask | X86.Flags.resume | X86.Flags.virtual8086
    if interruptGate { cleared |= X86.Flags.interrupt }
    cpu.pointee.system_flags &= ~cleared
  }

  // MARK: - 32-bit protected mode: SDM Vol. 3A §6.12

  private func deliverProtected(_ event: Event) throws(Fault) {
    let index = UInt16(event.vector) * 8 + 2
    let entry = UInt64(event.vector) * 8
    guard entry + 7 <= UInt64(cpu.pointee.idtr_limit) else { throw .generalProtection(index) }
    let gate = Descriptor(try systemLoad(cpu.pointee.idtr_base &+ entry, 8))
    let kinds: [SystemType] = [
      .taskGate, .interruptGate16, .trapGate16, .interruptGate, .trapGate,
    ]
    guard let type = gate.systemType, kinds.contains(type),
      event.source != .software || gate.privilege >= cpu.pointee.privilege
    else { throw .generalProtection(index) }
    guard gate.isPresent else { throw .gateNotPresent(index) }
    let selector = UInt16(truncatingIfNeeded: gate.low >> 16)
    if type == .taskGate {
      let task = try taskTarget(selector, busy: false, else: Fault.generalProtection)
      try switchTask(
        to: task, by: .interrupt, returnTo: cpu.pointee.rip, flags: savedFlags(event),
        code: event.code)
      return
    }
    try deliverGate(event, gate, type, selector)
  }

  private func deliverGate(
    _ event: Event, _ gate: Descriptor, _ type: SystemType, _ selector: UInt16
  ) throws(Fault) {
    let isWide = type == .interruptGate || type == .trapGate
    let log2 = isWide ? 2 : 1
    let offset = UInt64(gate.low & 0xffff | (isWide ? gate.high & 0xffff_0000 : 0))
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let refused = Fault.generalProtection(selector & ~3)
    let (code, address) = try descriptor(selector, else: refused)
    guard code.isCode, code.privilege <= cpu.pointee.privilege else { throw refused }
    guard code.isPresent else { throw .notPresent(selector) }

    let wasVirtual = cpu.isVirtual8086
    let privilege = code.isConforming ? cpu.pointee.privilege : code.privilege
    guard !wasVirtual || privilege == 0 else { throw refused }
    var frame: StackFrame
    var stack: InnerStack?
    if privilege < cpu.pointee.privilege {
      let inner = try innerStack(privilege)
      stack = inner
      frame = StackFrame(
        self, pointer: inner.pointer, inner.selector, inner.descriptor, user: false)
      if wasVirtual {
        for segment in [5, 4, 3, 0] { try frame.push(UInt64(cpu.selector(segment)), log2) }
      }
      try frame.push(UInt64(cpu.selector(2)), log2)
      try frame.push(cpu.rsp, log2)
    } else {
      frame = StackFrame(self)
    }
    try frame.push(savedFlags(event), log2)
    try frame.push(UInt64(cpu.selector(1)), log2)
    try frame.push(codeOffset(cpu.pointee.rip), log2)
    if let code = event.code { try frame.push(code, log2) }
    guard offset <= code.limit else { throw .generalProtection() }
    try markAccessed(code, at: address)
    if let stack { try markAccessed(stack.descriptor, at: stack.address) }

    clearFlags(interruptGate: type == .interruptGate || type == .interruptGate16)
    if wasVirtual { for segment in [0, 3, 4, 5] { loadNull(segment, 0) } }
    installCode(selector, code, privilege: privilege, rip: offset)
    if let stack { install(2, stack.selector, stack.descriptor) }
    frame.commit()
  }
}
