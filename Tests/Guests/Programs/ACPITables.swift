import Arch

/// Every table that the root pointer leads to is whole, and says what the machine is (ACPI 6.5 §5.2).
enum ACPITables {
  static func run() -> Never {
    guard let pointer = ACPI.rootPointer else { fail("no RSDP") }
    let revision = load8(pointer + 15)
    note("RSDP revision", .decimal(revision))
    if revision >= 2 {
      expect("its extended checksum", ACPI.sum(pointer, UInt64(load32(pointer + 20))), is: 0)
    }
    ACPI.forEachTable { table in
      let length = UInt64(load32(table + 4))
      line("note ", .characters(at: table, limit: 4), ", ", .decimal(length), " bytes")
      expect("its checksum", length >= 36 && ACPI.sum(table, length) == 0)
    }
    fixed()
    controllers()
    finish()
  }

  private static func fixed() {
    guard let fadt = ACPI.fadt else { fail("no FADT") }
    let definitions = UInt64(load32(fadt + 40))
    expect("the DSDT is one", load32(definitions), is: 0x5444_5344)
    expect("the DSDT's checksum", ACPI.sum(definitions, UInt64(load32(definitions + 4))), is: 0)
    let facs = UInt64(load32(fadt + 36))
    if facs != 0 {
      expect("the FACS is one", load32(facs), is: 0x5343_4146)
      expect("it is aligned", facs % 64, is: 0)
    }
    let timer = UInt16(truncatingIfNeeded: load32(fadt + 76))
    let before = in32(timer)
    Time.rest()
    expect("the power-management timer runs", in32(timer) != before)
  }

  private static func controllers() {
    nonisolated(unsafe) var processors: UInt64 = 0
    nonisolated(unsafe) var own = false
    nonisolated(unsafe) var ioAPIC = false
    ACPI.forEachController { entry in
      switch load8(entry) {
      case 0:
        if load32(entry + 4) & 1 != 0 { processors += 1 }
        if UInt32(load8(entry + 3)) == LocalAPIC.id { own = true }
      case 1: ioAPIC = load32(entry + 4) == 0xfec0_0000
      default: break
      }
    }
    expect("the MADT lists this processor", own)
    expect("and the I/O APIC", ioAPIC)
    note("processors", .decimal(processors))
    expect("the local APICs are where it says", load32(ACPI.madt! + 36), is: 0xfee0_0000)
    if let hpet = ACPI.hpet {
      expect(
        "the HPET's ID is that of its table", load32(load64(hpet + 44)),
        is: UInt64(load32(hpet + 36)))
    } else {
      skip("no HPET")
    }
  }
}
