import ACPI
import Bits
import Testing

@Suite struct ACPITablesTests {
  // ACPI 6.4 §5.2.6
  @Test(arguments: SampleMachine.allCases)
  func `every table has its length in its header and a sum of zero`(_ machine: SampleMachine) {
    for table in machine.description.tables.tables {
      #expect(table.bytes.integer(UInt32.self, littleEndianAt: 4) == UInt32(table.bytes.count))
      #expect(table.signature.utf8.elementsEqual(table.bytes.prefix(4)))
      if table.signature != "FACS" { #expect(table.bytes.sum == 0, "\(table.signature)") }
    }
  }

  @Test(arguments: SampleMachine.allCases)
  func `tables lie in one area without overlap`(_ machine: SampleMachine) {
    let tables = machine.description.tables
    var end: UInt32 = 0xBFFE_0000
    for table in tables.tables {
      #expect(table.address >= end && table.address.isMultiple(of: 64))
      end = table.address + UInt32(table.bytes.count)
    }
    #expect(tables.length == end - 0xBFFE_0000)
  }

  // ACPI 6.4 §5.2.5.3
  @Test func `the root pointer carries both checksums and leads to both lists`() {
    let tables = PCDescription.complete().tables
    let pointer = tables.rootPointer
    #expect(pointer.address == 0xE_0000 && pointer.bytes.count == 36)
    #expect(pointer.bytes.prefix(20).sum == 0 && pointer.bytes.sum == 0)
    let rsdt = pointer.bytes.integer(UInt32.self, littleEndianAt: 16)
    let xsdt = pointer.bytes.integer(UInt64.self, littleEndianAt: 24)
    #expect(tables.tables.contains { $0.signature == "RSDT" && $0.address == rsdt })
    #expect(tables.tables.contains { $0.signature == "XSDT" && UInt64($0.address) == xsdt })
  }

  @Test func `both lists name the same tables, and FADT first`() {
    let tables = PCDescription.complete().tables
    let rsdt = tables.bytes(of: "RSDT"), xsdt = tables.bytes(of: "XSDT")
    let short = stride(from: 36, to: rsdt.count, by: 4).compactMap {
      rsdt.integer(UInt32.self, littleEndianAt: $0)
    }
    let long = stride(from: 36, to: xsdt.count, by: 8).compactMap {
      xsdt.integer(UInt64.self, littleEndianAt: $0)
    }
    #expect(short.map(UInt64.init) == long)
    let names = short.compactMap { address in
      tables.tables.first { $0.address == address }?.signature
    }
    #expect(names == ["FACP", "APIC", "MCFG", "HPET"])
  }

  // ACPI 6.4 §5.2.9: the offsets are the specification's.
  @Test func `FADT fields lie where the specification puts them`() {
    let tables = PCDescription.complete().tables
    let fadt = tables.bytes(of: "FACP")
    func field<T: FixedWidthInteger>(_ type: T.Type, _ offset: Int) -> T? {
      fadt.integer(type, littleEndianAt: offset)
    }
    func address(of signature: String) -> UInt32? {
      tables.tables.first { $0.signature == signature }?.address
    }
    #expect(fadt.count == 276)
    #expect(field(UInt32.self, 36) == address(of: "FACS"))
    #expect(field(UInt32.self, 40) == address(of: "DSDT"))
    #expect(field(UInt16.self, 46) == 9)  // SCI_INT
    #expect(field(UInt32.self, 48) == 0)  // SMI_CMD
    #expect(field(UInt32.self, 56) == 0x600)  // PM1a_EVT_BLK
    #expect(field(UInt32.self, 64) == 0x604)  // PM1a_CNT_BLK
    #expect(field(UInt32.self, 76) == 0x608)  // PM_TMR_BLK
    #expect(field(UInt32.self, 80) == 0x620)  // GPE0_BLK
    #expect(Array(fadt[88..<93]) == [4, 2, 0, 4, 16])  // lengths
    #expect(fadt[108] == 0x32)  // CENTURY
    #expect(field(UInt16.self, 109) == 0b011)  // IAPC_BOOT_ARCH
    #expect(field(UInt32.self, 112) == 0b1000_0101_0110_0101)  // Flags
    #expect(Array(fadt[116..<120]) == [1, 8, 0, 1])  // RESET_REG
    #expect(field(UInt64.self, 120) == 0xCF9)
    #expect(fadt[128] == 6)  // RESET_VALUE
    #expect(fadt[131] == 4)  // minor version
    #expect(field(UInt64.self, 140) == address(of: "DSDT").map(UInt64.init))
    #expect(Array(fadt[148..<152]) == [1, 32, 0, 2])  // X_PM1a_EVT_BLK
    #expect(Array(fadt[172..<176]) == [1, 16, 0, 2])  // X_PM1a_CNT_BLK
    #expect(Array(fadt[208..<212]) == [1, 32, 0, 3])  // X_PM_TMR_BLK
    #expect(Array(fadt[220..<224]) == [1, 128, 0, 1])  // X_GPE0_BLK
  }

  // ACPI 6.4 §5.2.12
  @Test func `MADT lists processors, I/O APIC, overrides and NMI`() {
    let madt = PCDescription.complete().tables.bytes(of: "APIC")
    #expect(
      Array(madt.dropFirst(36)) == [
        0x00, 0x00, 0xE0, 0xFE, 1, 0, 0, 0,  // local APIC at FEE00000h, with 8259s
        0, 8, 0, 0, 1, 0, 0, 0,
        0, 8, 1, 1, 1, 0, 0, 0,
        1, 12, 0, 0, 0x00, 0x00, 0xC0, 0xFE, 0, 0, 0, 0,
        2, 10, 0, 0, 2, 0, 0, 0, 0, 0,  // interrupt 0 on input 2
        2, 10, 0, 9, 9, 0, 0, 0, 0x0D, 0,  // interrupt 9: active high, level
        4, 6, 0xFF, 0, 0, 1,
      ])
  }

  // ACPI 6.4 §5.2.12.12, §5.2.12.13
  @Test func `processors beyond the eight-bit IDs are x2APIC entries`() {
    let madt = PCDescription.complete(processors: [254, 255, 0x1_0000]).tables.bytes(of: "APIC")
    let entries = Array(madt.dropFirst(44))
    #expect(Array(entries.prefix(8)) == [0, 8, 254, 254, 1, 0, 0, 0])
    #expect(
      Array(entries[8..<40]) == [
        9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0,
        9, 16, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0,
      ])
    #expect(entries.suffix(12) == [10, 12, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0])
  }

  // PCI Firmware 3.3 §4.1.2
  @Test func `MCFG names base and buses`() {
    let mcfg = PCDescription.sparse.tables.bytes(of: "MCFG")
    #expect(
      Array(mcfg.dropFirst(44)) == [0, 0, 0, 0xE0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 0])
  }

  @Test func `the FACS is 64 bytes and says so`() {
    let facs = PCDescription.sparse.tables.bytes(of: "FACS")
    #expect(facs.count == 64 && facs[4] == 64 && facs[32] == 2)
  }

  @Test func `neighbouring slots share no input until all are taken`() {
    let routing = PCDescription.PCIRouting()
    let inputs = (UInt32(0)..<8).map { routing.globalInterrupt(slot: $0, pin: 0) }
    #expect(inputs == Array(16..<24))
    #expect(routing.globalInterrupt(slot: 31, pin: 3) == 18)
  }
}
