import Arch

/// 4-level paging: translations, permissions, error codes, accessed and dirty bits, and what makes the
/// TLB forget (SDM vol. 3A §4).
enum Paging {
  /// A page map entry that nobody else uses.
  private static var base: UInt64 { 0xffff_9000_0000_0000 }

  static func run() -> Never {
    translations()
    faults()
    bits()
    forgetting()
    largePages()
    borders()
    strings()
    finish()
  }

  private static func translations() {
    let frame = Pool.pages(2)
    PageTables.map(base, to: frame, [.present, .writable])
    PageTables.map(base + 0x1000, to: frame + 0x1000, [.present, .writable])
    PageTables.map(base + 0x2000, to: frame, [.present])
    store64(base + 0x123, 0xfeed_f00d)
    expect("a linear address reaches its frame", load64(frame + 0x123), is: 0xfeed_f00d)
    expect("two addresses reach the same frame", load64(base + 0x2123), is: 0xfeed_f00d)
    store8(base, 0xb8)
    store32(base + 1, 0x1234)
    store8(base + 5, 0xc3)
    expect("code runs through another mapping", call_code(base + 0x2000, 0), is: 0x1234)
  }

  private static func faults() {
    let page = base + 0x10_0000
    let frame = Pool.pages()
    store8(frame, 0xc3)
    expect("read, not present", attempted(page + 8) { _ = load8($0) }, pageFault: 0, at: page + 8)
    expect("write, not present", attempted(page + 8) { store8($0, 1) }, pageFault: 2, at: page + 8)
    expect("fetch, not present", attempted(codeAt: page), pageFault: 0x10, at: page)
    PageTables.map(page, to: frame, [.present])
    expect("write, read-only", attempted(page) { store8($0, 1) }, pageFault: 3, at: page)
    expect(
      "read-modify-write, read-only", attempted(page) { locked_increment($0) }, pageFault: 3,
      at: page)
    expect(
      "compare-exchange that fails, read-only",
      attempted(page) { _ = locked_compare_exchange($0, 1, 2) }, pageFault: 3, at: page)
    write_cr0(read_cr0() & ~(1 << 16))
    expect("without CR0.WP ring 0 may", attempted(page) { store8($0 + 1, 7) }.happened, is: 0)
    write_cr0(read_cr0() | 1 << 16)
    expect("and did", load8(page + 1), is: 7)
    expect("with WP again it may not", attempted(page) { store8($0, 1) }, pageFault: 3, at: page)
    PageTables.map(page, to: frame, [.present, .writable, .noExecute])
    expect("fetch, execute-disabled", attempted(codeAt: page), pageFault: 0x11, at: page)
    expect("read, execute-disabled", attempted(page) { _ = load8($0) }.happened, is: 0)
    PageTables.map(page, to: frame | 1 << 51, [.present, .writable])
    expect(
      "reserved bit in an entry", attempted(page) { _ = load8($0) },
      pageFault: Machine.reservedBitError, at: page)
    PageTables.map(page, to: frame, [.present, .writable])
    // A permission must be given at every level.
    let directory = PageTables.entry(for: page, level: 2)
    let before = directory.value
    directory.value = before & ~PageFlags.writable.rawValue
    PageTables.reload()
    expect("write, read-only directory", attempted(page) { store8($0, 1) }, pageFault: 3, at: page)
    directory.value = before | PageFlags.noExecute.rawValue
    PageTables.reload()
    expect("fetch, execute-disabled directory", attempted(codeAt: page), pageFault: 0x11, at: page)
    directory.value = before & ~1
    PageTables.reload()
    expect(
      "read, directory not present", attempted(page) { _ = load8($0) }, pageFault: 0, at: page)
    directory.value = before
    expect("a new entry needs no INVLPG", attempted(page) { _ = load8($0) }.happened, is: 0)
  }

  private static func bits() {
    let page = base + 0x20_0000
    let frame = Pool.pages()
    let entry = PageTables.entry(for: page)
    let directory = PageTables.entry(for: page, level: 2)
    let accessed = PageFlags.accessed.rawValue
    let dirty = PageFlags.dirty.rawValue
    PageTables.map(page, to: frame, [.present, .writable])
    directory.value &= ~accessed
    PageTables.reload()
    expect("INVLPG touches nothing", entry.value & (accessed | dirty), is: 0)
    _ = load8(page)
    expect("a read sets accessed, not dirty", entry.value & (accessed | dirty), is: accessed)
    expect("and accessed in the directory", directory.value & accessed, is: accessed)
    store8(page, 1)
    expect("a write sets dirty, though the TLB knew the page", entry.value & dirty, is: dirty)
    entry.value &= ~(dirty | accessed)
    invalidate_page(page)
    store8(page, 1)
    expect("a write sets both", entry.value & (accessed | dirty), is: accessed | dirty)
    PageTables.map(page, to: frame, [.present])
    _ = attempted(page) { store8($0, 1) }
    expect("a write that faults does not set dirty", entry.value & dirty, is: 0)
    store8(frame, 0xc3)
    PageTables.map(page, to: frame, [.present])
    _ = call_code(page, 0)
    expect("a fetch sets accessed", entry.value & (accessed | dirty), is: accessed)
  }

  private static func forgetting() {
    let page = base + 0x30_0000
    let first = Pool.pages()
    let second = Pool.pages()
    store64(first, 1)
    store64(second, 2)
    let entry = PageTables.entry(for: page)
    func remap(_ flags: PageFlags, _ forget: () -> Void) -> UInt64 {
      PageTables.map(page, to: first, flags)
      _ = load64(page)
      entry.value = second | flags.rawValue
      forget()
      return load64(page)
    }
    expect("INVLPG forgets a page", remap([.present]) { invalidate_page(page + 8) }, is: 2)
    expect("MOV to CR3 forgets a page", remap([.present]) { PageTables.reload() }, is: 2)
    write_cr4(read_cr4() | 1 << 7)
    let kept = remap([.present, .global]) { PageTables.reload() }
    expect("a global page is the old or the new one", kept == 1 || kept == 2)
    note("MOV to CR3 keeps global pages", .decimal(kept == 1 ? 1 : 0))
    expect(
      "INVLPG forgets a global page", remap([.present, .global]) { invalidate_page(page) }, is: 2)
    expect(
      "a change of CR4.PGE forgets global pages",
      remap([.present, .global]) { write_cr4(read_cr4() ^ 1 << 7) }, is: 2)
    // Code is forgotten like data.
    for (frame, value) in [(first, UInt32(11)), (second, 22)] {
      store8(frame, 0xb8)
      store32(frame + 1, value)
      store8(frame + 5, 0xc3)
    }
    PageTables.map(page, to: first, [.present])
    expect("code of the first frame", call_code(page, 0), is: 11)
    PageTables.map(page, to: second, [.present])
    expect("code of the second frame", call_code(page, 0), is: 22)
    // Another address space altogether.
    let map = Pool.pages()
    copy_bytes(map, read_cr3() & ~0xfff, 4096)
    let old = read_cr3()
    Word(at: map + 8 * (page >> 39 & 0x1ff)).value = 0
    write_cr3(map)
    expect("another page map", attempted(page) { _ = load8($0) }, pageFault: 0, at: page)
    write_cr3(old)
    expect("and back", call_code(page, 0), is: 22)
  }

  private static func largePages() {
    let two = base + 0x4000_0000
    let frame = Pool.pages(512, alignedTo: 2 << 20)
    store64(frame + 0x12_3458, 0xabcd)
    PageTables.map(two, to: frame, [.present, .writable], level: 2)
    expect("2 MiB page", load64(two + 0x12_3458), is: 0xabcd)
    store64(two + 0x1f_fff8, 5)
    expect("its last word", load64(frame + 0x1f_fff8), is: 5)
    expect(
      "its dirty bit", PageTables.entry(for: two, level: 2).value & PageFlags.dirty.rawValue,
      is: PageFlags.dirty.rawValue)
    PageTables.map(two, to: frame | 1 << 13, [.present], level: 2)
    expect(
      "reserved bit of a 2 MiB page", attempted(two) { _ = load8($0) },
      pageFault: Machine.reservedBitError, at: two)
    PageTables.map(two, to: frame, [.present], level: 2)
    expect(
      "write, 2 MiB read-only", attempted(two + 0x1000) { store8($0, 1) }, pageFault: 3,
      at: two + 0x1000)
    // INVLPG anywhere in a large page forgets all of it.
    _ = load64(two)
    PageTables.entry(for: two, level: 2).value = 0
    invalidate_page(two + 0x1f_f000)
    expect("INVLPG inside a 2 MiB page", attempted(two) { _ = load8($0) }, pageFault: 0, at: two)
    if cpuid(0x8000_0001, 0).edx & 1 << 26 != 0 {
      let one = base + 0x80_0000_0000
      PageTables.map(one, to: 0, [.present], level: 3)
      expect("1 GiB page", load64(one + frame + 0x12_3458), is: 0xabcd)
    } else {
      skip("no 1 GiB pages")
    }
  }

  /// Accesses over the border of two pages whose frames are not neighbours.
  private static func borders() {
    let page = base + 0x50_0000
    let first = Pool.pages()
    let second = Pool.pages()
    PageTables.map(page, to: second, [.present, .writable])
    PageTables.map(page + 0x1000, to: first, [.present, .writable])
    store64(page + 0xffb, 0x8877_6655_4433_2211)
    expect("store over a border, first part", load32(second + 0xffb), is: 0x4433_2211)
    expect("store over a border, second part", load16(first) & 0xffff, is: 0x7766)
    expect("load over a border", load64(page + 0xffb), is: 0x8877_6655_4433_2211)
    expect(
      "locked addition over a border", locked_exchange_add(page + 0xffb, 1),
      is: 0x8877_6655_4433_2211)
    expect("its result", load64(page + 0xffb), is: 0x8877_6655_4433_2212)
    PageTables.map(page + 0x1000, to: first, [.present])
    expect(
      "store into a read-only second page", attempted(page + 0xffc) { store64($0, 0) },
      pageFault: 3, at: page + 0x1000)
    expect("leaves the first as it was", load32(page + 0xffb), is: 0x4433_2212)
    PageTables.entry(for: page + 0x1000).value = 0
    invalidate_page(page + 0x1000)
    expect(
      "load from an absent second page", attempted(page + 0xffc) { _ = load64($0) }, pageFault: 0,
      at: page + 0x1000)
    // An instruction over the border: its second half decides.
    store8(second + 0xffe, 0xb8)
    store8(second + 0xfff, 0x01)
    expect(
      "fetch from an absent second page", attempted(codeAt: page + 0xffe), pageFault: 0x10,
      at: page + 0x1000)
    store32(first, 0xc300_0000)
    PageTables.map(page + 0x1000, to: first, [.present])
    expect("instruction over a border", call_code(page + 0xffe, 0), is: 1)
  }

  /// A repeated string instruction that faults has done what it had done, and goes on from there.
  private static func strings() {
    let page = base + 0x60_0000
    let frame = Pool.pages(2)
    PageTables.map(page, to: frame, [.present, .writable])
    let fault = attempted(page + 0xf00) { fill_bytes($0, 0x77, 0x300) }
    expect("REP STOSB into an absent page", fault, pageFault: 2, at: page + 0x1000)
    expect("RCX is what is left", fault.frame.rcx, is: 0x200)
    expect("RDI is where it stopped", fault.frame.rdi, is: page + 0x1000)
    expect("the first page is filled", load8(frame + 0xfff), is: 0x77)
    let copy = attempted(page + 0xf80) { copy_bytes($0, Layout.pool, 0x100) }
    expect("REP MOVSB into an absent page", copy, pageFault: 2, at: page + 0x1000)
    expect("RSI is where it stopped", copy.frame.rsi, is: Layout.pool + 0x80)
    // The handler brings the page, the instruction ends.
    set_handler(14) { _ in PageTables.map(missing.value, to: supply.value, [.present, .writable]) }
    missing.value = page + 0x1000
    supply.value = frame + 0x1000
    fill_bytes(page + 0xf00, 0x33, 0x300)
    clear_handler(14)
    expect("it goes on when the page is there", load64(frame + 0x11f8), is: 0x3333_3333_3333_3333)
    expect("and ends where it should", load64(frame + 0x1200), is: 0)
  }
}

// For the page-fault handler.
private var missing: Word { Word(0) }
private var supply: Word { Word(1) }
