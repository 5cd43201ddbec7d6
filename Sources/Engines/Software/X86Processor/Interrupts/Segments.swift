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
  /// A system descriptor's type; `nil` for code and data.
  var systemType: SystemType? { isCodeOrData ? nil : SystemType(rawValue: type) }
  var bounds: SegmentBounds { SegmentBounds(limit: limit, attributes: attributes, isTyped: true) }
  var isLong: Bool { high & 0x20_0000 != 0 }
  var isBig: Bool { high & 0x40_0000 != 0 }
}

/// SDM Vol. 3A Table 3-2 "System-Segment and Gate-Descriptor Types".
enum SystemType: UInt32 {
  case availableTSS16 = 1
  case localTable = 2
  case busyTSS16 = 3
  case callGate16 = 4
  case taskGate = 5
  case interruptGate16 = 6
  case trapGate16 = 7
  case availableTSS = 9
  case busyTSS = 11
  case callGate = 12
  case interruptGate = 14
  case trapGate = 15
}

/// An exception found while carrying out an instruction or delivering an event.
struct Fault: Error {
  var vector: UInt8
  var code: UInt64?
  /// Whether it belongs to the task that was just entered, whose instruction pointer is then in place already.
  var isInNewTask = false

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
  /// A gate of the interrupt descriptor table, by its index with the IDT bit.
  static func gateNotPresent(_ code: UInt16) -> Fault {
    Fault(vector: X86.Exception.segmentNotPresent, code: UInt64(code))
  }

  /// The same raised on the way of an event from outside: EXT is set (SDM Vol. 3A §6.13).
  var external: Fault {
    guard let code, vector != X86.Exception.pageFault else { return self }
    var fault = self
    fault.code = code | 1
    return fault
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
    setBase(segment, base)
    updateEnds(of: segment)
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
    guard !useLocal || cpu.pointee.ldtr_attributes & 0x1_0000 == 0, offset + 7 <= limit else {
      throw fault
    }
    let address = base &+ offset
    return (Descriptor(try systemLoad(address, 8)), address)
  }

  /// Sets a descriptor's accessed bit, as loading it does.
  func markAccessed(_ descriptor: Descriptor, at address: UInt64) throws(Fault) {
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
    segmentChanged()
  }

  func loadNull(_ segment: Int, _ selector: UInt16) {
    let privilege = UInt32(selector & 3)
    // Unusable; a null SS in 64-bit mode still has the privilege level.
    cpu.setSegment(
      segment, selector: selector, base: 0, limit: 0, attributes: 0x1_0000 | privilege << 5)
    segmentChanged()
  }

  func loadParagraph(_ segment: Int, _ selector: UInt16) {
    if cpu.isVirtual8086 {
      cpu.setSegment(
        segment, selector: selector, base: UInt64(selector) << 4, limit: 0xffff, attributes: 0xf3)
    } else {
      // Real mode keeps limit and attributes, which is what makes "unreal" mode (SDM Vol. 3A §20.1).
      // What was unusable becomes what it is after power-on.
      let old = cpu.attributes(segment)
      let isUsable = old & 0x1_0000 == 0
      cpu.setSegment(
        segment, selector: selector, base: UInt64(selector) << 4,
        limit: isUsable ? cpu.limit(segment) : 0xffff,
        attributes: segment == X86.SegmentRegister.cs.rawValue ? 0x9b : isUsable ? old : 0x93)
    }
    segmentChanged()
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

  // MARK: - LDTR and TR

  func loadLDTR(_ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else { return setNullLDTR(selector) }
    let (descriptor, base) = try systemDescriptor(selector, types: [.localTable])
    setLDTR(selector, descriptor, base: base)
  }

  func setNullLDTR(_ selector: UInt16) {
    cpu.pointee.ldtr_selector = selector
    cpu.pointee.ldtr_attributes = 0x1_0000
  }

  func setLDTR(_ selector: UInt16, _ descriptor: Descriptor, base: UInt64) {
    cpu.pointee.ldtr_selector = selector
    cpu.pointee.ldtr_base = base
    cpu.pointee.ldtr_limit = UInt32(truncatingIfNeeded: descriptor.limit)
    cpu.pointee.ldtr_attributes = descriptor.attributes
  }

  func loadTR(_ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else { throw .generalProtection() }
    let (descriptor, base) = try systemDescriptor(
      selector, types: cpu.isLongModeActive ? [.availableTSS] : [.availableTSS16, .availableTSS])
    // Busy from now on.
    try systemStore(
      cpu.pointee.gdtr_base &+ UInt64(selector & ~7) &+ 5,
      UInt64(descriptor.high >> 8 & 0xff | 2), 1)
    setTR(selector, descriptor, base: base)
  }

  /// Loads TR with a descriptor that is busy from now on.
  func setTR(_ selector: UInt16, _ descriptor: Descriptor, base: UInt64) {
    cpu.pointee.tr_selector = selector
    cpu.pointee.tr_base = base
    cpu.pointee.tr_limit = UInt32(truncatingIfNeeded: descriptor.limit)
    cpu.pointee.tr_attributes = descriptor.attributes | 2
  }

  private func systemDescriptor(
    _ selector: UInt16, types: [SystemType]
  ) throws(Fault) -> (Descriptor, UInt64) {
    let refused = Fault.generalProtection(selector & ~3)
    guard selector & 4 == 0 else { throw refused }
    let (descriptor, address) = try descriptor(selector, else: refused)
    guard let type = descriptor.systemType, types.contains(type) else { throw refused }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    var base = descriptor.base
    if cpu.isLongModeActive {
      guard UInt64(selector & ~7) + 15 <= UInt64(cpu.pointee.gdtr_limit) else { throw refused }
      base |= try systemLoad(address &+ 8, 4) << 32
      guard isCanonical(base) else { throw refused }
    }
    return (descriptor, base)
  }
}
