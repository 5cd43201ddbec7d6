import ArchitectureX86
import CProcessor

// Protection keys for user-mode pages: SDM Vol. 3A §4.6.2 "Protection Keys". What PKRU denies is asked once, when a
// translation is filled; whoever takes rights away drops the translations that were filled by them.

extension Core {
  /// The protection key of a user-mode page, where keys count: `entry` is the one that maps the page.
  func protectionKey(of entry: UInt64, isLong: Bool, permissions: UInt64) -> UInt8? {
    guard isLong, cpu.pointee.cr4 & X86.CR4.protectionKeys != 0, permissions & 4 != 0 else {
      return nil
    }
    return UInt8(truncatingIfNeeded: entry >> 59 & 15)
  }

  /// Whether PKRU permits a data access to a page with that key. It may keep the supervisor from writing only where
  /// CR0.WP holds for it.
  func mayAccess(_ access: PageAccess, key: UInt8) -> Bool {
    let rights = cpu.pointee.pkru >> (2 * UInt32(key))
    if rights & 1 != 0 { return false }
    return rights & 2 == 0 || !access.write
      || !access.user && cpu.pointee.cr0 & X86.CR0.writeProtect == 0
  }

  /// Writes PKRU. Translations of keys that lose rights are dropped; those that gain some are asked for again
  /// anyway, when an access that was denied is made.
  func setProtectionKeyRights(_ value: UInt32) {
    let lost = value & ~cpu.pointee.pkru
    cpu.pointee.pkru = value
    guard lost != 0, cpu.pointee.cr4 & X86.CR4.protectionKeys != 0 else { return }
    var keys: UInt16 = 0
    for key in 0..<16 as Range<UInt32> where lost >> (2 * key) & 3 != 0 { keys |= 1 << UInt16(key) }
    guard tlb.mayHold(keys: keys) else { return }
    noteLostGrants()
    tlb.flush(keys: keys)
  }

  fileprivate func requireProtectionKeys() throws(Fault) {
    guard cpu.pointee.cr4 & X86.CR4.protectionKeys != 0 else { throw .invalidOpcode }
    guard cpu.get(Slot.rcx, UInt32.self) == 0 else { throw .generalProtection() }
  }
}

enum ProtectionKeys {
  /// RDPKRU: SDM Vol. 2B, "RDPKRU - Read Protection Key Rights for User Pages".
  static let read: Handler = { cpu, op in
    return system(cpu, op) { (core, _) throws(Fault) in
      try core.requireProtectionKeys()
      core.cpu.set(Slot.rax, core.cpu.pointee.pkru)
      core.cpu.set(Slot.rdx, 0 as UInt32)
    }
  }

  /// WRPKRU: SDM Vol. 2D, "WRPKRU - Write Data to User Page Key Register".
  static let write: Handler = { cpu, op in
    return system(cpu, op) { (core, _) throws(Fault) in
      try core.requireProtectionKeys()
      guard core.cpu.get(Slot.rdx, UInt32.self) == 0 else { throw .generalProtection() }
      core.setProtectionKeyRights(core.cpu.get(Slot.rax, UInt32.self))
    }
  }
}
