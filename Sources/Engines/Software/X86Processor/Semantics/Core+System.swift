import InterruptControllers
import ArchitectureX86
import Board
import CProcessor
import Memory

// What system instructions do to the processor.

extension Core {
  // MARK: - Control registers: SDM Vol. 3A §2.5

  func setCR0(_ value: UInt64) throws(Fault) {
    let old = cpu.pointee.cr0
    guard value >> 32 == 0,
      value & X86.CR0.paging == 0 || value & X86.CR0.protection != 0,
      value & X86.CR0.notWriteThrough == 0 || value & X86.CR0.cacheDisable != 0,
      value & X86.CR0.paging != 0 || cpu.pointee.cr4 & X86.CR4.processContextIdentifiers == 0
    else { throw .generalProtection() }
    let turnsOn = value & ~old & X86.CR0.paging != 0
    let turnsOff = old & ~value & X86.CR0.paging != 0
    if turnsOn, cpu.pointee.efer & X86.EFER.longModeEnable != 0 {
      guard cpu.pointee.cr4 & X86.CR4.physicalAddressExtension != 0,
        cpu.attributes(1) & 0x2000 == 0, cpu.pointee.tr_attributes & 8 != 0
      else { throw .generalProtection() }
      cpu.pointee.efer |= X86.EFER.longModeActive
    } else if turnsOn, cpu.pointee.cr4 & X86.CR4.physicalAddressExtension != 0 {
      try loadPageDirectoryPointers(from: cpu.pointee.cr3)
    }
    if turnsOff {
      guard cpu.pointee.code_mode != 2 else { throw .generalProtection() }
      cpu.pointee.efer &= ~X86.EFER.longModeActive
    }
    cpu.pointee.cr0 = value | X86.CR0.extensionType
    if value & X86.CR0.protection == 0 { cpu.pointee.privilege = 0 }
    let translating = X86.CR0.paging | X86.CR0.protection | X86.CR0.writeProtect
    if (value ^ old) & translating != 0 { flushTranslations(global: true) }
    modeChanged()
  }

  func setCR3(_ value: UInt64) throws(Fault) {
    var value = value
    if cpu.isLongModeActive {
      // Bit 63 spares translations, of which none are spared here: SDM Vol. 3A §4.10.4.1.
      if cpu.pointee.cr4 & X86.CR4.processContextIdentifiers != 0 { value &= ~(1 << 63) }
      guard value >> UInt64(physicalAddressBits) == 0 else { throw .generalProtection() }
    } else if usesPageDirectoryPointers {
      try loadPageDirectoryPointers(from: value)
    }
    cpu.pointee.cr3 = value
    flushTranslations(global: cpu.pointee.cr4 & X86.CR4.globalPages == 0)
  }

  /// PAE paging, which keeps the entries of its first table in registers: SDM Vol. 3A §4.4.1.
  var usesPageDirectoryPointers: Bool {
    cpu.pointee.cr0 & X86.CR0.paging != 0 && !cpu.isLongModeActive
      && cpu.pointee.cr4 & X86.CR4.physicalAddressExtension != 0
  }

  /// Loads those registers; where an entry has reserved bits set, none.
  func loadPageDirectoryPointers(from cr3: UInt64) throws(Fault) {
    var entries = InlineArray<4, UInt64>(repeating: 0)
    let reserved = 0x1e6 | ~((1 as UInt64) << UInt64(physicalAddressBits) - 1)
    for index in 0..<4 {
      let address = (cr3 & 0xffff_ffe0 + UInt64(index) * 8) & a20Mask
      guard let page = reachablePage(address) else { continue }
      let entry = page.base.load(fromByteOffset: Int(address & pageMask), as: UInt64.self)
      guard entry & 1 == 0 || entry & reserved == 0 else { throw .generalProtection() }
      entries[index] = entry
    }
    pageDirectoryPointers = entries
  }

  /// The same for a state that comes from elsewhere: what cannot be loaded is not present.
  func reloadPageDirectoryPointers() {
    pageDirectoryPointers = InlineArray(repeating: 0)
    if usesPageDirectoryPointers { try? loadPageDirectoryPointers(from: cpu.pointee.cr3) }
  }

  func setCR4(_ value: UInt64) throws(Fault) {
    let old = cpu.pointee.cr4
    guard value & ~permittedCR4 == 0,
      !cpu.isLongModeActive || value & X86.CR4.physicalAddressExtension != 0,
      !cpu.isLongModeActive || (value ^ old) & X86.CR4.linearAddress57 == 0,
      value & ~old & X86.CR4.processContextIdentifiers == 0
        || cpu.isLongModeActive && cpu.pointee.cr3 & 0xfff == 0
    else { throw .generalProtection() }
    let reloading =
      X86.CR4.physicalAddressExtension | X86.CR4.pageSizeExtensions | X86.CR4.globalPages
      | X86.CR4.supervisorExecutionPrevention
    cpu.pointee.cr4 = value
    if usesPageDirectoryPointers, (value ^ old) & reloading != 0 {
      do throws(Fault) {
        try loadPageDirectoryPointers(from: cpu.pointee.cr3)
      } catch {
        cpu.pointee.cr4 = old
        throw error
      }
    }
    let translating =
      X86.CR4.pageSizeExtensions | X86.CR4.physicalAddressExtension | X86.CR4.globalPages
      | X86.CR4.supervisorExecutionPrevention | X86.CR4.supervisorAccessPrevention
      | X86.CR4.linearAddress57 | X86.CR4.processContextIdentifiers | X86.CR4.protectionKeys
    if (value ^ old) & translating != 0 { flushTranslations(global: true) }
    modeChanged()
    debugControlChanged()
  }

  /// The bits that the model's features give a meaning.
  private var permittedCR4: UInt64 {
    let features = model.features
    let byFeature: [(Bool, UInt64)] = [
      (features.hasVME, X86.CR4.virtual8086 | X86.CR4.protectedVirtualInterrupts),
      (features.hasTSC, X86.CR4.timeStampDisable),
      (features.hasDebuggingExtensions, X86.CR4.debuggingExtensions),
      (features.hasPageSizeExtensions, X86.CR4.pageSizeExtensions),
      (features.hasPAE, X86.CR4.physicalAddressExtension),
      (features.hasGlobalPages, X86.CR4.globalPages),
      // Not announced, but in every processor since the P6.
      (features.hasCMOV, X86.CR4.machineCheck | X86.CR4.performanceCounters),
      (features.hasFXSR, X86.CR4.fxsave), (features.hasSSE, X86.CR4.simdExceptions),
      (features.hasUMIP, X86.CR4.userModeInstructionPrevention),
      (features.hasLA57, X86.CR4.linearAddress57), (features.hasFSGSBASE, X86.CR4.fsgsbase),
      (features.hasPCID, X86.CR4.processContextIdentifiers), (features.hasXSAVE, X86.CR4.xsave),
      (features.hasSMEP, X86.CR4.supervisorExecutionPrevention),
      (features.hasSMAP, X86.CR4.supervisorAccessPrevention),
      (features.hasPKU, X86.CR4.protectionKeys),
    ]
    return byFeature.reduce(0) { $0 | ($1.0 ? $1.1 : 0) }
  }

  // MARK: - Debug registers: SDM Vol. 3B §17.2

  /// DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids them.
  func debugRegister(_ number: UInt8) throws(Fault) -> Int {
    guard number < 8 else { throw .invalidOpcode }
    if number == 4 || number == 5 {
      guard cpu.pointee.cr4 & X86.CR4.debuggingExtensions == 0 else { throw .invalidOpcode }
      return Int(number) + 2
    }
    return Int(number)
  }

  func debugRegisterValue(_ number: Int) -> UInt64 {
    withUnsafeBytes(of: &cpu.pointee.debug) { $0.load(fromByteOffset: number * 8, as: UInt64.self) }
  }

  func setDebugRegister(_ number: Int, _ value: UInt64) throws(Fault) {
    var value = value
    if number >= 6 {
      guard value >> 32 == 0 else { throw .generalProtection() }
      value = number == 6 ? value & 0xe00f | 0xffff_0ff0 : value & 0xffff_2fff | 0x400
    }
    withUnsafeMutableBytes(of: &cpu.pointee.debug) {
      $0.storeBytes(of: value, toByteOffset: number * 8, as: UInt64.self)
    }
    if number != 6 { debugControlChanged() }
  }

  /// While DR7.GD is set the debug registers are out of reach: SDM Vol. 3B §17.2.4.
  func requireDebugRegisters() throws(Fault) {
    guard cpu.pointee.debug.7 & DebugControl.generalDetect != 0 else { return }
    cpu.pointee.debug.6 |= DebugStatus.access
    throw Fault(vector: X86.Exception.debug, code: nil)
  }

  // MARK: - Tables and selectors

  /// A table base that LGDT or LIDT loaded into temporary 1; `detail` is the operand size.
  func checkedTableBase(_ op: Op) throws(Fault) -> UInt64 {
    let raw = cpu.get(Slot.temporary1, UInt64.self)
    if cpu.pointee.code_mode == 2 {
      guard isCanonical(raw) else { throw .generalProtection() }
      return raw
    }
    return raw & (op.pointee.detail == 1 ? 0xff_ffff : 0xffff_ffff)
  }

  /// LAR 0, LSL 1, VERR 2, VERW 3: rights, limit or anything if the selector will do.
  func inspect(_ selector: UInt16, kind: UInt8) throws(Fault) -> UInt64? {
    guard selector & ~3 != 0 else { return nil }
    let descriptor: Descriptor
    do throws(Fault) {
      descriptor = try self.descriptor(selector, else: .generalProtection()).0
    } catch {
      if error.vector == X86.Exception.pageFault { throw error }
      return nil
    }
    let level = max(cpu.pointee.privilege, UInt32(selector & 3))
    if !descriptor.isConforming, descriptor.privilege < level { return nil }
    if !descriptor.isCodeOrData {
      let permitted: [UInt32] =
        cpu.isLongModeActive
        ? (kind == 0 ? [2, 9, 0xb, 0xc] : [2, 9, 0xb])
        : (kind == 0 ? [1, 2, 3, 4, 5, 9, 0xb, 0xc] : [1, 2, 3, 9, 0xb])
      guard kind < 2, permitted.contains(descriptor.type) else { return nil }
    }
    switch kind {
    case 0: return UInt64(descriptor.high & 0x00ff_ff00)
    case 1: return descriptor.limit
    case 2: return descriptor.isCodeOrData && descriptor.isReadable ? 0 : nil
    default: return descriptor.isWritableData ? 0 : nil
    }
  }

  // MARK: - SYSCALL and SYSRET: AMD APM Vol. 3; SYSENTER and SYSEXIT: SDM Vol. 2B

  private func flatSegment(_ segment: Int, _ selector: UInt16, attributes: UInt32) {
    cpu.setSegment(
      segment, selector: selector, base: 0, limit: 0xffff_ffff, attributes: attributes)
  }

  func systemCall(returnTo: UInt64) throws(Fault) {
    guard cpu.pointee.efer & X86.EFER.systemCall != 0, cpu.isProtected else {
      throw .invalidOpcode
    }
    let selector = UInt16(truncatingIfNeeded: cpu.pointee.star >> 32) & ~3
    if cpu.isLongModeActive {
      cpu.rcx = returnTo
      cpu.set(Slot.r11, cpu.rflags & ~X86.Flags.resume)
      let target = cpu.pointee.code_mode == 2 ? cpu.pointee.lstar : cpu.pointee.cstar
      cpu.rflags = cpu.rflags & ~(cpu.pointee.syscall_mask | X86.Flags.resume)
      flatSegment(1, selector, attributes: 0xa09b)
      flatSegment(2, selector &+ 8, attributes: 0xc093)
      cpu.pointee.privilege = 0
      modeChanged()
      cpu.pointee.rip = target
    } else {
      cpu.rcx = codeOffset(returnTo)
      cpu.pointee.system_flags &=
        ~(X86.Flags.interrupt | X86.Flags.resume | X86.Flags.virtual8086)
      flatSegment(1, selector, attributes: 0xc09b)
      flatSegment(2, selector &+ 8, attributes: 0xc093)
      cpu.pointee.privilege = 0
      modeChanged()
      setOffset(cpu.pointee.star & 0xffff_ffff)
    }
  }

  func systemReturn(to64: Bool) throws(Fault) {
    guard cpu.pointee.efer & X86.EFER.systemCall != 0 else { throw .invalidOpcode }
    guard cpu.isProtected, cpu.pointee.privilege == 0 else { throw .generalProtection() }
    let base = UInt16(truncatingIfNeeded: cpu.pointee.star >> 48)
    let target = cpu.rcx
    if to64, !isCanonical(target) { throw .generalProtection() }
    if cpu.isLongModeActive {
      let image = cpu.get(Slot.r11, UInt64.self)
      cpu.rflags = image & 0x3c_7fd7
    } else {
      cpu.pointee.system_flags |= X86.Flags.interrupt
    }
    flatSegment(1, (to64 ? base &+ 16 : base) | 3, attributes: to64 ? 0xa0fb : 0xc0fb)
    flatSegment(2, (base &+ 8) | 3, attributes: 0xc0f3)
    cpu.pointee.privilege = 3
    modeChanged()
    setOffset(to64 ? target : target & 0xffff_ffff)
  }

  func systemEnter() throws(Fault) {
    let selector = UInt16(truncatingIfNeeded: cpu.pointee.sysenter_cs)
    guard cpu.isProtected, selector & ~3 != 0 else { throw .generalProtection() }
    let isLong = cpu.isLongModeActive
    cpu.pointee.system_flags &=
      ~(X86.Flags.interrupt | X86.Flags.resume | X86.Flags.virtual8086)
    flatSegment(1, selector & ~3, attributes: isLong ? 0xa09b : 0xc09b)
    flatSegment(2, selector & ~3 &+ 8, attributes: 0xc093)
    cpu.pointee.privilege = 0
    modeChanged()
    cpu.rsp = isLong ? cpu.pointee.sysenter_esp : cpu.pointee.sysenter_esp & 0xffff_ffff
    setOffset(isLong ? cpu.pointee.sysenter_eip : cpu.pointee.sysenter_eip & 0xffff_ffff)
  }

  func systemExit(to64: Bool) throws(Fault) {
    let selector = UInt16(truncatingIfNeeded: cpu.pointee.sysenter_cs)
    guard cpu.isProtected, cpu.pointee.privilege == 0, selector & ~3 != 0 else {
      throw .generalProtection()
    }
    let (target, stack) = (cpu.rdx, cpu.rcx)
    if to64 { guard isCanonical(target), isCanonical(stack) else { throw .generalProtection() } }
    flatSegment(1, (selector &+ (to64 ? 32 : 16)) | 3, attributes: to64 ? 0xa0fb : 0xc0fb)
    flatSegment(2, (selector &+ (to64 ? 40 : 24)) | 3, attributes: 0xc0f3)
    cpu.pointee.privilege = 3
    modeChanged()
    cpu.rsp = to64 ? stack : stack & 0xffff_ffff
    setOffset(to64 ? target : target & 0xffff_ffff)
  }

  // MARK: - Ports: SDM Vol. 1 §19.5

  /// Whether the current privilege level may use a port. A fault while reading the permission bitmap is
  /// left raised.
  func mayUsePort(_ port: UInt16, _ size: Int) -> Bool {
    guard cpu.isProtected else { return true }
    if cpu.pointee.privilege <= cpu.ioPrivilege, !cpu.isVirtual8086 { return true }
    guard cpu.pointee.tr_attributes & 8 != 0, cpu.pointee.tr_limit >= 103 else { return false }
    do throws(Fault) {
      let map = try systemLoad(cpu.pointee.tr_base &+ 102, 2)
      let byte = map + UInt64(port) / 8
      guard byte + 1 <= UInt64(cpu.pointee.tr_limit) else { return false }
      let bits = try systemLoad(cpu.pointee.tr_base &+ byte, 2)
      let wanted = ((1 as UInt64) << UInt64(size) - 1) << UInt64(port & 7)
      return bits & wanted == 0
    } catch {
      raiseAtRIP(cpu, error.vector, code: error.code)
      return false
    }
  }

  /// Why a port was refused.
  func portFault() -> Fault {
    guard cpu.pointee.exit == LeaveReason.exception else { return .generalProtection() }
    return Fault(
      vector: UInt8(truncatingIfNeeded: cpu.pointee.exception_vector),
      code: cpu.pointee.exception_has_code != 0 ? cpu.pointee.exception_code : nil)
  }

  func portRead<T: Width>(_ port: UInt16, _: T.Type) -> T {
    let width = AccessWidth(rawValue: UInt8(MemoryLayout<T>.size))!
    if _slowPath(hasBreakpoints) { notePortAccess(port, MemoryLayout<T>.size) }
    return T(truncatingIfNeeded: asHost { buses.pointee.ports.read(UInt64(port), width) })
  }

  func portWrite<T: Width>(_ port: UInt16, _ value: T) {
    let width = AccessWidth(rawValue: UInt8(MemoryLayout<T>.size))!
    if _slowPath(hasBreakpoints) { notePortAccess(port, MemoryLayout<T>.size) }
    asHost { buses.pointee.ports.write(UInt64(truncatingIfNeeded: value), UInt64(port), width) }
  }

  // MARK: - CPUID

  func cpuid(_ leaf: UInt32, _ subleaf: UInt32) -> X86.CPUIDLeaf {
    // Beyond the last leaf the last basic one answers: SDM Vol. 2A, CPUID.
    var answer =
      model.leaf(leaf, subleaf) ?? model.leaf(model.leaf(0, 0)?.eax ?? 0, subleaf) ?? .init()
    switch leaf {
    case 1:
      answer.ebx |= UInt32(truncatingIfNeeded: index) << 24
      if !apic.isEnabledGlobally { answer.edx &= ~(1 << 9) }
      if model.features.hasXSAVE, cpu.pointee.cr4 & X86.CR4.xsave != 0 { answer.ecx |= 1 << 27 }
    case 7 where subleaf == 0 && cpu.pointee.cr4 & X86.CR4.protectionKeys != 0:
      answer.ecx |= 1 << 4
    case 0xd where subleaf == 0 && model.features.hasXSAVE:
      answer.ebx = X86.StateComponents.areaSize(cpu.pointee.xcr0)
    case 0xd where subleaf == 1 && answer.ebx != 0:
      answer.ebx = X86.StateComponents.compactedAreaSize(cpu.pointee.xcr0)
    default: break
    }
    return answer
  }
}
