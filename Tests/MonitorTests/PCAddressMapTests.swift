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
}
