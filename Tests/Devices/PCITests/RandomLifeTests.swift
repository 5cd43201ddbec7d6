import Board
import Kit
import Memory
import Testing

@testable import PCI

/// The host in front of functions with BARs, in lives of chance.
@Suite struct RandomLifeTests {
  @Test(arguments: [1, 2, 3] as [UInt64])
  func `PCI lives through anything`(seed: UInt64) {
    // The functions outlive the hosts that the test makes; what is saved and compared is the host's.
    let ports = IOBus(wideAccess: .split)
    let registers = IOBus(wideAccess: .refuse)
    let root = PCIRoot(
      ports: ports, registers: registers, messages: RecordingMSITarget(),
      interrupts: RecordingController())
    for slot in 0..<4 as Range<UInt8> {
      root.bus.plug(ConfigurationSpaceTests.make(), device: slot)
    }
    var life = RandomLife(
      seed: seed, clock: ManualClock(), of: { PCIHost(root: root) },
      plug: { host, bus in
        bus.map(host, at: PCIHost.ports, region: PCIHost.Block.ports.rawValue)
        bus.map(host, at: 0x1_0000..<0x1_0060, region: PCIHost.Block.memory.rawValue)
      })
    #expect(life.live(steps: 10_000) == [])
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `a function lives through anything`(seed: UInt64) {
    var life = RandomLife(
      seed: seed, clock: ManualClock(), of: { ConfigurationSpaceTests.make() },
      plug: { _, _ in },
      events: [
        { $0.set(0, asserted: $1 & 1 != 0) },
        { space, number in
          let register = UInt16(truncatingIfNeeded: number >> 32) & 0xffc % 0x60
          space.writeConfiguration(UInt32(truncatingIfNeeded: number), mask: .max, register)
        },
        { space, number in
          let bits = UInt32(truncatingIfNeeded: number)
          space.writeConfiguration(
            .max, mask: bits, UInt16(truncatingIfNeeded: number >> 48) & 0xffc)
        },
      ])
    #expect(life.live(steps: 10_000) == [])
  }
}
