import Arch

/// The ACPI tables, as far as guests need them to find the machine's parts (ACPI 6.5 §5.2).
enum ACPI {
  /// The RSDP: where the loader says, or in the BIOS area on a paragraph (§5.2.5.1).
  static var rootPointer: UInt64? {
    let told = StartInfo.current.rootPointer
    if told != 0, isRootPointer(told) { return told }
    var address: UInt64 = 0xe_0000
    while address < 0x10_0000 {
      if isRootPointer(address) { return address }
      address += 16
    }
    return nil
  }

  private static func isRootPointer(_ address: UInt64) -> Bool {
    load64(address) == 0x2052_5450_2044_5352 && sum(address, 20) == 0
  }

  static func sum(_ address: UInt64, _ count: UInt64) -> UInt8 {
    var sum: UInt8 = 0
    for offset in 0..<count { sum &+= load8(address + offset) }
    return sum
  }

  static func forEachTable(_ body: (UInt64) -> Void) {
    guard let pointer = rootPointer else { fail("no RSDP") }
    let wide = load8(pointer + 15) >= 2 && load64(pointer + 24) != 0
    let root = wide ? load64(pointer + 24) : UInt64(load32(pointer + 16))
    body(root)
    let width: UInt64 = wide ? 8 : 4
    var entry = root + 36
    while entry + width <= root + UInt64(load32(root + 4)) {
      body(wide ? load64(entry) : UInt64(load32(entry)))
      entry += width
    }
  }

  /// The first table with this signature, a number of four characters.
  static func table(_ signature: UInt32) -> UInt64? {
    nonisolated(unsafe) var found: UInt64?
    forEachTable { if found == nil, load32($0) == signature { found = $0 } }
    return found
  }

  static var fadt: UInt64? { table(0x5043_4146) }
  static var madt: UInt64? { table(0x4349_5041) }
  static var hpet: UInt64? { table(0x5445_5048) }
  static var mcfg: UInt64? { table(0x4746_434d) }

  /// The entries of the MADT: type, length, and what the type says (§5.2.12).
  static func forEachController(_ body: (UInt64) -> Void) {
    guard let madt else { fail("no MADT") }
    var entry = madt + 44
    while entry < madt + UInt64(load32(madt + 4)) {
      body(entry)
      let length = UInt64(load8(entry + 1))
      if length < 2 { fail("a MADT entry without length") }
      entry += length
    }
  }

  /// The pin of the I/O APIC that an ISA interrupt reaches.
  static func pin(ofISA interrupt: UInt8) -> UInt64 {
    nonisolated(unsafe) var pin = UInt64(interrupt)
    forEachController { entry in
      if load8(entry) == 2, load8(entry + 3) == interrupt { pin = UInt64(load32(entry + 4)) }
    }
    return pin
  }
}
