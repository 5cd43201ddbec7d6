import ArchitectureX86
import CProcessor

// Interrupts and exceptions on their way to a handler: SDM Vol. 3A chapter 6.

/// Something that goes through the interrupt descriptor table.
struct Event {
  enum Source { case hardware, exception, software }
  var vector: UInt8
  var source: Source
  var code: UInt64?
}

extension Core {
  /// Delivers an event; an exception on the way becomes a double fault, one in that shuts the processor
  /// down. `rip` is where the handler returns to.
  ///
  /// - Returns: `false` after a triple fault.
  func deliver(_ event: Event) -> Bool {
    var event = event
    for _ in 0..<3 {
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

  private func deliverOnce(_ event: Event) throws(Fault) {
    if !cpu.isProtected {
      try deliverReal(event.vector)
    } else if cpu.isLongModeActive {
      try deliverLong(event)
    } else {
      try deliverProtected(event)
    }
    if event.vector == X86.Exception.nmi, event.source == .hardware { nmiBlocked = true }
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

  /// An interrupt by instruction, whose fault is that instruction's.
  func deliverSoftware(_ vector: UInt8) throws(Fault) {
    try deliverOnce(Event(vector: vector, source: .software, code: nil))
  }

  // MARK: - Real mode: SDM Vol. 3A §20.1.4

  private func deliverReal(_ vector: UInt8) throws(Fault) {
    let entry = UInt64(vector) * 4
    guard entry + 3 <= UInt64(cpu.pointee.idtr_limit) else {
      throw .generalProtection(UInt16(vector) * 8 + 2)
    }
    let target = try systemLoad(cpu.pointee.idtr_base &+ entry, 4)
    var frame = StackFrame(self)
    try frame.push(cpu.rflags & 0xffff, 1)
    try frame.push(UInt64(cpu.selector(1)), 1)
    try frame.push(codeOffset(cpu.pointee.rip) & 0xffff, 1)
    frame.commit()
    cpu.pointee.system_flags &= ~(X86.Flags.interrupt | X86.Flags.trap | X86.Flags.alignmentCheck)
    loadParagraph(1, UInt16(truncatingIfNeeded: target >> 16))
    modeChanged()
    setOffset(target & 0xffff)
  }

  // MARK: - Long mode: SDM Vol. 3A §6.14

  private func deliverLong(_ event: Event) throws(Fault) {
    let errorBit: UInt16 = event.source == .software ? 0 : 1
    let refused = Fault.generalProtection(UInt16(event.vector) * 8 + 2 + errorBit)
    let entry = UInt64(event.vector) * 16
    guard entry + 15 <= UInt64(cpu.pointee.idtr_limit) else { throw refused }
    let low = try systemLoad(cpu.pointee.idtr_base &+ entry, 8)
    let high = try systemLoad(cpu.pointee.idtr_base &+ entry &+ 8, 8)
    let type = low >> 40 & 0x1f
    guard type == 0xe || type == 0xf,
      event.source != .software || low >> 45 & 3 >= UInt64(cpu.pointee.privilege)
    else { throw refused }
    guard low >> 47 & 1 != 0 else {
      throw Fault(
        vector: X86.Exception.segmentNotPresent,
        code: UInt64(event.vector) * 8 + 2 + UInt64(errorBit))
    }
    let selector = UInt16(truncatingIfNeeded: low >> 16)
    let offset = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32
    let stackTable = low >> 32 & 7

    guard selector & ~3 != 0 else { throw .generalProtection(errorBit) }
    let badCode = Fault.generalProtection(selector & ~3 | errorBit)
    let (code, _) = try descriptor(selector, else: badCode)
    guard code.isCode, code.privilege <= cpu.pointee.privilege, code.isLong, !code.isBig else {
      throw badCode
    }
    guard code.isPresent else { throw .notPresent(selector) }
    guard isCanonical(offset) else { throw .generalProtection(errorBit) }

    let privilege = code.isConforming ? cpu.pointee.privilege : code.privilege
    let changes = privilege < cpu.pointee.privilege
    var pointer = cpu.rsp
    if stackTable != 0 {
      pointer = try taskStateLoad(36 + (stackTable - 1) * 8)
    } else if changes {
      pointer = try taskStateLoad(4 + UInt64(privilege) * 8)
    }
    guard isCanonical(pointer) else { throw .stack(errorBit) }
    var frame = StackFrame(
      self, pointer: pointer & ~0xf, base: 0, mask: .max, user: privilege == 3)
    try frame.push(UInt64(cpu.selector(2)), 3)
    try frame.push(cpu.rsp, 3)
    try frame.push(savedFlags(event), 3)
    try frame.push(UInt64(cpu.selector(1)), 3)
    try frame.push(codeOffset(cpu.pointee.rip), 3)
    if let code = event.code { try frame.push(code, 3) }

    let oldPrivilege = cpu.pointee.privilege
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

  private func taskStateLoad(_ offset: UInt64) throws(Fault) -> UInt64 {
    guard offset + 7 <= UInt64(cpu.pointee.tr_limit) else {
      throw .invalidTSS(cpu.pointee.tr_selector)
    }
    return try systemLoad(cpu.pointee.tr_base &+ offset, 8)
  }

  // MARK: - 32-bit protected mode: SDM Vol. 3A §6.12

  private func deliverProtected(_ event: Event) throws(Fault) {
    let errorBit: UInt16 = event.source == .software ? 0 : 1
    let index = UInt16(event.vector) * 8 + 2 + errorBit
    let entry = UInt64(event.vector) * 8
    guard entry + 7 <= UInt64(cpu.pointee.idtr_limit) else { throw .generalProtection(index) }
    let gate = try systemLoad(cpu.pointee.idtr_base &+ entry, 8)
    let type = gate >> 40 & 0x1f
    guard [0x6, 0x7, 0xe, 0xf].contains(type),
      event.source != .software || gate >> 45 & 3 >= UInt64(cpu.pointee.privilege)
    else { throw .generalProtection(index) }
    guard gate >> 47 & 1 != 0 else {
      throw Fault(vector: X86.Exception.segmentNotPresent, code: UInt64(index))
    }
    let log2 = type & 8 != 0 ? 2 : 1
    let selector = UInt16(truncatingIfNeeded: gate >> 16)
    let offset = gate & 0xffff | (log2 == 2 ? gate >> 32 & 0xffff_0000 : 0)
    guard selector & ~3 != 0 else { throw .generalProtection(errorBit) }
    let refused = Fault.generalProtection(selector & ~3 | errorBit)
    let (code, _) = try descriptor(selector, else: refused)
    guard code.isCode, code.privilege <= cpu.pointee.privilege else { throw refused }
    guard code.isPresent else { throw .notPresent(selector) }
    guard offset <= code.limit else { throw .generalProtection(errorBit) }

    let privilege = code.isConforming ? cpu.pointee.privilege : code.privilege
    var frame: StackFrame
    var newStack: (selector: UInt16, descriptor: Descriptor)?
    if privilege < cpu.pointee.privilege {
      let (pointer, stack) = try innerStack(privilege)
      let refusedStack = Fault.invalidTSS(stack)
      guard stack & ~3 != 0 else { throw refusedStack }
      let (data, _) = try descriptor(stack, else: refusedStack)
      guard UInt32(stack & 3) == privilege, data.privilege == privilege, data.isWritableData
      else { throw refusedStack }
      guard data.isPresent else { throw .stack(stack) }
      newStack = (stack, data)
      frame = StackFrame(
        self, pointer: pointer, base: data.base, mask: data.isBig ? 0xffff_ffff : 0xffff,
        user: privilege == 3)
      if cpu.isVirtual8086 {
        guard privilege == 0 else { throw .generalProtection(selector & ~3) }
        for segment in [5, 4, 3, 0] { try frame.push(UInt64(cpu.selector(segment)), log2) }
      }
      try frame.push(UInt64(cpu.selector(2)), log2)
      try frame.push(cpu.rsp, log2)
    } else {
      guard !cpu.isVirtual8086 else { throw .generalProtection(selector & ~3) }
      frame = StackFrame(self)
    }
    try frame.push(savedFlags(event), log2)
    try frame.push(UInt64(cpu.selector(1)), log2)
    try frame.push(codeOffset(cpu.pointee.rip), log2)
    if let code = event.code { try frame.push(code, log2) }

    let wasVirtual = cpu.isVirtual8086
    clearFlags(interruptGate: type & 1 == 0)
    if wasVirtual { for segment in [0, 3, 4, 5] { loadNull(segment, 0) } }
    installCode(selector, code, privilege: privilege, rip: offset)
    if let newStack {
      install(2, newStack.selector, newStack.descriptor)
      cpu.rsp = frame.pointer
    } else {
      frame.commit()
    }
  }

  /// The stack for a privilege level, from the task state: SDM Vol. 3A §7.2.1.
  private func innerStack(_ privilege: UInt32) throws(Fault) -> (UInt64, UInt16) {
    let is32Bit = cpu.pointee.tr_attributes & 8 != 0
    let size: UInt64 = is32Bit ? 8 : 4
    let offset = (is32Bit ? 4 : 2) + UInt64(privilege) * size
    guard offset + size - 1 <= UInt64(cpu.pointee.tr_limit) else {
      throw .invalidTSS(cpu.pointee.tr_selector)
    }
    let address = cpu.pointee.tr_base &+ offset
    let pointer = try systemLoad(address, is32Bit ? 4 : 2)
    let selector = try systemLoad(address &+ size / 2, 2)
    return (pointer, UInt16(truncatingIfNeeded: selector))
  }

  // MARK: - IRET: SDM Vol. 2A

  func interruptReturn(log2: Int) throws(Fault) {
    var frame = StackFrame(self)
    let offset = try frame.pop(log2)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(log2))
    let flags = try frame.pop(log2)
    nmiBlocked = false
    if cpu.usesParagraphs {
      guard
        !cpu.isVirtual8086
          || cpu.pointee.system_flags & X86.Flags.ioPrivilege == X86.Flags.ioPrivilege
      else { throw .generalProtection() }
      frame.commit()
      loadParagraph(1, selector)
      modeChanged()
      setOffset(offset)
      loadReturnFlags(flags, log2: log2, privilege: cpu.pointee.privilege)
      return
    }
    guard cpu.pointee.system_flags & X86.Flags.nestedTask == 0 || !cpu.isLongModeActive else {
      throw .generalProtection()
    }
    if flags & X86.Flags.virtual8086 != 0, cpu.pointee.privilege == 0, !cpu.isLongModeActive,
      log2 == 2
    {
      try returnToVirtual8086(offset, selector, flags, frame: &frame)
      return
    }
    let privilege = cpu.pointee.privilege
    try leave(
      to: selector, offset, frame: &frame, log2: log2, alwaysStack: cpu.pointee.code_mode == 2)
    loadReturnFlags(flags, log2: log2, privilege: privilege)
  }

  private func returnToVirtual8086(
    _ offset: UInt64, _ selector: UInt16, _ flags: UInt64, frame: inout StackFrame
  ) throws(Fault) {
    let pointer = try frame.pop(2)
    var selectors: [(Int, UInt16)] = []
    for segment in [2, 0, 3, 4, 5] {
      selectors.append((segment, UInt16(truncatingIfNeeded: try frame.pop(2))))
    }
    cpu.rflags = flags & 0x3f_7fd7
    cpu.pointee.privilege = 3
    loadParagraph(1, selector)
    for (segment, value) in selectors { loadParagraph(segment, value) }
    cpu.rsp = pointer
    modeChanged()
    setOffset(offset & 0xffff)
  }

  /// As POPF, but by the privilege that the return came from, and with RF.
  private func loadReturnFlags(_ image: UInt64, log2: Int, privilege: UInt32) {
    var writable =
      X86.Flags.status | X86.Flags.trap | X86.Flags.direction | X86.Flags.nestedTask
      | X86.Flags.alignmentCheck | X86.Flags.identification | X86.Flags.resume
    if privilege == 0 { writable |= X86.Flags.ioPrivilege }
    if UInt64(privilege) <= (cpu.pointee.system_flags & X86.Flags.ioPrivilege) >> 12 {
      writable |= X86.Flags.interrupt
    }
    if log2 == 1 { writable &= 0xffff }
    cpu.rflags = cpu.rflags & ~writable | image & writable
  }
}
