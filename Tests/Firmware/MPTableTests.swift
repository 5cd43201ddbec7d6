import ACPI
import Bits
import Testing

@Suite struct MPTableTests {
  static func table(_ pc: PCDescription) -> [UInt8] {
    MPTable(
      describing: pc, processor: .init(signature: 0xF61, features: 0x78B_FBFD), at: 0xF_5A00
    ).bytes
  }

  /// The entries by type, each with its bytes: processors are twenty long, all others eight.
  static func entries(_ bytes: [UInt8]) -> [[UInt8]] {
    var rest = bytes.dropFirst(16 + 44)
    var entries: [[UInt8]] = []
    while let type = rest.first {
      entries.append(Array(rest.prefix(type == 0 ? 20 : 8)))
      rest = rest.dropFirst(type == 0 ? 20 : 8)
    }
    return entries
  }

  // MP 1.4 §4.1, §4.2
  @Test(arguments: SampleMachine.allCases)
  func `pointer and header add up and agree`(_ machine: SampleMachine) {
    let bytes = Self.table(machine.description)
    #expect(bytes.starts(with: Array("_MP_".utf8)) && bytes.prefix(16).sum == 0)
    #expect(bytes.integer(UInt32.self, littleEndianAt: 4) == 0xF_5A10)
    let table = Array(bytes.dropFirst(16))
    #expect(table.starts(with: Array("PCMP".utf8)) && table.sum == 0)
    #expect(table.integer(UInt16.self, littleEndianAt: 4) == UInt16(table.count))
    #expect(table.integer(UInt16.self, littleEndianAt: 34) == UInt16(Self.entries(bytes).count))
    #expect(table.integer(UInt32.self, littleEndianAt: 36) == 0xFEE0_0000)
  }

  // MP 1.4 §4.3.1
  @Test func `the first processor is the one that boots`() {
    let processors = Self.entries(Self.table(.complete())).filter { $0[0] == 0 }
    #expect(processors.map { $0[1] } == [0, 1])
    #expect(processors.map { $0[3] } == [3, 1])
    #expect(processors[0].integer(UInt32.self, littleEndianAt: 4) == 0xF61)
    #expect(processors[0].integer(UInt32.self, littleEndianAt: 8) == 0x78B_FBFD)
  }

  @Test func `processors that an eight-bit ID cannot name are left out`() {
    let processors = Self.entries(Self.table(SampleMachine.crowded.description)).filter {
      $0[0] == 0
    }
    #expect(processors.count == 255)
  }

  // MP 1.4 §4.3.4
  @Test func `ISA interrupts go to the inputs that the overrides name`() {
    let isa = Self.entries(Self.table(.complete())).filter { $0[0] == 3 && $0[4] == 1 }
    #expect(isa.count == 15)
    #expect(isa[0] == [3, 0, 0, 0, 1, 0, 0, 2])
    #expect(isa.contains([3, 0, 0, 0, 1, 4, 0, 4]))
    #expect(isa.contains([3, 0, 0x0D, 0, 1, 9, 0, 9]))
    #expect(!isa.contains { $0[5] == 2 })
  }

  // MP 1.4 §4.3.4: a PCI source is slot and pin.
  @Test func `PCI interrupts are level-triggered, active low, as _PRT has them`() {
    let pci = Self.entries(Self.table(.complete())).filter { $0[0] == 3 && $0[4] == 0 }
    #expect(pci.count == 128)
    #expect(pci.contains([3, 0, 0x0F, 0, 0, 3 << 2 | 1, 0, 20]))
  }

  // MP 1.4 §4.3.5
  @Test func `every local APIC has the 8259s at LINT0 and NMI at LINT1`() {
    let local = Self.entries(Self.table(.complete())).suffix(2)
    #expect(local == [[4, 3, 0, 0, 1, 0, 0xFF, 0], [4, 1, 0, 0, 1, 0, 0xFF, 1]])
  }

  @Test func `an interrupt goes to the I/O APIC that has its input`() {
    var pc = PCDescription.complete()
    pc.ioAPICs = [.init(id: 5), .init(id: 6, address: 0xFEC0_1000, interruptBase: 20)]
    let pci = Self.entries(Self.table(pc)).filter { $0[0] == 3 && $0[4] == 0 }
    #expect(pci.contains([3, 0, 0x0F, 0, 0, 0 << 2 | 3, 5, 19]))
    #expect(pci.contains([3, 0, 0x0F, 0, 0, 4 << 2 | 0, 6, 0]))
  }
}
