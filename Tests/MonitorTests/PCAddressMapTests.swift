import LinuxBoot
import Memory
import Monitor
import Testing

/// The map that guests rely on, written out. A change here is a change of every machine.
struct PCAddressMapTests {
  private func regions(_ map: PCAddressMap) -> [String] {
    map.regions.map {
      "\(hex($0.start.rawValue))-\(hex($0.start.rawValue + $0.count - 1)) \($0.kind)"
    }
  }

  private func memoryMap(_ map: PCAddressMap) -> [String] {
    map.memoryMap.map { "\(hex($0.start))-\(hex($0.start + $0.size - 1)) \($0.kind.rawValue)" }
  }

  private func hex(_ value: UInt64) -> String { String(value, radix: 16) }

  @Test func `512 MiB`() {
    let map = PCAddressMap(memory: 512 << 20)
    #expect(regions(map) == ["0-9ffff ram", "e0000-fffff rom", "100000-1fffffff ram"])
    #expect(
      memoryMap(map) == [
        "0-9fbff 1", "9fc00-9ffff 2", "e0000-fffff 2", "100000-1ffeffff 1", "1fff0000-1fffffff 2",
        "b0000000-bfffffff 2",
      ])
  }

  @Test func `8 GiB with firmware`() {
    let map = PCAddressMap(memory: 8 << 30, romSize: 2 << 20)
    #expect(
      regions(map) == [
        "0-9ffff ram", "e0000-fffff rom", "100000-afffffff ram", "ffe00000-ffffffff rom",
        "100000000-24fffffff ram",
      ])
    #expect(memoryMap(map).last == "100000000-24fffffff 1")
    #expect(map.acpiTables == 0xafff_0000..<0xb000_0000)
  }

  @Test func `persistent memory lies above RAM in whole gibibytes, and in no map of RAM`() {
    let map = PCAddressMap(
      memory: 6 << 30,
      persistent: [
        .init(size: 64 << 20), .init(size: (3 << 30) + (2 << 20), isReadOnly: true),
        .init(size: 2 << 20),
      ])
    #expect(
      regions(map).suffix(4) == [
        "100000000-1cfffffff ram",
        "200000000-203ffffff ram", "240000000-3001fffff rom", "340000000-3401fffff ram",
      ])
    #expect(memoryMap(map).last == "100000000-1cfffffff 1")
    #expect(map.pciHighMemory.lowerBound == 0x10_0000_0000)
    let small = PCAddressMap(memory: 512 << 20, persistent: [.init(size: 64 << 30)])
    #expect(small.persistentMemory == [0x1_0000_0000..<0x11_0000_0000])
    #expect(small.pciHighMemory == 0x20_0000_0000..<0x80_0000_0000)
  }

  @Test func `the 64-bit window lies above RAM, and below 512 GiB as long as there is room`() {
    for (gibibytes, start, end) in [
      (1, 0x10_0000_0000, 0x80_0000_0000), (62, 0x10_0000_0000, 0x80_0000_0000),
      (63, 0x20_0000_0000, 0x80_0000_0000), (382, 0x60_0000_0000, 0x80_0000_0000),
      (400, 0x70_0000_0000, 0x100_0000_0000), (511, 0x90_0000_0000, 0x100_0000_0000),
    ] as [(UInt64, UInt64, UInt64)] {
      let map = PCAddressMap(memory: gibibytes << 30)
      #expect(map.pciHighMemory == start..<end)
      #expect(map.highMemory.upperBound <= map.pciHighMemory.lowerBound)
    }
    let wide = PCAddressMap(memory: PCAddressMap.maximumMemory, addressBits: 46)
    #expect(wide.pciHighMemory.upperBound == 1 << 46)
  }
}
