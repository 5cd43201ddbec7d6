import ArchitectureX86
import CProcessor
import Memory

/// What an access wants of a page.
struct PageAccess {
  var write = false
  var execute = false
  var user: Bool
}

/// A translation found by walking the page tables: SDM Vol. 3A chapter 4 "Paging".
struct Translation {
  var physical: UInt64
  /// What the tables permit at the privilege level asked for.
  var writable: Bool
  var global: Bool
  var large: Bool
  /// The tables give the page to the user.
  var user = false
  /// The page's protection key, if PKRU was asked; else zero.
  var key: UInt8 = 0
  /// The leaf's dirty flag: a page is not written without being asked until it is set.
  var dirty: Bool
}

/// A page fault: its error code (SDM Vol. 3A §4.7, Figure 4-12).
struct PageFault: Error {
  var code: UInt64
}

/// The page tables' entry bits: SDM Vol. 3A §4.5.
private enum Entry {
  static let present: UInt64 = 1 << 0
  static let writable: UInt64 = 1 << 1
  static let user: UInt64 = 1 << 2
  static let accessed: UInt64 = 1 << 5
  static let dirty: UInt64 = 1 << 6
  static let large: UInt64 = 1 << 7
  static let global: UInt64 = 1 << 8
  static let noExecute: UInt64 = 1 << 63
}

extension Core {
  /// Walks the page tables for a linear address, setting accessed and dirty flags.
  func walk(_ linear: UInt64, _ access: PageAccess) throws(PageFault) -> Translation {
    let cr0 = cpu.pointee.cr0
    guard cr0 & X86.CR0.paging != 0 else {
      return Translation(
        physical: linear & a20Mask, writable: true, global: false, large: false, dirty: true)
    }
    let isWide = cpu.pointee.cr4 & X86.CR4.physicalAddressExtension != 0
    // An entry that another processor changed under the walk is read again; a guest that never stops
    // changing it gets a fault, which it may take at any time.
    for _ in 0..<64 {
      if let found = isWide ? try walkLong(linear, access) : try walkLegacy(linear, access) {
        return found
      }
    }
    throw fault(access, present: false)
  }

  /// PAE, 4-level and 5-level paging: entries of eight bytes.
  private func walkLong(
    _ linear: UInt64, _ access: PageAccess
  ) throws(PageFault) -> Translation? {
    let isLong = cpu.pointee.efer & X86.EFER.longModeActive != 0
    let noExecuteEnabled = cpu.pointee.efer & X86.EFER.executeDisable != 0
    let reservedTop: UInt64 =
      ((1 &<< 52) &- 1) & ~((1 &<< UInt64(physicalAddressBits)) &- 1)
      | (noExecuteEnabled ? 0 : Entry.noExecute)
    var level = !isLong ? 1 : cpu.pointee.cr4 & X86.CR4.linearAddress57 != 0 ? 4 : 3
    var table = cpu.pointee.cr3 & 0x000f_ffff_ffff_f000
    if !isLong {
      // The entries of PAE's first table are in registers: SDM Vol. 3A §4.4.1.
      let entry = pageDirectoryPointers[Int(linear &>> 30 & 3)]
      guard entry & Entry.present != 0 else { throw fault(access, present: false) }
      table = entry & 0x000f_ffff_ffff_f000
    }
    var permissions = Entry.writable | Entry.user
    var noExecute = false
    while true {
      let bits = UInt64(12 + 9 * level)
      let index = (linear &>> bits) & 0x1ff
      let address = table &+ index &* 8
      guard let slot = pageTableEntry(address, 8) else {
        throw fault(access, present: false)
      }
      let entry = slot.load(as: UInt64.self)
      guard entry & Entry.present != 0 else { throw fault(access, present: false) }
      guard entry & (isLong ? reservedTop : reservedTop | 0x7ff0_0000_0000_0000) == 0,
        level <= highestPageLevel || entry & Entry.large == 0
      else { throw fault(access, present: true, reserved: true) }
      permissions &= entry
      if entry & Entry.noExecute != 0 { noExecute = true }
      let isLeaf = level == 0 || entry & Entry.large != 0
      if !isLeaf {
        guard mark(address, slot, UInt64.self, entry, Entry.accessed) else { return nil }
        table = entry & 0x000f_ffff_ffff_f000
        level -= 1
        continue
      }
      let pageBits = (1 as UInt64) &<< bits &- 1
      // Bits below a large page's address are reserved but for PAT (bit 12).
      guard level == 0 || entry & pageBits & 0x000f_ffff_ffff_e000 == 0 else {
        throw fault(access, present: true, reserved: true)
      }
      let key = protectionKey(of: entry, isLong: isLong, permissions: permissions)
      try check(access, permissions: permissions, noExecute: noExecute, key: key)
      let marks = access.write ? Entry.accessed | Entry.dirty : Entry.accessed
      guard mark(address, slot, UInt64.self, entry, marks) else { return nil }
      return Translation(
        physical: ((entry & 0x000f_ffff_ffff_f000 & ~pageBits) | linear & pageBits) & a20Mask,
        writable: mayWrite(access, permissions)
          && (key.map { mayAccess(PageAccess(write: true, user: access.user), key: $0) } ?? true),
        global: entry & Entry.global != 0 && cpu.pointee.cr4 & X86.CR4.globalPages != 0,
        large: level > 0, user: permissions & Entry.user != 0, key: key ?? 0,
        dirty: access.write || entry & Entry.dirty != 0)
    }
  }

  /// 32-bit paging: entries of four bytes, SDM Vol. 3A §4.3.
  private func walkLegacy(
    _ linear: UInt64, _ access: PageAccess
  ) throws(PageFault) -> Translation? {
    let directory = cpu.pointee.cr3 & 0xffff_f000 &+ (linear &>> 22 & 0x3ff) &* 4
    guard let outer = pageTableEntry(directory, 4) else { throw fault(access, present: false) }
    let outerEntry = UInt64(outer.load(as: UInt32.self))
    guard outerEntry & Entry.present != 0 else { throw fault(access, present: false) }
    let globalEnabled = cpu.pointee.cr4 & X86.CR4.globalPages != 0
    let marks = access.write ? Entry.accessed | Entry.dirty : Entry.accessed
    if outerEntry & Entry.large != 0, cpu.pointee.cr4 & X86.CR4.pageSizeExtensions != 0 {
      // PSE-36: bits 13 to 20 are the address' bits 32 to 39, as far as it has them; bit 21 is reserved.
      let upper = (outerEntry &>> 13 & 0x1ff) &<< 32
      guard upper >> min(UInt64(physicalAddressBits), 40) == 0 else {
        throw fault(access, present: true, reserved: true)
      }
      try check(access, permissions: outerEntry, noExecute: false)
      guard
        mark(directory, outer, UInt32.self, UInt32(truncatingIfNeeded: outerEntry), UInt32(marks))
      else { return nil }
      let base = outerEntry & 0xffc0_0000 | upper
      return Translation(
        physical: (base | linear & 0x3f_ffff) & a20Mask,
        writable: mayWrite(access, outerEntry),
        global: globalEnabled && outerEntry & Entry.global != 0, large: true,
        user: outerEntry & Entry.user != 0,
        dirty: access.write || outerEntry & Entry.dirty != 0)
    }
    guard
      mark(
        directory, outer, UInt32.self, UInt32(truncatingIfNeeded: outerEntry),
        UInt32(Entry.accessed))
    else { return nil }
    let address = outerEntry & 0xffff_f000 &+ (linear &>> 12 & 0x3ff) &* 4
    guard let slot = pageTableEntry(address, 4) else { throw fault(access, present: false) }
    let entry = UInt64(slot.load(as: UInt32.self))
    guard entry & Entry.present != 0 else { throw fault(access, present: false) }
    let permissions = entry & outerEntry
    try check(access, permissions: permissions, noExecute: false)
    guard mark(address, slot, UInt32.self, UInt32(truncatingIfNeeded: entry), UInt32(marks)) else {
      return nil
    }
    return Translation(
      physical: (entry & 0xffff_f000 | linear & pageMask) & a20Mask,
      writable: mayWrite(access, permissions),
      global: globalEnabled && entry & Entry.global != 0, large: false,
      user: permissions & Entry.user != 0,
      dirty: access.write || entry & Entry.dirty != 0)
  }

  /// Where a page-table entry lies in the host; `nil` if it is not in memory.
  private func pageTableEntry(_ address: UInt64, _ size: UInt64) -> UnsafeMutableRawPointer? {
    let address = address & a20Mask
    guard let page = reachablePage(address) else { return nil }
    return page.base + Int(truncatingIfNeeded: address & pageMask)
  }

  /// Sets accessed and dirty flags; `false` if the entry changed meanwhile.
  private func mark<T: Width>(
    _ address: UInt64, _ slot: UnsafeMutableRawPointer, _: T.Type, _ entry: T, _ bits: T
  ) -> Bool {
    guard entry & bits != bits else { return true }
    switch destination(ofWriteTo: address & a20Mask) {
    case .memory(let page):
      var expected = entry
      guard T.compareExchange(slot, &expected, entry | bits) else { return false }
      memory.dirtyPages.mark(page.index)
      rehearsal?.noteMark(
        page: page.index, at: Int(address & pageMask), UInt8(truncatingIfNeeded: bits))
    case .registers:
      store(
        UInt64(truncatingIfNeeded: entry | bits), MemoryLayout<T>.size,
        atPhysical: address & a20Mask)
    case .nowhere: break
    }
    return true
  }

  private func mayWrite(_ access: PageAccess, _ permissions: UInt64) -> Bool {
    permissions & Entry.writable != 0
      || (!access.user && cpu.pointee.cr0 & X86.CR0.writeProtect == 0)
  }

  private func check(
    _ access: PageAccess, permissions: UInt64, noExecute: Bool, key: UInt8? = nil
  ) throws(PageFault) {
    let isUserPage = permissions & Entry.user != 0
    let isDeniedByKey = key.map { !access.execute && !mayAccess(access, key: $0) } ?? false
    if isDeniedByKey || access.user && !isUserPage
      || access.write && !mayWrite(access, permissions)
      || access.execute && noExecute
      || access.execute && !access.user && isUserPage
        && cpu.pointee.cr4 & X86.CR4.supervisorExecutionPrevention != 0
      || !access.execute && !access.user && isUserPage && isSupervisorAccessPrevented
    {
      throw fault(access, present: true, key: isDeniedByKey)
    }
  }

  /// SMAP: SDM Vol. 3A §4.6.1. What the processor does of its own accord while the user runs, AC does not permit.
  var isSupervisorAccessPrevented: Bool {
    cpu.pointee.cr4 & X86.CR4.supervisorAccessPrevention != 0
      && (cpu.pointee.system_flags & X86.Flags.alignmentCheck == 0 || cpu.pointee.privilege == 3)
  }

  private func fault(
    _ access: PageAccess, present: Bool, reserved: Bool = false, key: Bool = false
  ) -> PageFault {
    let fetchReported =
      cpu.pointee.efer & X86.EFER.executeDisable != 0
      || cpu.pointee.cr4 & X86.CR4.supervisorExecutionPrevention != 0
    return PageFault(
      code: (present ? 1 : 0) | (access.write ? 2 : 0) | (access.user ? 4 : 0)
        | (reserved ? 8 : 0) | (access.execute && fetchReported ? 16 : 0)
        | (key ? 32 : 0))
  }
}
