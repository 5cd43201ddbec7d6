import Testing

@testable import ACPI

@Suite struct ACPIMachineLanguageTests {
  // ACPI 6.4 §20.2.4: a decoder written from the other side of the table.
  @Test(arguments: [
    0, 1, 61, 62, 63, 64, 0xFFC, 0xFFD, 0xFFE, 0xFFF, 0x1000, 0xF_FFFB, 0xF_FFFC, 0xF_FFFD,
    0x10_0000, 0xFFF_FFFB,
  ])
  func `a package length counts itself and its content`(_ content: Int) {
    let bytes = packageLength(of: content).map(Int.init)
    #expect(bytes[0] >> 6 == bytes.count - 1)
    let length =
      bytes.count == 1
      ? bytes[0] & 0x3F
      : bytes.dropFirst().reversed().reduce(0) { $0 << 8 | $1 } << 4 | bytes[0] & 0xF
    #expect(length == content + bytes.count)
  }

  @Test(arguments: [(62, 1), (63, 2), (0xFFD, 2), (0xFFE, 3), (0xF_FFFC, 3), (0xF_FFFD, 4)])
  func `a package length is as short as it can be`(_ content: Int, _ size: Int) {
    #expect(packageLength(of: content).count == size)
  }

  // ACPI 6.4 §20.2.2
  @Test func `names are padded, joined and prefixed`() {
    #expect(NamePath("RTC").aml == Array("RTC_".utf8))
    #expect(NamePath("\\_SB").aml == Array("\\_SB_".utf8))
    #expect(NamePath("\\_SB.PCI0").aml == Array("\\".utf8) + [0x2E] + Array("_SB_PCI0".utf8))
    #expect(NamePath("^A.B.C").aml == Array("^".utf8) + [0x2F, 3] + Array("A___B___C___".utf8))
    #expect(NamePath("\\").aml == [0x5C, 0x00])
  }

  // ACPI 6.4 §20.2.3
  @Test func `integers take their shortest form`() {
    #expect(Term(0).aml == [0x00])
    #expect(Term(1).aml == [0x01])
    #expect(Term(2).aml == [0x0A, 2])
    #expect(Term(0x100).aml == [0x0B, 0x00, 0x01])
    #expect(Term(0x1_0000).aml == [0x0C, 0, 0, 1, 0])
    #expect(Term(0x1_0000_0000).aml == [0x0E, 0, 0, 0, 0, 1, 0, 0, 0])
  }

  // ACPI 6.4 §19.6: the values are what the names are commonly known to encode to.
  @Test func `identifiers are encoded as the specification orders their bytes`() {
    #expect(EISAID("PNP0A08").aml == [0x0C, 0x41, 0xD0, 0x0A, 0x08])
    #expect(EISAID("PNP0501").aml == [0x0C, 0x41, 0xD0, 0x05, 0x01])
    #expect(
      UUID(0x33DB_4D5B_1FF7_401C_9657_7441_C03D_D766).aml == [
        0x11, 0x13, 0x0A, 0x10, 0x5B, 0x4D, 0xDB, 0x33, 0xF7, 0x1F, 0x1C, 0x40, 0x96, 0x57, 0x74,
        0x41, 0xC0, 0x3D, 0xD7, 0x66,
      ])
  }

  // ACPI 6.4 §6.4.2.1, §6.4.2.5, §6.4.2.9
  @Test func `a resource template is a buffer that ends with a tag`() {
    let template = ResourceTemplate {
      IO(0x3F8, length: 8)
      IRQNoFlags(4)
    }
    #expect(
      template.aml == [
        0x11, 0x10, 0x0A, 13, 0x47, 1, 0xF8, 0x03, 0xF8, 0x03, 1, 8, 0x22, 0x10, 0x00, 0x79, 0,
      ])
  }
}
