import InterruptControllers
import ArchitectureX86
import Board
import CProcessor
import Memory

// What the fast path of a load or store does not serve: pages not in the TLB, accesses across pages,
// devices, read-only memory, and pages of which code is kept decoded.

extension Core {
  /// Reads into `slow_value`; `false` once an exception was raised.
  func load(_ linear: UInt64, _ size: Int) -> Bool {
    let first = Int(pageMask &+ 1 &- linear & pageMask)
    if _slowPath(size > first) {
      if let value = loadAcross(linear, size, first) {
        cpu.pointee.slow_value.0 = value
        return true
      }
      // One of the pages is missing, or a device: byte by byte, in order.
      cpu.pointee.exit = LeaveReason.lookUp
      var parts: UInt64 = 0
      for index in 0..<size {
        guard load(advance(linear, index), 1) else { return false }
        parts |= cpu.pointee.slow_value.0 &<< UInt64(8 &* index)
      }
      cpu.pointee.slow_value.0 = parts
      return true
    }
    guard let entry = translate(linear, write: false) else { return false }
    if _slowPath(hasBreakpoints) { noteDataAccess(linear, size, write: false) }
    if entry.physical & UInt64(X86_TLB_DEVICE) != 0 {
      let physical = entry.physical & ~pageMask | linear & pageMask
      cpu.pointee.slow_value.0 = deviceRead(physical, AccessWidth(rawValue: UInt8(size))!)
      return true
    }
    let host = UnsafeRawPointer(hostPointer(linear, entry.host))
    switch size {
    case 1: cpu.pointee.slow_value.0 = UInt64(host.load(as: UInt8.self))
    case 2: cpu.pointee.slow_value.0 = UInt64(host.loadUnaligned(as: UInt16.self))
    case 4: cpu.pointee.slow_value.0 = UInt64(host.loadUnaligned(as: UInt32.self))
    default: cpu.pointee.slow_value.0 = host.loadUnaligned(as: UInt64.self)
    }
    return true
  }

  /// Writes the low `size` bytes; `false` once an exception was raised, and then nothing was written.
  func store(_ linear: UInt64, _ value: UInt64, _ size: Int) -> Bool {
    let first = Int(pageMask &+ 1 &- linear & pageMask)
    if _slowPath(size > first) {
      guard translate(linear, write: true) != nil,
        translate(advance(linear, first), write: true) != nil
      else { return false }
      for index in 0..<size {
        guard store(advance(linear, index), value &>> UInt64(8 &* index), 1) else { return false }
      }
      return true
    }
    guard let entry = translate(linear, write: true) else { return false }
    if _slowPath(hasBreakpoints) { noteDataAccess(linear, size, write: true) }
    let physical = entry.physical & ~pageMask | linear & pageMask
    if entry.physical & UInt64(X86_TLB_DEVICE) != 0 {
      deviceWrite(value, physical, AccessWidth(rawValue: UInt8(size))!)
      return true
    }
    store(value, size, atPhysical: physical)
    return true
  }

  /// Writes inside one page that is not the local APIC's.
  func store(_ value: UInt64, _ size: Int, atPhysical physical: UInt64) {
    switch destination(ofStoreTo: physical) {
    case .memory(let page):
      let host = page.base + Int(truncatingIfNeeded: physical & pageMask)
      switch size {
      case 1: host.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
      case 2: host.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
      case 4: host.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
      default: host.storeBytes(of: value, as: UInt64.self)
      }
      noteWrite(page: page.index, from: Int(physical & pageMask), count: size)
    case .registers: deviceWrite(value, physical, AccessWidth(rawValue: UInt8(size))!)
    case .nowhere: break
    }
  }

  /// Reads across two pages of memory, `first` bytes from the first; `nil` where that is not possible.
  private func loadAcross(_ linear: UInt64, _ size: Int, _ first: Int) -> UInt64? {
    // Where accesses are watched they go byte by byte.
    guard !hasBreakpoints, let low = directPointer(linear, write: false),
      let high = directPointer(advance(linear, first), write: false)
    else { return nil }
    var value: UInt64 = 0
    for index in 0..<size {
      let byte = index < first ? low + index : high + (index &- first)
      value |= UInt64(byte.load(as: UInt8.self)) &<< UInt64(8 &* index)
    }
    return value
  }

  /// Where in the host an address lies that may be read, or written without telling anyone; `nil` where that
  /// is not so. An exception may then be left raised: whoever does without the pointer raises it again.
  func directPointer(_ linear: UInt64, write: Bool) -> UnsafeMutableRawPointer? {
    guard let entry = translate(linear, write: write),
      entry.physical & UInt64(X86_TLB_DEVICE) == 0,
      !hasBreakpoints || !hasDataBreakpoint(page: linear),
      !write || entry.write_tag == linear & ~pageMask
    else { return nil }
    return hostPointer(linear, entry.host)
  }

  /// Where in the host the supervisor may write to a page of the user's now: such pages are asked for at every access,
  /// so that no write passes unasked. Whoever writes by it tells that by `noteWrite`. `nil` as with `directPointer`.
  func userPagePointer(
    forWritingTo linear: UInt64
  ) -> (host: UnsafeMutableRawPointer, page: Int)? {
    guard cpu.pointee.cr4 & X86.CR4.supervisorAccessPrevention != 0,
      let entry = translate(linear, write: true),
      entry.physical & UInt64(X86_TLB_USER) != 0, entry.physical & UInt64(X86_TLB_DEVICE) == 0,
      !hasBreakpoints || !hasDataBreakpoint(page: linear),
      case .memory(let page) = destination(ofStoreTo: entry.physical & ~pageMask)
    else { return nil }
    return (page.base + Int(truncatingIfNeeded: linear & pageMask), page.index)
  }

  /// Tells who keeps something derived from a page that it changed.
  func noteWrite(page: Int, from offset: Int, count: Int) {
    memory.dirtyPages.mark(page)
    if let rehearsal, rehearsal.hears(page: page, from: offset, count: count) { return }
    memory.watchedLines.noteWrite(page: page, from: offset, through: offset &+ count &- 1)
    // Another core may have unwatched the page just now, and its word of that be on its way: what this core wrote it
    // must not run as it was, though.
    let lines = WatchedLines.lines(from: offset, through: offset &+ count &- 1)
    if _slowPath(code.keptLines(page) & lines != 0) { dropCode(page: page) }
  }

  private func advance(_ linear: UInt64, _ count: Int) -> UInt64 {
    (linear &+ UInt64(count)) & cpu.pointee.address_mask
  }

  /// The translation of a page for a data access at the current privilege level, from the TLB or by a
  /// walk; `nil` once an exception was raised.
  func translate(_ linear: UInt64, write: Bool) -> x86_tlb_entry? {
    rehearsal?.noteAccess(linear, write: write)
    return translate(linear, write: write, user: cpu.pointee.privilege == 3)
  }

  func translate(_ linear: UInt64, write: Bool, user: Bool) -> x86_tlb_entry? {
    let entry = tlb.table(user: user) + tlbNumber(linear)
    if entry.pointee.translates(linear & ~pageMask),
      !write || entry.pointee.physical & UInt64(X86_TLB_WRITABLE) != 0,
      entry.pointee.physical & UInt64(X86_TLB_USER) == 0 || !isSupervisorAccessPrevented
    {
      // Known and permitted; what keeps it off the fast path may have passed.
      if write { grantWrites(entry, linear & ~pageMask) }
      return entry.pointee
    }
    guard isCanonical(linear) else {
      raiseAtRIP(cpu, X86.Exception.generalProtection, code: 0)
      return nil
    }
    do throws(PageFault) {
      let found = try walk(linear, PageAccess(write: write, user: user))
      fill(linear, found, user: user)
      if write { grantWrites(entry, linear & ~pageMask) }
      return entry.pointee
    } catch {
      cpu.pointee.cr2 = linear
      raiseAtRIP(cpu, X86.Exception.pageFault, code: error.code)
      return nil
    }
  }

  private func fill(_ linear: UInt64, _ found: Translation, user: Bool) {
    statistics.tlbFills.increment()
    let page = linear & ~pageMask
    let physicalPage = found.physical & ~pageMask
    // "Writable" here: permitted, and the dirty flag is set; else the next write walks again.
    var bits: UInt64 = found.writable && found.dirty ? UInt64(X86_TLB_WRITABLE) : 0
    if found.global { bits |= UInt64(X86_TLB_GLOBAL) }
    if found.large { bits |= UInt64(X86_TLB_LARGE) }
    bits |= UInt64(found.key) << UInt64(X86_TLB_KEY_SHIFT)
    var entry = x86_tlb_entry(
      read_tag: page, write_tag: x86_tlb_entry.slow(page), host: 0,
      physical: physicalPage | bits | UInt64(X86_TLB_VALID))
    let host = reachablePage(physicalPage)
    if let host, !isAPICPage(physicalPage) {
      entry.host = UInt64(UInt(bitPattern: host.base))
    } else {
      entry.physical |= UInt64(X86_TLB_DEVICE)
      entry.read_tag = x86_tlb_entry.slow(page)
    }
    if _slowPath(hasBreakpoints), hasDataBreakpoint(page: linear) {
      entry.read_tag = x86_tlb_entry.slow(page)
    }
    if found.user, !user, cpu.pointee.cr4 & X86.CR4.supervisorAccessPrevention != 0 {
      // AC decides at every access.
      entry.physical |= UInt64(X86_TLB_USER)
      entry.read_tag = x86_tlb_entry.slow(page)
    }
    if tlb.dropsGrants(fill: linear, user: user) { noteLostGrants() }
    tlb.fill(linear, user: user, entry)
  }

  /// Lets further writes pass without being asked, if nothing wants to hear of them.
  private func grantWrites(_ entry: UnsafeMutablePointer<x86_tlb_entry>, _ linear: UInt64) {
    guard rehearsal == nil, entry.pointee.write_tag != linear,
      !hasBreakpoints || !hasDataBreakpoint(page: linear),
      entry.pointee.physical & UInt64(X86_TLB_WRITABLE) != 0,
      entry.pointee.physical & UInt64(X86_TLB_DEVICE | X86_TLB_USER) == 0,
      case .memory(let page) = destination(ofWriteTo: entry.pointee.physical & ~pageMask),
      memory.watchedLines.watched(page: page.index) == 0, !code.keeps(page.index)
    else { return }
    memory.dirtyPages.mark(page.index)
    noteGrant(tlb.number(of: entry), toPage: page.index)
    entry.pointee.write_tag = linear
  }

  /// Whether bits 63 to 47 (or 56) of an address are alike: SDM Vol. 1 §3.3.7.1.
  func isCanonical(_ linear: UInt64) -> Bool {
    guard cpu.pointee.efer & X86.EFER.longModeActive != 0 else { return true }
    let shift: Int64 = cpu.pointee.cr4 & X86.CR4.linearAddress57 != 0 ? 7 : 16
    let signed = Int64(bitPattern: linear)
    return (signed &<< shift) &>> shift == signed
  }
}

// MARK: - Devices

extension Core {
  func isAPICPage(_ physicalPage: UInt64) -> Bool {
    apic.isEnabledGlobally && !apic.isX2APIC && physicalPage == apic.pageAddress
  }

  func deviceRead(_ physical: UInt64, _ width: AccessWidth) -> UInt64 {
    if let rehearsal, rehearsal.prevents() { return 0 }
    if isAPICPage(physical & ~pageMask) {
      guard width == .doubleword, physical & 0xf == 0 else { return apicBytes(physical, width) }
      return UInt64(apic.read(UInt32(truncatingIfNeeded: physical & pageMask)))
    }
    return asHost { buses.pointee.registers.read(physical, width) }
  }

  func deviceWrite(_ value: UInt64, _ physical: UInt64, _ width: AccessWidth) {
    if let rehearsal, rehearsal.prevents() { return }
    if isAPICPage(physical & ~pageMask) {
      // Registers are written whole: SDM Vol. 3A "The Local APIC Block Diagram". Others are lost.
      guard width == .doubleword, physical & 0xf == 0 else { return }
      hasWrittenAPIC = true
      apic.write(
        UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: physical & pageMask))
      return
    }
    asHost { buses.pointee.registers.write(value, physical, width) }
  }

  /// An odd read of the APIC page: bytes of the register that it falls in.
  private func apicBytes(_ physical: UInt64, _ width: AccessWidth) -> UInt64 {
    let register = UInt64(apic.read(UInt32(truncatingIfNeeded: physical & 0xff0)))
    let shift = (physical & 0xf) * 8
    return shift < 32 ? register >> shift & width.mask : 0
  }
}
