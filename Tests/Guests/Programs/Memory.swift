import Arch

/// RAM is where the memory map says, all of it, and holds what it is given.
enum Memory {
  static func run() -> Never {
    let info = StartInfo.current
    var usable: UInt64 = 0
    var below: UInt64 = 0
    var above: UInt64 = 0
    for index in 0..<info.memoryMapCount {
      let range = info.range(index)
      line(
        "note ", .hex(range.start), " to ", .hex(range.end),
        ", type ", .decimal(range.type))
      for other in 0..<index {
        let other = info.range(other)
        if range.start < other.end, other.start < range.end { fail("two ranges overlap") }
      }
      guard range.type == 1 else { continue }
      usable += range.size
      if range.start >= 1 << 32 { above += range.size } else { below += range.size }
    }
    note("usable KiB", .decimal(usable / 1024))
    expect("some RAM lies below 1 MiB and some above", usable > 16 << 20)

    // Each page gets its own address, first all are written, then all are read.
    forEachFreePage {
      store64($0, ~$0); store64($0 + 4088, $0)
    }
    forEachFreePage { if load64($0) != ~$0 || load64($0 + 4088) != $0 { mistakes.value += 1 } }
    expect("pages keep their first and last word", mistakes.value, is: 0)

    // Walking bits, at the end of each usable range and across its alignments.
    for index in 0..<info.memoryMapCount {
      let range = info.range(index)
      guard range.type == 1, range.end > 1 << 20 else { continue }
      expect("walking ones and zeros", walk(range.end - 8))
      expect("all widths at all alignments", widths(range.end - 32))
    }
    if above > 0 {
      // 4 GiB apart, and as far as 32 bits can tell the same address.
      store64(1 << 32 | 0x180_0000, 0x1111_2222_3333_4444)
      store64(0x180_0000, 0x5555_6666_7777_8888)
      expect(
        "memory above 4 GiB is its own", load64(1 << 32 | 0x180_0000), is: 0x1111_2222_3333_4444)
    } else {
      skip("no RAM above 4 GiB")
    }
    // What nobody answers takes writes without harm, and forgets them.
    let hole: UInt64 = 0xf000_0000
    store32(hole, 0x1234_5678)
    expect("a hole keeps nothing", load32(hole) != 0x1234_5678)
    note("a hole reads as", .hex(load32(hole)))
    let rom: UInt64 = 0xf_fff0
    let before = load32(rom)
    store32(rom, ~before)
    note("a write to ROM changed it", .decimal(load32(rom) == before ? 0 : 1))
    stringOperations()
    finish()
  }

  private static var mistakes: Word { Word(0) }

  private static func forEachFreePage(_ body: (UInt64) -> Void) {
    let info = StartInfo.current
    let first = (address_of_image_end() + 4095) & ~4095
    for index in 0..<info.memoryMapCount {
      let range = info.range(index)
      guard range.type == 1 else { continue }
      var page = max((range.start + 4095) & ~4095, first)
      while page + 4096 <= min(range.end, 16 << 30) {
        if page != info.address & ~4095 { body(page) }
        // Every page at first, then one in each mebibyte: the host has to find all that is touched.
        page += page < range.start + (64 << 20) ? 4096 : 1 << 20
      }
    }
  }

  private static func walk(_ address: UInt64) -> Bool {
    for bit in 0..<UInt64(64) {
      store64(address, 1 << bit)
      if load64(address) != 1 << bit { return false }
      store64(address, ~(1 << bit))
      if load64(address) != ~(1 << bit) { return false }
    }
    return true
  }

  private static func widths(_ address: UInt64) -> Bool {
    for shift in 0..<UInt64(16) {
      fill_bytes(address, 0, 32)
      store64(address + shift, 0x8877_6655_4433_2211)
      for byte in 0..<UInt64(8) where load8(address + shift + byte) != UInt8(0x11 * (byte + 1)) {
        return false
      }
      store16(address + shift + 1, 0xaabb)
      store32(address + shift + 3, 0xccdd_eeff)
      store8(address + shift + 7, 0x99)
      if load64(address + shift) != 0x99cc_ddee_ffaa_bb11 { return false }
    }
    return true
  }

  /// REP MOVS and REP STOS over page borders, and with source and destination that overlap.
  private static func stringOperations() {
    let buffer = Pool.pages(4)
    for index in 0..<UInt64(8192) { store8(buffer + index, UInt8(truncatingIfNeeded: index * 7)) }
    copy_bytes(buffer + 8192 + 1, buffer, 8191)
    var same = true
    for index in 0..<UInt64(8191)
    where load8(buffer + 8193 + index) != UInt8(truncatingIfNeeded: index * 7) {
      same = false
    }
    expect("REP MOVSB over a page border", same)
    fill_bytes(buffer, 0, 8192)
    store8(buffer + 4090, 0x5a)
    copy_bytes(buffer + 4091, buffer + 4090, 100)
    same = true
    for index in 0..<UInt64(101) where load8(buffer + 4090 + index) != 0x5a { same = false }
    expect("REP MOVSB onto itself repeats the first byte", same && load8(buffer + 4191) == 0)
  }
}
