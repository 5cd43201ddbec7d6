import LinuxBoot
import Testing

struct LinuxBootROMTests {
  @Test func `a ROM image ends at 4 GiB and shows its end below 1 MiB`() throws {
    var bytes = [UInt8](repeating: 0xFF, count: 256 << 10)
    bytes[128 << 10] = 0x42
    guard case .reset(let rom) = try BootPlan.rom(bytes).start else {
      Issue.record("no reset")
      return
    }
    #expect(rom.address == 0xFFFC_0000)
    #expect(rom.shadowAddress == 0xE_0000)
    #expect(rom.shadow.first == 0x42)
    #expect(rom.shadow.count == 128 << 10)
  }

  @Test func `a small ROM image is shown whole`() throws {
    let rom = try ROMImage([UInt8](repeating: 0, count: 64 << 10))
    #expect(rom.address == 0xFFFF_0000)
    #expect(rom.shadowAddress == 0xF_0000)
  }

  @Test(arguments: [0, 1, 4095, 65_537, (16 << 20) + 4096])
  func `a file that is no ROM image is refused`(count: Int) {
    #expect(
      refusal { _ = try BootPlan.rom(.init(repeating: 0, count: count)) }?.kind == .notAKernel)
  }
}
