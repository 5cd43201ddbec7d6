import CProcessor

// The A20 gate, as a mask on every physical address that comes out of a walk or is one of a page-table entry.

extension Core {
  /// Opens or closes the gate; on the core's own thread, between instructions or by one of them.
  func setAddressLine20(isOpen: Bool) {
    let mask: UInt64 = isOpen ? .max : ~(1 << 20)
    guard mask != a20Mask else { return }
    // The instruction behind the one that moved it is looked up anew: it may be another's now.
    let entry = CodePageEntry.slot(codePages, cpu.pointee.rip)
    if entry.pointee.linear == cpu.pointee.rip & ~pageMask { dropCode(page: entry.pointee.page) }
    a20Mask = mask
    flushTranslations(global: true)
  }
}
