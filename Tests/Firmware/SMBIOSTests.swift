import Bits
import Foundation
import SMBIOS
import Testing

@Suite struct SMBIOSTests {
  static func machine(memory: UInt64 = 2 << 30) -> SystemInformation {
    SystemInformation(
      system: .init(
        serialNumber: "R-1", uuid: 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF, sku: "pc",
        family: "Roost"),
      processor: .init(
        manufacturer: "GenuineIntel", version: "x86-64-v2", signature: 0x000F_61,
        features: 0x78B_FBFD,
        cores: 2, speed: 2000),
      memory: [
        .init(address: 0, size: min(memory, 3 << 30)),
        .init(address: 4 << 30, size: max(memory, 3 << 30) - 3 << 30),
      ].filter { $0.size > 0 })
  }

  /// The structures of a table: type, formatted area with header, strings.
  static func structures(
    _ bytes: [UInt8]
  ) -> [(type: UInt8, area: [UInt8], strings: [String])] {
    var rest = bytes.dropFirst(64)
    var result: [(type: UInt8, area: [UInt8], strings: [String])] = []
    while let type = rest.first {
      let area = Array(rest.prefix(Int(rest[rest.startIndex + 1])))
      rest = rest.dropFirst(area.count)
      var strings: [String] = []
      while rest.first != 0 || strings.isEmpty && rest.dropFirst().first != 0 {
        let text = rest.prefix { $0 != 0 }
        strings.append(String(decoding: text, as: UTF8.self))
        rest = rest.dropFirst(text.count + 1)
      }
      rest = rest.dropFirst(strings.isEmpty ? 2 : 1)
      result.append((type, area, strings))
    }
    return result
  }

  // SMBIOS 3.3 §5.2.1, §5.2.2
  @Test func `both entry points add up to zero and lead to the table`() {
    let bytes = SMBIOSTables(describing: Self.machine(), at: 0xF_0000).bytes
    #expect(bytes.starts(with: Array("_SM3_".utf8)) && bytes[0..<24].sum == 0)
    #expect(bytes.integer(UInt32.self, littleEndianAt: 12) == UInt32(bytes.count - 64))
    #expect(bytes.integer(UInt64.self, littleEndianAt: 16) == 0xF_0040)
    #expect(bytes[32..<36].elementsEqual("_SM_".utf8) && bytes[32..<63].sum == 0)
    #expect(bytes[48..<53].elementsEqual("_DMI_".utf8) && bytes[48..<63].sum == 0)
    #expect(bytes.integer(UInt16.self, littleEndianAt: 54) == UInt16(bytes.count - 64))
    #expect(bytes.integer(UInt32.self, littleEndianAt: 56) == 0xF_0040)
    let structures = Self.structures(bytes)
    #expect(bytes.integer(UInt16.self, littleEndianAt: 60) == UInt16(structures.count))
  }

  // SMBIOS 3.3 §7: lengths for version 3.3, and the order of types.
  @Test func `structures have the lengths of their version`() {
    let bytes = SMBIOSTables(describing: Self.machine(memory: 5 << 30), at: 0).bytes
    let structures = Self.structures(bytes)
    #expect(structures.map(\.type) == [0, 1, 3, 4, 16, 17, 19, 19, 32, 127])
    #expect(
      structures.map(\.area.count) == [
        0x1A, 0x1B, 0x16, 0x30, 0x17, 0x5C, 0x1F, 0x1F, 0x0B, 0x04,
      ])
    let handles = structures.compactMap { $0.area.integer(UInt16.self, littleEndianAt: 2) }
    #expect(Set(handles).count == structures.count)
  }

  // SMBIOS 3.3 §7.2.1
  @Test func `the UUID's first three groups are little-endian`() {
    let system = Self.structures(SMBIOSTables(describing: Self.machine(), at: 0).bytes)[1]
    #expect(
      Array(system.area[8..<24]) == [
        0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE,
        0xFF,
      ])
    #expect(system.strings == ["Roost", "Roost PC", "R-1", "pc", "Roost"])
    #expect(Array(system.area[4..<8]) == [1, 2, 0, 3])
  }

  // SMBIOS 3.3 §6.1.3
  @Test func `text that is not printable ASCII cannot break the table`() {
    var machine = Self.machine()
    machine.system.serialNumber = "a\0b\u{1F426}\n"
    machine.system.product = String(repeating: "x", count: 1000)
    let system = Self.structures(SMBIOSTables(describing: machine, at: 0).bytes)[1]
    #expect(system.strings[1].count == 255)
    #expect(system.strings[2] == "a?b??")
  }

  /// An amount of RAM in kibibytes, and how a memory device says it.
  struct MemorySize {
    var kibibytes: UInt64
    var size: UInt16
    var extended: UInt32 = 0

    static let all = [
      MemorySize(kibibytes: 512, size: 0x8200),
      MemorySize(kibibytes: 1 << 10, size: 1),
      MemorySize(kibibytes: 2 << 20, size: 2048),
      MemorySize(kibibytes: 32 << 20, size: 0x7FFF, extended: 32 << 10),
      MemorySize(kibibytes: 8 << 30, size: 0x7FFF, extended: 8 << 20),
    ]
  }

  // SMBIOS 3.3 §7.18
  @Test(arguments: MemorySize.all)
  func `memory of every size has a form`(_ memory: MemorySize) throws {
    let bytes = SMBIOSTables(describing: Self.machine(memory: memory.kibibytes << 10), at: 0).bytes
    let device = try #require(Self.structures(bytes).first { $0.type == 17 }).area
    #expect(device.integer(UInt16.self, littleEndianAt: 0x0C) == memory.size)
    #expect(device.integer(UInt32.self, littleEndianAt: 0x1C) == memory.extended)
    #expect(device.integer(UInt64.self, littleEndianAt: 0x3C) == memory.kibibytes << 10)
  }
}

/// The tables as `dmidecode` reads them, from a dump in which the entry point is at offset 0.
@Suite(.enabled(if: Tool.dmidecode != nil, "dmidecode (Debian package dmidecode) is not installed"))
struct SMBIOSDecoderTests {
  @Test(arguments: [UInt64(64) << 20, 2 << 30, 8 << 40])
  func `dmidecode reads the table without complaint`(_ memory: UInt64) throws {
    let dmidecode = try #require(Tool.dmidecode)
    let folder = try TemporaryFolder()
    let dump = folder.file("smbios.bin")
    let tables = SMBIOSTables(describing: SMBIOSTests.machine(memory: memory), at: 0)
    try Data(tables.bytes).write(to: dump)
    let (status, output) = try dmidecode.run("--from-dump", dump.path)
    #expect(status == 0)
    for complaint in ["Wrong", "Invalid", "TRUNCATED", "OUT OF SPEC", "BAD INDEX", "unreachable"] {
      #expect(!output.contains(complaint), "\(output)")
    }
    for fact in [
      "SMBIOS 3.3.0 present", "Vendor: Roost", "Product Name: Roost PC", "Serial Number: R-1",
      "UUID: 00112233-4455-6677-8899-aabbccddeeff", "Core Count: 2", "System is a virtual machine",
      "Current Speed: 2000 MHz", "Status: No errors detected",
    ] {
      #expect(output.contains(fact), "\(fact): \(output)")
    }
  }
}
