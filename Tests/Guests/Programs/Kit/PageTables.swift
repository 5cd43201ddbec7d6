import Arch

/// Bits of page-table entries (SDM vol. 3A §4.5).
struct PageFlags: OptionSet {
  let rawValue: UInt64
  static var present: PageFlags { PageFlags(rawValue: 1 << 0) }
  static var writable: PageFlags { PageFlags(rawValue: 1 << 1) }
  static var user: PageFlags { PageFlags(rawValue: 1 << 2) }
  static var accessed: PageFlags { PageFlags(rawValue: 1 << 5) }
  static var dirty: PageFlags { PageFlags(rawValue: 1 << 6) }
  static var large: PageFlags { PageFlags(rawValue: 1 << 7) }
  static var global: PageFlags { PageFlags(rawValue: 1 << 8) }
  static var noExecute: PageFlags { PageFlags(rawValue: 1 << 63) }
  static var all: PageFlags { [.present, .writable, .user] }
}

/// The tables that CR3 points to. Tables lie where linear and physical addresses are the same.
enum PageTables {
  /// Levels as the manual counts them: 4 is the page map, 1 the page table.
  static func entry(for linear: UInt64, level: UInt64 = 1) -> Word {
    var table = read_cr3() & ~0xfff
    var current: UInt64 = 4
    while true {
      let index = linear >> (12 + 9 * (current - 1)) & 0x1ff
      let word = Word(at: table + 8 * index)
      if current == level { return word }
      if word.value & 1 == 0 { word.value = Pool.pages() | PageFlags.all.rawValue }
      table = word.value & 0x000f_ffff_ffff_f000
      current -= 1
    }
  }

  /// Maps one page, large if `level` is 2 or 3, and forgets what the TLB knew of it.
  static func map(
    _ linear: UInt64, to physical: UInt64, _ flags: PageFlags, level: UInt64 = 1
  ) {
    var value = physical | flags.rawValue
    if level > 1 { value |= PageFlags.large.rawValue }
    entry(for: linear, level: level).value = value
    invalidate_page(linear)
  }

  static func reload() { write_cr3(read_cr3()) }
}
