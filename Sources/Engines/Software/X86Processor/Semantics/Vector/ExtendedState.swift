import ArchitectureX86
import CProcessor

// XSAVE and its kin: SDM Vol. 1 chapter 13 "Managing State Using the XSAVE Feature Set". Beyond the legacy region there
// are AVX state, which has the same place in the standard form and in the compacted one, and PKRU, which has not and is
// read and written by itself. No component is the supervisor's: IA32_XSS is zero.

private typealias Components = X86.StateComponents

/// Places in an XSAVE area: SDM Vol. 1 Table 10-2, §13.4.
private enum Area {
  /// What belongs to the x87 FPU, before MXCSR and behind it.
  static let x87 = [0..<24, 32..<160]
  static let mxcsr = 24..<32
  static let vectors = 160
  static let header = 512
  static let headerSize = Int(Components.headerSize)
  static let upperHalves = Int(Components.avxOffset)
  static let keyRights = Int(Components.protectionKeysOffset)
  /// Of what is laid out as a whole: all but PKRU.
  static let size = upperHalves + Int(Components.avxSize)
}

private typealias AreaBytes = InlineArray<52, SIMD16<UInt8>>

// MARK: - State components

extension UnsafeMutablePointer<x86_cpu> {
  /// XINUSE: which components may differ from their initial configuration (§13.6). That of the x87 FPU is not
  /// tracked.
  var componentsInUse: UInt64 {
    Components.x87 | (isAnySet(from: 0) ? Components.sse : 0)
      | (isAnySet(from: UInt8(X86_VECTOR_UPPER)) ? Components.avx : 0)
      | (pointee.pkru != 0 ? Components.protectionKeys : 0)
  }

  /// Whether any of sixteen vector registers is not zero.
  private func isAnySet(from first: UInt8) -> Bool {
    var all = Quadwords(0, 0)
    for index in 0..<16 as Range<UInt8> { all |= vector(first &+ index, as: Quadwords.self) }
    return all != Quadwords(0, 0)
  }

  /// The upper halves of the YMM registers.
  var upperHalves: UnsafeMutableRawPointer { vectorBytes(UInt8(X86_VECTOR_UPPER)) }
}

/// Writes a whole area with every component in `components`, in the form with 64-bit pointers.
func storeExtendedState(_ cpu: CPU, to bytes: UnsafeMutableRawPointer, components: UInt64) {
  storeFXSAVE(cpu, to: bytes)
  bytes.storeBytes(of: components, toByteOffset: Area.header, as: UInt64.self)
  if components & Components.avx != 0 {
    (bytes + Area.upperHalves).copyMemory(
      from: cpu.upperHalves, byteCount: Int(Components.avxSize))
  }
  if components & Components.protectionKeys != 0 {
    bytes.storeBytes(of: UInt64(cpu.pointee.pkru), toByteOffset: Area.keyRights, as: UInt64.self)
  }
}

/// Takes over a whole area, whose MXCSR has no reserved bits set. Upper halves and PKRU are zero if it does not hold
/// them. Translations that PKRU no longer permits are the caller's to drop.
func loadExtendedState(_ cpu: CPU, from bytes: UnsafeRawBufferPointer) {
  guard let base = bytes.baseAddress, bytes.count >= Int(Components.areaSize(0)) else { return }
  loadFXSAVE(cpu, from: base)
  let held = base.loadUnaligned(fromByteOffset: Area.header, as: UInt64.self)
  if held & Components.avx != 0, bytes.count >= Area.size {
    cpu.upperHalves.copyMemory(
      from: base + Area.upperHalves, byteCount: Int(Components.avxSize))
  } else {
    cpu.clear(from: UInt8(X86_VECTOR_UPPER), count: 16)
  }
  cpu.pointee.pkru =
    held & Components.protectionKeys != 0 && bytes.count >= Area.keyRights + 4
    ? base.loadUnaligned(fromByteOffset: Area.keyRights, as: UInt32.self) : 0
}

extension UnsafeMutablePointer<x86_cpu> {
  fileprivate func clear(from first: UInt8, count: Int) {
    vectorBytes(first).initializeMemory(as: UInt8.self, repeating: 0, count: 16 &* count)
  }
}

// MARK: - XSETBV, XGETBV

extension Core {
  private func requireExtendedState() throws(Fault) {
    guard cpu.pointee.cr4 & X86.CR4.xsave != 0 else { throw .invalidOpcode }
  }

  func readExtendedControl() throws(Fault) -> UInt64 {
    try requireExtendedState()
    switch UInt32(truncatingIfNeeded: cpu.rcx) {
    case 0: return cpu.pointee.xcr0
    case 1: return cpu.pointee.xcr0 & cpu.componentsInUse
    default: throw .generalProtection()
    }
  }

  func writeExtendedControl(_ value: UInt64) throws(Fault) {
    try requireExtendedState()
    try requirePrivilege0()
    guard UInt32(truncatingIfNeeded: cpu.rcx) == 0, permits(xcr0: value) else {
      throw .generalProtection()
    }
    cpu.pointee.xcr0 = value
    modeChanged()
  }

  /// Whether XCR0 may have this value: x87 always, AVX never without SSE (§13.3).
  func permits(xcr0 value: UInt64) -> Bool {
    value & ~model.features.stateComponents == 0 && value & Components.x87 != 0
      && (value & Components.avx == 0 || value & Components.sse != 0)
  }
}

enum ExtendedState {
  static let readControl: Handler = { cpu, op in
    system(cpu, op) { (core, op) throws(Fault) in
      let value = try core.readExtendedControl()
      core.cpu.rax = value & 0xffff_ffff
      core.cpu.rdx = value >> 32
    }
  }
  static let writeControl: Handler = { cpu, op in
    systemThenLeave(cpu, op) { (core, op) throws(Fault) in
      try core.writeExtendedControl(core.cpu.rax & 0xffff_ffff | core.cpu.rdx << 32)
    }
  }

  /// XSAVE, XSAVEOPT, XSAVEC and XSAVES; `detail` is REX.W, `immediate` one of `SaveForm`.
  static let save: Handler = { cpu, op in
    guard saveComponents(cpu, op) else { return }
    return next(cpu, op)
  }
  /// XRSTOR and XRSTORS, likewise.
  static let restore: Handler = { cpu, op in
    guard restoreComponents(cpu, op) else { return }
    return next(cpu, op)
  }
}

/// Which instruction of the family.
enum SaveForm {
  static let whole: UInt64 = 0
  /// XSAVEOPT: what is initial is left out.
  static let optimised: UInt64 = 1
  /// XSAVEC: so it is, and the area has the compacted form.
  static let compacted: UInt64 = 2
  /// XSAVES and XRSTORS: the compacted form, for privilege level 0.
  static let supervisor: UInt64 = 3
}

/// XCOMP_BV's bit 63: the area has the compacted form (§13.4.2).
private let compactedForm: UInt64 = 1 << 63

// MARK: - XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS

/// The address of the instruction's area, of which `size` bytes are used; `nil` once an exception was raised.
private func areaAddress(_ cpu: CPU, _ op: Op, _ size: Int, write: Bool) -> UInt64? {
  guard cpu.pointee.cr4 & X86.CR4.xsave != 0 else {
    raise(cpu, op, X86.Exception.invalidOpcode)
    return nil
  }
  guard cpu.pointee.cr0 & X86.CR0.taskSwitched == 0 else {
    raise(cpu, op, X86.Exception.deviceNotAvailable)
    return nil
  }
  guard op.pointee.immediate != SaveForm.supervisor || cpu.pointee.privilege == 0 else {
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
    return nil
  }
  guard let address = Segmented.linear(cpu, op, size, write: write) else { return nil }
  guard address & 63 == 0 else {
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
    return nil
  }
  return address
}

extension UnsafeMutablePointer<x86_cpu> {
  /// RFBM: the components that the instruction is about.
  fileprivate var requestedComponents: UInt64 {
    pointee.xcr0 & (rax & 0xffff_ffff | rdx &<< 32)
  }
}

@inline(never)
private func saveComponents(_ cpu: CPU, _ op: Op) -> Bool {
  let requested = cpu.requestedComponents
  let isCompacted = op.pointee.immediate >= SaveForm.compacted
  let size = Int(
    isCompacted ? Components.compactedAreaSize(requested) : Components.areaSize(requested))
  guard let address = areaAddress(cpu, op, size, write: true),
    isWritable(cpu, op, address, size)
  else { return false }
  cpu.pointee.mxcsr = cpu.mxcsr
  var inUse = cpu.componentsInUse
  let isOptimised = op.pointee.immediate != SaveForm.whole
  // In the compacted form MXCSR is part of SSE state (§13.10).
  if isCompacted, cpu.pointee.mxcsr != MXCSR.initial { inUse |= Components.sse }
  let written = isOptimised ? requested & inUse : requested
  var area = AreaBytes(repeating: .zero)
  return withUnsafeMutableBytes(of: &area) {
    guard let bytes = $0.baseAddress else { return false }
    storeFXSAVE(cpu, to: bytes, wide: op.pointee.detail != 0)
    func store(_ range: Range<Int>) -> Bool {
      storeBlock(
        cpu, op, advance(cpu, address, range.lowerBound), from: bytes + range.lowerBound,
        range.count)
    }
    if written & Components.x87 != 0 {
      for range in Area.x87 where !store(range) { return false }
    }
    let storesMXCSR =
      isCompacted
      ? written & Components.sse != 0 : requested & (Components.sse | Components.avx) != 0
    if storesMXCSR, !store(Area.mxcsr) { return false }
    if written & Components.sse != 0 {
      guard store(Area.vectors..<Area.vectors &+ 16 &* cpu.vectorCount) else { return false }
    }
    if written & Components.avx != 0 {
      let count = 16 &* cpu.vectorCount
      (bytes + Area.upperHalves).copyMemory(from: cpu.upperHalves, byteCount: count)
      guard store(Area.upperHalves..<Area.upperHalves &+ count) else { return false }
    }
    if written & Components.protectionKeys != 0 {
      var rights = UInt64(cpu.pointee.pkru)
      let place = advance(cpu, address, size &- Int(Components.protectionKeysSize))
      guard storeBlock(cpu, op, place, from: &rights, 8) else { return false }
    }
    if isCompacted {
      let header = bytes + Area.header
      header.storeBytes(of: requested & inUse, as: UInt64.self)
      header.storeBytes(of: requested | compactedForm, toByteOffset: 8, as: UInt64.self)
      return store(Area.header..<Area.header &+ 16)
    }
    // XSTATE_BV: what is not asked for stays.
    guard loadBlock(cpu, op, advance(cpu, address, Area.header), into: bytes + Area.header, 8)
    else { return false }
    let old = bytes.load(fromByteOffset: Area.header, as: UInt64.self)
    bytes.storeBytes(
      of: old & ~requested | requested & inUse, toByteOffset: Area.header, as: UInt64.self)
    return store(Area.header..<Area.header &+ 8)
  }
}

@inline(never)
private func restoreComponents(_ cpu: CPU, _ op: Op) -> Bool {
  let requested = cpu.requestedComponents
  let size = Int(Components.areaSize(requested & ~Components.protectionKeys))
  guard let address = areaAddress(cpu, op, size, write: false) else { return false }
  var area = AreaBytes(repeating: .zero)
  return withUnsafeMutableBytes(of: &area) {
    guard let bytes = $0.baseAddress, loadBlock(cpu, op, address, into: bytes, size) else {
      return false
    }
    let header = UnsafeRawBufferPointer(start: bytes + Area.header, count: Area.headerSize)
    let held = header.load(as: UInt64.self)
    let mxcsr = bytes.load(fromByteOffset: Area.mxcsr.lowerBound, as: UInt32.self)
    let form = header.load(fromByteOffset: 8, as: UInt64.self)
    let isCompacted = form & compactedForm != 0
    let holdsSSE = requested & held & Components.sse != 0
    let loadsMXCSR =
      isCompacted ? holdsSSE : requested & (Components.sse | Components.avx) != 0
    // XCOMP_BV and the bytes behind it: §13.8.
    let isForm =
      isCompacted
      ? cpu.core { $0.model.features.hasXSAVEC } && held & ~form == 0
        && form & ~compactedForm & ~cpu.pointee.xcr0 == 0 && header[16...].allSatisfy({ $0 == 0 })
      : op.pointee.immediate != SaveForm.supervisor && header[8..<24].allSatisfy({ $0 == 0 })
    guard isForm, held & ~cpu.pointee.xcr0 == 0, !loadsMXCSR || mxcsr & ~MXCSR.valid == 0 else {
      raise(cpu, op, X86.Exception.generalProtection, code: 0)
      return false
    }
    var rights: UInt64 = 0
    if requested & held & Components.protectionKeys != 0 {
      let place =
        isCompacted
        ? Components.compactedProtectionKeysOffset(form) : Components.protectionKeysOffset
      guard loadBlock(cpu, op, advance(cpu, address, Int(place)), into: &rights, 8) else {
        return false
      }
    }
    restore(cpu, from: bytes, requested, held: held, wide: op.pointee.detail != 0)
    if requested & Components.protectionKeys != 0 {
      cpu.core { $0.setProtectionKeyRights(UInt32(truncatingIfNeeded: rights)) }
    }
    if loadsMXCSR {
      cpu.mxcsr = mxcsr
    } else if isCompacted, requested & Components.sse != 0 {
      cpu.mxcsr = MXCSR.initial
    }
    return true
  }
}

/// Loads the requested components that the area holds, and initialises those that it does not.
private func restore(
  _ cpu: CPU, from bytes: UnsafeMutableRawPointer, _ requested: UInt64, held: UInt64, wide: Bool
) {
  if requested & Components.x87 != 0 {
    if held & Components.x87 == 0 {
      // The initial configuration: FCW is 0x37F, everything else zero.
      bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Area.vectors)
      bytes.storeBytes(of: 0x37f, as: UInt16.self)
    }
    cpu.x87.pointee.loadFXSAVE(from: bytes, wide: wide)
  }
  let count = cpu.vectorCount
  let sets: [(component: UInt64, first: UInt8, offset: Int)] = [
    (Components.sse, 0, Area.vectors), (Components.avx, UInt8(X86_VECTOR_UPPER), Area.upperHalves),
  ]
  for set in sets where requested & set.component != 0 {
    if held & set.component != 0 {
      cpu.vectorBytes(set.first).copyMemory(from: bytes + set.offset, byteCount: 16 &* count)
    } else {
      cpu.clear(from: set.first, count: count)
    }
  }
}

private func advance(_ cpu: CPU, _ address: UInt64, _ count: Int) -> UInt64 {
  (address &+ UInt64(count)) & cpu.pointee.address_mask
}

// MARK: - Translation

extension Translator {
  /// 0F AE with a memory operand: /4 XSAVE, /5 XRSTOR, /6 XSAVEOPT.
  mutating func extendedState() -> Flow? {
    guard features.hasXSAVE, i.isMemory, i.mandatoryPrefix == 0 else { return nil }
    let all = i.extension3 == 5 ? ExtendedState.restore : ExtendedState.save
    guard 4...6 ~= i.extension3, i.extension3 != 6 || features.hasXSAVEOPT else { return nil }
    emit(
      MemoryHandlers(all, all, all),
      immediate: i.extension3 == 6 ? SaveForm.optimised : SaveForm.whole,
      detail: i.rex & 8 != 0 ? 1 : 0)
    return .sequential
  }

  /// 0F C7 with a memory operand: /3 XRSTORS, /4 XSAVEC, /5 XSAVES.
  mutating func compactedState() -> Flow? {
    guard i.mandatoryPrefix == 0, i.extension3 == 4 ? features.hasXSAVEC : features.hasXSAVES else {
      return nil
    }
    let all = i.extension3 == 3 ? ExtendedState.restore : ExtendedState.save
    emit(
      MemoryHandlers(all, all, all),
      immediate: i.extension3 == 4 ? SaveForm.compacted : SaveForm.supervisor,
      detail: i.rex & 8 != 0 ? 1 : 0)
    return .sequential
  }

  /// 0F 01 D0 XGETBV, 0F 01 D1 XSETBV.
  mutating func extendedControl() -> Flow? {
    guard features.hasXSAVE, i.mandatoryPrefix == 0 else { return nil }
    if i.modRM == 0xd0 {
      emit(ExtendedState.readControl)
      return .sequential
    }
    emit(ExtendedState.writeControl)
    return .ends
  }
}
