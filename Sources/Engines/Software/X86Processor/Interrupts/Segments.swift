import ArchitectureX86
import CProcessor

// Segment registers, descriptors and far transfers: SDM Vol. 3A chapters 3 and 5.

/// A segment descriptor as it lies in a table.
struct Descriptor {
  var low: UInt32
  var high: UInt32

  init(_ raw: UInt64) {
    low = UInt32(truncatingIfNeeded: raw)
    high = UInt32(truncatingIfNeeded: raw >> 32)
  }

  var base: UInt64 { UInt64(low >> 16 | (high & 0xff) << 16 | high & 0xff00_0000) }
  var limit: UInt64 {
    let raw = UInt64(low & 0xffff | high & 0xf_0000)
    return high & 0x80_0000 != 0 ? raw << 12 | 0xfff : raw
  }
  /// The form of a VMCS' access rights.
  var attributes: UInt32 { high >> 8 & 0xf0ff }
  var type: UInt32 { high >> 8 & 0xf }
  var isCodeOrData: Bool { high & 0x1000 != 0 }
  var isCode: Bool { isCodeOrData && type & 8 != 0 }
  var isConforming: Bool { isCode && type & 4 != 0 }
  var isReadable: Bool { !isCode || type & 2 != 0 }
  var isWritableData: Bool { isCodeOrData && !isCode && type & 2 != 0 }
  var privilege: UInt32 { high >> 13 & 3 }
  var isPresent: Bool { high & 0x8000 != 0 }
  var isLong: Bool { high & 0x20_0000 != 0 }
  var isBig: Bool { high & 0x40_0000 != 0 }
}

/// An exception found while carrying out an instruction or delivering an event.
struct Fault: Error {
  var vector: UInt8
  var code: UInt64?

  static func generalProtection(_ code: UInt16 = 0) -> Fault {
    Fault(vector: X86.Exception.generalProtection, code: UInt64(code))
  }
  static func notPresent(_ selector: UInt16) -> Fault {
    Fault(vector: X86.Exception.segmentNotPresent, code: UInt64(selector & ~3))
  }
  static func stack(_ code: UInt16) -> Fault {
    Fault(vector: X86.Exception.stackFault, code: UInt64(code & ~3))
  }
  static func invalidTSS(_ selector: UInt16) -> Fault {
    Fault(vector: X86.Exception.invalidTSS, code: UInt64(selector & ~3))
  }
  static let invalidOpcode = Fault(vector: X86.Exception.invalidOpcode, code: nil)
}

extension UnsafeMutablePointer<x86_cpu> {
  func selector(_ segment: Int) -> UInt16 {
    withUnsafePointer(to: &pointee.segment_selector) {
      UnsafeRawPointer($0).load(fromByteOffset: segment * 2, as: UInt16.self)
    }
  }

  func attributes(_ segment: Int) -> UInt32 {
    withUnsafePointer(to: &pointee.segment_attributes) {
      UnsafeRawPointer($0).load(fromByteOffset: segment * 4, as: UInt32.self)
    }
  }

  func limit(_ segment: Int) -> UInt64 {
    withUnsafePointer(to: &pointee.segment_limit) {
      UnsafeRawPointer($0).load(fromByteOffset: segment * 8, as: UInt64.self)
    }
  }

  /// Loads a segment register with its hidden part.
  func setSegment(
    _ segment: Int, selector: UInt16, base: UInt64, limit: UInt64, attributes: UInt32
  ) {
    withUnsafeMutablePointer(to: &pointee.segment_selector) {
      UnsafeMutableRawPointer($0).storeBytes(
        of: selector, toByteOffset: segment * 2, as: UInt16.self)
    }
    withUnsafeMutablePointer(to: &pointee.segment_limit) {
      UnsafeMutableRawPointer($0).storeBytes(of: limit, toByteOffset: segment * 8, as: UInt64.self)
    }
    withUnsafeMutablePointer(to: &pointee.segment_attributes) {
      UnsafeMutableRawPointer($0).storeBytes(
        of: attributes, toByteOffset: segment * 4, as: UInt32.self)
    }
    set(Slot.segmentBase &+ UInt8(segment &* 8), base)
  }

  var isProtected: Bool { pointee.cr0 & X86.CR0.protection != 0 }
  var isLongModeActive: Bool { pointee.efer & X86.EFER.longModeActive != 0 }
  var isVirtual8086: Bool { pointee.system_flags & X86.Flags.virtual8086 != 0 }
  /// Real mode and virtual-8086 mode: a selector is a paragraph.
  var usesParagraphs: Bool { !isProtected || isVirtual8086 }
}

extension Core {
  // MARK: - Descriptors

  /// Reads a descriptor's eight bytes.
  func descriptor(_ selector: UInt16, else fault: Fault) throws(Fault) -> (Descriptor, UInt64) {
    let useLocal = selector & 4 != 0
    let base = useLocal ? cpu.pointee.ldtr_base : cpu.pointee.gdtr_base
    let limit = useLocal ? UInt64(cpu.pointee.ldtr_limit) : UInt64(cpu.pointee.gdtr_limit)
    let offset = UInt64(selector & ~7)
    guard !useLocal || cpu.pointee.ldtr_selector & ~3 != 0, offset + 7 <= limit else {
      throw fault
    }
    let address = base &+ offset
    return (Descriptor(try systemLoad(address, 8)), address)
  }

  /// Sets a descriptor's accessed bit, as loading it does.
  private func markAccessed(_ descriptor: Descriptor, at address: UInt64) throws(Fault) {
    guard descriptor.type & 1 == 0 else { return }
    try systemStore(address &+ 5, UInt64(descriptor.high >> 8 & 0xff | 1), 1)
  }

  // MARK: - Loading data and stack segments

  /// MOV to and POP of a segment register, LDS and family.
  func loadSegment(_ segment: Int, _ selector: UInt16) throws(Fault) {
    if cpu.usesParagraphs {
      loadParagraph(segment, selector)
      return
    }
    let isStack = segment == X86.SegmentRegister.ss.rawValue
    if selector & ~3 == 0 {
      // A null selector: for SS only in 64-bit mode below privilege 3 (SDM Vol. 2B, MOV).
      guard
        !isStack
          || cpu.pointee.code_mode == 2 && cpu.pointee.privilege < 3
            && UInt32(selector & 3) == cpu.pointee.privilege
      else { throw .generalProtection() }
      loadNull(segment, selector)
      return
    }
    let refused = Fault.generalProtection(selector & ~3)
    let (descriptor, address) = try descriptor(selector, else: refused)
    let requested = UInt32(selector & 3)
    if isStack {
      guard requested == cpu.pointee.privilege, descriptor.isWritableData,
        descriptor.privilege == cpu.pointee.privilege
      else { throw refused }
      guard descriptor.isPresent else { throw .stack(selector) }
    } else {
      guard descriptor.isCodeOrData, descriptor.isReadable,
        descriptor.isConforming
          || (requested <= descriptor.privilege
            && cpu.pointee.privilege <= descriptor.privilege)
      else { throw refused }
      guard descriptor.isPresent else { throw .notPresent(selector) }
    }
    try markAccessed(descriptor, at: address)
    install(segment, selector, descriptor)
  }

  func install(_ segment: Int, _ selector: UInt16, _ descriptor: Descriptor) {
    cpu.setSegment(
      segment, selector: selector, base: descriptor.base, limit: descriptor.limit,
      attributes: descriptor.attributes | 1)
    updateStackMask()
  }

  func loadNull(_ segment: Int, _ selector: UInt16) {
    let privilege = UInt32(selector & 3)
    // Unusable; a null SS in 64-bit mode still has the privilege level.
    cpu.setSegment(
      segment, selector: selector, base: 0, limit: 0, attributes: 0x1_0000 | privilege << 5)
    updateStackMask()
  }

  func loadParagraph(_ segment: Int, _ selector: UInt16) {
    if cpu.isVirtual8086 {
      cpu.setSegment(
        segment, selector: selector, base: UInt64(selector) << 4, limit: 0xffff, attributes: 0xf3)
    } else {
      // Real mode keeps limit and attributes, which is what makes "unreal" mode (SDM Vol. 3A §20.1).
      let attributes =
        segment == X86.SegmentRegister.cs.rawValue
        ? 0x9b : cpu.attributes(segment) & ~0x1_0000 | 0x80
      cpu.setSegment(
        segment, selector: selector, base: UInt64(selector) << 4, limit: cpu.limit(segment),
        attributes: attributes)
    }
    updateStackMask()
  }

  func updateStackMask() {
    cpu.pointee.stack_mask =
      cpu.pointee.code_mode == 2
      ? .max : cpu.attributes(X86.SegmentRegister.ss.rawValue) & 0x4000 != 0 ? 0xffff_ffff : 0xffff
  }

  // MARK: - Code segments

  /// Loads CS and with it mode and privilege; `rip` is the offset in it.
  func installCode(_ selector: UInt16, _ descriptor: Descriptor, privilege: UInt32, rip: UInt64) {
    cpu.setSegment(
      1, selector: selector & ~3 | UInt16(privilege), base: descriptor.base,
      limit: descriptor.limit, attributes: descriptor.attributes | 1)
    cpu.pointee.privilege = privilege
    modeChanged()
    setOffset(rip)
  }

  /// Moves the instruction pointer to an offset in CS.
  func setOffset(_ offset: UInt64) {
    cpu.pointee.rip =
      cpu.pointee.code_mode == 2
      ? offset : (cpu.segmentBase(1) &+ offset) & cpu.pointee.address_mask
  }

  /// An address of code as an offset in CS: what is pushed, saved and shown.
  func codeOffset(_ linear: UInt64) -> UInt64 {
    cpu.pointee.code_mode == 2 ? linear : (linear &- cpu.segmentBase(1)) & 0xffff_ffff
  }

  /// A direct or indirect far JMP, and the second half of a far CALL.
  ///
  /// - Returns: the code segment's descriptor, checked, or `nil` in real and virtual-8086 mode.
  func checkedCodeSegment(
    _ selector: UInt16, forReturn: Bool = false
  ) throws(Fault) -> (Descriptor, UInt64) {
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let refused = Fault.generalProtection(selector & ~3)
    let (descriptor, address) = try descriptor(selector, else: refused)
    let requested = UInt32(selector & 3)
    guard descriptor.isCode, !(descriptor.isLong && descriptor.isBig && cpu.isLongModeActive)
    else { throw refused }
    if forReturn {
      guard requested >= cpu.pointee.privilege,
        descriptor.isConforming
          ? descriptor.privilege <= requested : descriptor.privilege == requested
      else { throw refused }
    } else {
      guard
        descriptor.isConforming
          ? descriptor.privilege <= cpu.pointee.privilege
          : requested <= cpu.pointee.privilege && descriptor.privilege == cpu.pointee.privilege
      else { throw refused }
    }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    try markAccessed(descriptor, at: address)
    return (descriptor, address)
  }

  func farJump(_ selector: UInt16, _ offset: UInt64) throws(Fault) {
    if cpu.usesParagraphs {
      loadParagraph(1, selector)
      modeChanged()
      setOffset(offset & 0xffff_ffff)
      return
    }
    let (descriptor, _) = try checkedCodeSegment(selector)
    let target = try checkedOffset(offset, in: descriptor)
    installCode(selector, descriptor, privilege: cpu.pointee.privilege, rip: target)
  }

  private func checkedOffset(_ offset: UInt64, in code: Descriptor) throws(Fault) -> UInt64 {
    if code.isLong && cpu.isLongModeActive {
      guard isCanonical(offset) else { throw .generalProtection() }
      return offset
    }
    let offset = offset & 0xffff_ffff
    guard offset <= code.limit else { throw .generalProtection() }
    return offset
  }

  func farCall(_ selector: UInt16, _ offset: UInt64, log2: Int, returnTo: UInt64) throws(Fault) {
    let back = codeOffset(returnTo)
    let old = UInt64(cpu.selector(1))
    var frame = StackFrame(self)
    if cpu.usesParagraphs {
      try frame.push(old, log2)
      try frame.push(back, log2)
      frame.commit()
      loadParagraph(1, selector)
      modeChanged()
      setOffset(offset & 0xffff)
      return
    }
    let (descriptor, _) = try checkedCodeSegment(selector)
    let target = try checkedOffset(offset, in: descriptor)
    try frame.push(old, log2)
    try frame.push(back, log2)
    frame.commit()
    installCode(selector, descriptor, privilege: cpu.pointee.privilege, rip: target)
  }

  /// RET far, and the common part of IRET: SDM Vol. 2B.
  func farReturn(log2: Int, releasing count: UInt64) throws(Fault) {
    var frame = StackFrame(self)
    let offset = try frame.pop(log2)
    let selector = UInt16(truncatingIfNeeded: try frame.pop(log2))
    if cpu.usesParagraphs {
      frame.release(count)
      frame.commit()
      loadParagraph(1, selector)
      modeChanged()
      setOffset(offset)
      return
    }
    frame.release(count)
    try leave(to: selector, offset, frame: &frame, log2: log2, alwaysStack: false, releasing: count)
  }

  /// Continues in a code segment of the same or a lower privilege, taking a new stack if it is lower.
  func leave(
    to selector: UInt16, _ offset: UInt64, frame: inout StackFrame, log2: Int, alwaysStack: Bool,
    releasing count: UInt64 = 0
  ) throws(Fault) {
    let (descriptor, _) = try checkedCodeSegment(selector, forReturn: true)
    let target = try checkedOffset(offset, in: descriptor)
    let privilege = UInt32(selector & 3)
    guard privilege != cpu.pointee.privilege || alwaysStack else {
      frame.commit()
      installCode(selector, descriptor, privilege: privilege, rip: target)
      return
    }
    let pointer = try frame.pop(log2)
    let stack = UInt16(truncatingIfNeeded: try frame.pop(log2))
    let toLong = descriptor.isLong && cpu.isLongModeActive
    if stack & ~3 == 0 {
      guard toLong, privilege < 3, UInt32(stack & 3) == privilege else {
        throw .generalProtection()
      }
      installCode(selector, descriptor, privilege: privilege, rip: target)
      loadNull(2, stack)
    } else {
      let refused = Fault.generalProtection(stack & ~3)
      let (data, address) = try self.descriptor(stack, else: refused)
      guard UInt32(stack & 3) == privilege, data.isWritableData, data.privilege == privilege else {
        throw refused
      }
      guard data.isPresent else { throw .stack(stack) }
      try markAccessed(data, at: address)
      installCode(selector, descriptor, privilege: privilege, rip: target)
      install(2, stack, data)
    }
    cpu.rsp = toLong ? pointer : pointer & (log2 == 1 ? 0xffff : 0xffff_ffff)
    if count != 0 { cpu.setStackPointer(cpu.stackPointer &+ count) }
    dropInaccessibleSegments()
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

  // MARK: - LDTR and TR

  func loadLDTR(_ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else {
      cpu.pointee.ldtr_selector = selector
      cpu.pointee.ldtr_attributes = 0x1_0000
      return
    }
    let (descriptor, base) = try systemDescriptor(selector, types: [2])
    cpu.pointee.ldtr_selector = selector
    cpu.pointee.ldtr_base = base
    cpu.pointee.ldtr_limit = UInt32(truncatingIfNeeded: descriptor.limit)
    cpu.pointee.ldtr_attributes = descriptor.attributes
  }

  func loadTR(_ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let (descriptor, base) = try systemDescriptor(
      selector, types: cpu.isLongModeActive ? [9] : [1, 9])
    // Busy from now on.
    try systemStore(
      cpu.pointee.gdtr_base &+ UInt64(selector & ~7) &+ 5,
      UInt64(descriptor.high >> 8 & 0xff | 2), 1)
    cpu.pointee.tr_selector = selector
    cpu.pointee.tr_base = base
    cpu.pointee.tr_limit = UInt32(truncatingIfNeeded: descriptor.limit)
    cpu.pointee.tr_attributes = descriptor.attributes | 2
  }

  private func systemDescriptor(
    _ selector: UInt16, types: [UInt32]
  ) throws(Fault) -> (Descriptor, UInt64) {
    let refused = Fault.generalProtection(selector & ~3)
    guard selector & 4 == 0 else { throw refused }
    let (descriptor, address) = try descriptor(selector, else: refused)
    guard !descriptor.isCodeOrData, types.contains(descriptor.type) else { throw refused }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    var base = descriptor.base
    if cpu.isLongModeActive {
      guard UInt64(selector & ~7) + 15 <= UInt64(cpu.pointee.gdtr_limit) else { throw refused }
      base |= try systemLoad(address &+ 8, 4) << 32
    }
    return (descriptor, base)
  }
}

/// Pushes and pops that take effect together, or not at all.
struct StackFrame {
  private let core: Core
  private(set) var pointer: UInt64
  /// Where the stack segment starts, how wide its pointer is, and at which privilege it is reached.
  private let base: UInt64
  private let mask: UInt64
  private let user: Bool

  /// On the current stack.
  init(_ core: Core) {
    self.core = core
    pointer = core.cpu.stackPointer
    base = core.cpu.pointee.code_mode == 2 ? 0 : core.cpu.segmentBase(2)
    mask = core.cpu.pointee.stack_mask
    user = core.cpu.pointee.privilege == 3
  }

  /// On a stack that is about to be entered.
  init(_ core: Core, pointer: UInt64, base: UInt64, mask: UInt64, user: Bool) {
    self.core = core
    self.pointer = pointer
    self.base = base
    self.mask = mask
    self.user = user
  }

  mutating func push(_ value: UInt64, _ log2: Int) throws(Fault) {
    let size: UInt64 = 1 << UInt64(log2)
    let top = (pointer &- size) & mask
    try core.systemStore(address(top), value, Int(size), user: user)
    pointer = top
  }

  mutating func pop(_ log2: Int) throws(Fault) -> UInt64 {
    let size: UInt64 = 1 << UInt64(log2)
    let value = try core.systemLoad(address(pointer), Int(size), user: user)
    pointer = (pointer &+ size) & mask
    return value
  }

  mutating func release(_ count: UInt64) { pointer = (pointer &+ count) & mask }

  mutating func set(pointer: UInt64) { self.pointer = pointer }

  /// Makes the stack pointer's change true.
  func commit() { core.cpu.setStackPointer(pointer) }

  private func address(_ offset: UInt64) -> UInt64 {
    (base &+ offset) & core.cpu.pointee.address_mask
  }
}
