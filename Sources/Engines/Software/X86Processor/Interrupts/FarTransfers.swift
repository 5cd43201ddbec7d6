import ArchitectureX86
import CProcessor

// JMP, CALL and RET between segments, through call gates too: SDM Vol. 3A §5.8 "Privilege Level Checking When
// Transferring Program Control Between Code Segments"; Vol. 2A, "CALL" and "JMP"; Vol. 2B, "RET".

/// A code segment that may be entered, and the offset in it.
struct CodeTarget {
  var selector: UInt16
  var descriptor: Descriptor
  /// Where the descriptor lies.
  var address: UInt64
  var offset: UInt64
}

/// A call gate: SDM Vol. 3A §5.8.3 "Call Gates" and §5.8.3.1 "IA-32e Mode Call Gates".
struct CallGate {
  var selector: UInt16
  var offset: UInt64
  var parameters: Int
  /// Bytes of what is pushed, as a power of two.
  var log2: Int
}

/// What a far pointer of JMP or CALL leads to.
private enum FarTarget {
  case code(Descriptor, UInt64)
  case gate(CallGate)
  case task(TaskTarget)
}

extension Core {
  // MARK: - Targets

  private func farTarget(_ selector: UInt16) throws(Fault) -> FarTarget {
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let refused = Fault.generalProtection(selector & ~3)
    let (descriptor, address) = try descriptor(selector, else: refused)
    guard let type = descriptor.systemType else {
      guard descriptor.isCode else { throw refused }
      return .code(descriptor, address)
    }
    let level = max(cpu.pointee.privilege, UInt32(selector & 3))
    let isLong = cpu.isLongModeActive
    switch type {
    case .callGate,
      .callGate16 where !isLong:
      guard descriptor.privilege >= level else { throw refused }
      if isLong {
        return .gate(try longGate(selector, descriptor, at: address))
      }
      guard descriptor.isPresent else { throw .notPresent(selector) }
      let isWide = type == .callGate
      let offset = descriptor.low & 0xffff | (isWide ? descriptor.high & 0xffff_0000 : 0)
      return .gate(
        CallGate(
          selector: UInt16(truncatingIfNeeded: descriptor.low >> 16), offset: UInt64(offset),
          parameters: Int(descriptor.high & 31), log2: isWide ? 2 : 1))
    case .taskGate where !isLong:
      guard descriptor.privilege >= level else { throw refused }
      guard descriptor.isPresent else { throw .notPresent(selector) }
      return .task(
        try taskTarget(
          UInt16(truncatingIfNeeded: descriptor.low >> 16), busy: false,
          else: Fault.generalProtection))
    case .availableTSS16 where !isLong, .availableTSS where !isLong:
      guard descriptor.privilege >= level else { throw refused }
      return .task(try taskTarget(selector, busy: false, else: Fault.generalProtection))
    default: throw refused
    }
  }

  /// A gate of 16 bytes.
  private func longGate(
    _ selector: UInt16, _ descriptor: Descriptor, at address: UInt64
  ) throws(Fault) -> CallGate {
    let refused = Fault.generalProtection(selector & ~3)
    let isLocal = selector & 4 != 0
    let limit = UInt64(isLocal ? cpu.pointee.ldtr_limit : cpu.pointee.gdtr_limit)
    guard UInt64(selector & ~7) + 15 <= limit else { throw refused }
    let upper = try systemLoad(address &+ 8, 8)
    // The upper half's type must be zero: SDM Vol. 3A Figure 5-8.
    guard upper >> 40 & 0x1f == 0 else { throw refused }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    let low = UInt64(descriptor.low & 0xffff | descriptor.high & 0xffff_0000)
    return CallGate(
      selector: UInt16(truncatingIfNeeded: descriptor.low >> 16), offset: low | upper << 32,
      parameters: 0, log2: 3)
  }

  /// Checks an offset against the code segment that it leads into.
  private func checkedOffset(_ offset: UInt64, in code: Descriptor) throws(Fault) -> UInt64 {
    if code.isLong && cpu.isLongModeActive {
      guard isCanonical(offset) else { throw .generalProtection() }
      return offset
    }
    let offset = offset & 0xffff_ffff
    guard offset <= code.limit else { throw .generalProtection() }
    return offset
  }

  /// Checks a code segment that a far pointer leads to, or a call gate (`gate`) without a change of privilege.
  private func checkedTarget(
    _ selector: UInt16, _ descriptor: Descriptor, at address: UInt64, offset: UInt64,
    gate: Bool = false
  ) throws(Fault) -> CodeTarget {
    let refused = Fault.generalProtection(selector & ~3)
    let level = cpu.pointee.privilege
    guard !(descriptor.isLong && descriptor.isBig && cpu.isLongModeActive),
      descriptor.isConforming
        ? descriptor.privilege <= level
        : descriptor.privilege == level && (gate || UInt32(selector & 3) <= level)
    else { throw refused }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    return CodeTarget(
      selector: selector, descriptor: descriptor, address: address,
      offset: try checkedOffset(offset, in: descriptor))
  }

  /// The code segment that a call gate names: SDM Vol. 2A, CALL, "CALL-GATE".
  private func gateTarget(_ gate: CallGate) throws(Fault) -> (Descriptor, UInt64) {
    guard gate.selector & ~3 != 0 else { throw .generalProtection() }
    let refused = Fault.generalProtection(gate.selector & ~3)
    let (code, address) = try descriptor(gate.selector, else: refused)
    guard code.isCode, code.privilege <= cpu.pointee.privilege,
      !cpu.isLongModeActive || code.isLong && !code.isBig
    else { throw refused }
    guard code.isPresent else { throw .notPresent(gate.selector) }
    return (code, address)
  }

  /// Continues in a checked code segment at the same privilege level.
  private func enter(_ target: CodeTarget) throws(Fault) {
    try markAccessed(target.descriptor, at: target.address)
    installCode(
      target.selector, target.descriptor, privilege: cpu.pointee.privilege, rip: target.offset)
  }

  // MARK: - JMP

  func farJump(_ selector: UInt16, _ offset: UInt64, returnTo: UInt64) throws(Fault) {
    if cpu.usesParagraphs { return try enterParagraph(selector, offset) }
    switch try farTarget(selector) {
    case .code(let descriptor, let address):
      try enter(try checkedTarget(selector, descriptor, at: address, offset: offset))
    case .gate(let gate):
      let (code, address) = try gateTarget(gate)
      try enter(
        try checkedTarget(gate.selector, code, at: address, offset: gate.offset, gate: true))
    case .task(let task): try switchTask(to: task, by: .jump, returnTo: returnTo)
    }
  }

  /// In real and virtual-8086 mode.
  private func enterParagraph(_ selector: UInt16, _ offset: UInt64) throws(Fault) {
    let offset = offset & 0xffff_ffff
    guard offset <= cpu.limit(1) else { throw .generalProtection() }
    loadParagraph(1, selector)
    modeChanged()
    setOffset(offset)
  }

  // MARK: - CALL

  func farCall(_ selector: UInt16, _ offset: UInt64, log2: Int, returnTo: UInt64) throws(Fault) {
    let back = codeOffset(returnTo)
    let old = UInt64(cpu.selector(1))
    if cpu.usesParagraphs {
      var frame = StackFrame(self)
      try frame.push(old, log2)
      try frame.push(back, log2)
      try enterParagraph(selector, offset)
      frame.commit()
      return
    }
    switch try farTarget(selector) {
    case .code(let descriptor, let address):
      try call(
        try checkedTarget(selector, descriptor, at: address, offset: offset), log2: log2, back: back
      )
    case .gate(let gate):
      let (code, address) = try gateTarget(gate)
      if !code.isConforming, code.privilege < cpu.pointee.privilege {
        let target = CodeTarget(
          selector: gate.selector, descriptor: code, address: address,
          offset: try checkedOffset(gate.offset, in: code))
        try callInner(target, gate, back: back)
      } else {
        try call(
          try checkedTarget(gate.selector, code, at: address, offset: gate.offset, gate: true),
          log2: gate.log2, back: back)
      }
    case .task(let task): try switchTask(to: task, by: .call, returnTo: returnTo)
    }
  }

  /// Calls a segment at the same privilege level.
  private func call(_ target: CodeTarget, log2: Int, back: UInt64) throws(Fault) {
    var frame = StackFrame(self)
    try frame.push(UInt64(cpu.selector(1)), log2)
    try frame.push(back, log2)
    // From compatibility mode into 64-bit mode the pointer that the frame has is whole.
    try enter(target)
    frame.commit()
  }

  /// Calls a more privileged segment through a gate, on the stack of its level: SDM Vol. 3A §5.8.5 "Stack
  /// Switching".
  private func callInner(_ target: CodeTarget, _ gate: CallGate, back: UInt64) throws(Fault) {
    let privilege = target.descriptor.privilege
    let isLong = cpu.isLongModeActive
    let old = StackFrame(self)
    var stack: InnerStack?
    var frame: StackFrame
    if isLong {
      frame = StackFrame(self, pointer: try taskStateLoad(4 + UInt64(privilege) * 8), user: false)
    } else {
      let inner = try innerStack(privilege)
      stack = inner
      frame = StackFrame(
        self, pointer: inner.pointer, inner.selector, inner.descriptor, user: false)
    }
    try frame.push(UInt64(cpu.selector(2)), gate.log2)
    try frame.push(cpu.rsp, gate.log2)
    for index in stride(from: gate.parameters - 1, through: 0, by: -1) {
      try frame.push(try old.peek(at: UInt64(index) << UInt64(gate.log2), gate.log2), gate.log2)
    }
    try frame.push(UInt64(cpu.selector(1)), gate.log2)
    try frame.push(back, gate.log2)
    try markAccessed(target.descriptor, at: target.address)
    if let stack { try markAccessed(stack.descriptor, at: stack.address) }
    installCode(target.selector, target.descriptor, privilege: privilege, rip: target.offset)
    if let stack {
      install(2, stack.selector, stack.descriptor)
      cpu.setStackPointer(frame.pointer)
    } else {
      loadNull(2, UInt16(privilege))
      cpu.rsp = frame.pointer
    }
  }

  /// The stack that a more privileged level has in the task state, checked: SDM Vol. 3A §5.8.5 and §7.2.1.
  func innerStack(_ privilege: UInt32) throws(Fault) -> InnerStack {
    let is32Bit = cpu.pointee.tr_attributes & 8 != 0
    let size: UInt64 = is32Bit ? 8 : 4
    let offset = (is32Bit ? 4 : 2) + UInt64(privilege) * size
    guard offset + (is32Bit ? 5 : 3) <= UInt64(cpu.pointee.tr_limit) else {
      throw .invalidTSS(cpu.pointee.tr_selector)
    }
    let address = cpu.pointee.tr_base &+ offset
    let pointer = try systemLoad(address, is32Bit ? 4 : 2)
    let selector = UInt16(truncatingIfNeeded: try systemLoad(address &+ size / 2, 2))
    let refused = Fault.invalidTSS(selector)
    guard selector & ~3 != 0 else { throw refused }
    let (data, place) = try descriptor(selector, else: refused)
    guard UInt32(selector & 3) == privilege, data.privilege == privilege, data.isWritableData
    else { throw refused }
    guard data.isPresent else { throw .stack(selector) }
    return InnerStack(pointer: pointer, selector: selector, descriptor: data, address: place)
  }

  /// Eight bytes of a 64-bit task state.
  func taskStateLoad(_ offset: UInt64) throws(Fault) -> UInt64 {
    guard offset + 7 <= UInt64(cpu.pointee.tr_limit) else {
      throw .invalidTSS(cpu.pointee.tr_selector)
    }
    return try systemLoad(cpu.pointee.tr_base &+ offset, 8)
  }

  // MARK: - RET

  func farReturn(log2: Int, releasing count: UInt64) throws(Fault) {
    var frame = StackFrame(self)
    let offset = try frame.pop(log2)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(log2))
    frame.release(count)
    if cpu.usesParagraphs {
      try enterParagraph(selector, offset)
      frame.commit()
      return
    }
    try leave(to: selector, offset, frame: &frame, log2: log2, alwaysStack: false, releasing: count)
  }

  /// The code segment that a return leads to, checked, and where its descriptor lies.
  private func returnTarget(_ selector: UInt16) throws(Fault) -> (Descriptor, UInt64) {
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let refused = Fault.generalProtection(selector & ~3)
    let (descriptor, address) = try descriptor(selector, else: refused)
    let requested = UInt32(selector & 3)
    guard descriptor.isCode, !(descriptor.isLong && descriptor.isBig && cpu.isLongModeActive),
      requested >= cpu.pointee.privilege,
      descriptor.isConforming
        ? descriptor.privilege <= requested : descriptor.privilege == requested
    else { throw refused }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    return (descriptor, address)
  }

  /// Continues in a code segment of the same or a lower privilege, taking a new stack if it is lower: the common
  /// part of RET and IRET. The offset is looked at last, behind the new stack's segment.
  func leave(
    to selector: UInt16, _ offset: UInt64, frame: inout StackFrame, log2: Int, alwaysStack: Bool,
    releasing count: UInt64 = 0
  ) throws(Fault) {
    let (code, codeAddress) = try returnTarget(selector)
    let privilege = UInt32(selector & 3)
    guard privilege != cpu.pointee.privilege || alwaysStack else {
      let offset = try checkedOffset(offset, in: code)
      try markAccessed(code, at: codeAddress)
      installCode(selector, code, privilege: privilege, rip: offset)
      frame.commit()
      return
    }
    let pointer = try frame.pop(log2)
    let stack = UInt16(truncatingIfNeeded: try frame.pop(log2))
    let toLong = code.isLong && cpu.isLongModeActive
    let isOuter = privilege != cpu.pointee.privilege
    let data = try returnStack(stack, privilege, mayBeNull: toLong)
    let offset = try checkedOffset(offset, in: code)
    try markAccessed(code, at: codeAddress)
    if let (data, address) = data { try markAccessed(data, at: address) }
    installCode(selector, code, privilege: privilege, rip: offset)
    if let (data, _) = data { install(2, stack, data) } else { loadNull(2, stack) }
    // A stack of 16 bits takes 16 bits of the pointer only.
    if toLong {
      cpu.rsp = pointer
    } else {
      cpu.setStackPointer(log2 == 1 ? pointer & 0xffff : pointer)
    }
    if count != 0 { cpu.setStackPointer(cpu.stackPointer &+ count) }
    if isOuter { dropInaccessibleSegments() }
  }

  /// The stack segment that a return leads to, checked, and where its descriptor lies; `nil`: the null selector, which
  /// 64-bit mode takes outside level 3.
  private func returnStack(
    _ selector: UInt16, _ privilege: UInt32, mayBeNull: Bool
  ) throws(Fault) -> (Descriptor, UInt64)? {
    if selector & ~3 == 0 {
      guard mayBeNull, privilege < 3, UInt32(selector & 3) == privilege else {
        throw .generalProtection()
      }
      return nil
    }
    let refused = Fault.generalProtection(selector & ~3)
    let (data, address) = try descriptor(selector, else: refused)
    guard UInt32(selector & 3) == privilege, data.isWritableData, data.privilege == privilege else {
      throw refused
    }
    guard data.isPresent else { throw .stack(selector) }
    return (data, address)
  }

  /// Data segments that the new privilege level may not use become null.
  private func dropInaccessibleSegments() {
    for segment in [0, 3, 4, 5] {
      let attributes = cpu.attributes(segment)
      guard attributes & 0x1_0000 == 0 else { continue }
      let isConformingCode = attributes & 0x1c == 0x1c
      if !isConformingCode, attributes >> 5 & 3 < cpu.pointee.privilege {
        loadNull(segment, 0)
      }
    }
  }
}

/// The stack of a privilege level.
struct InnerStack {
  var pointer: UInt64
  var selector: UInt16
  var descriptor: Descriptor
  /// Where the descriptor lies.
  var address: UInt64
}
