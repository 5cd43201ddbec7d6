import Board
import Kit
import Memory
import Testing

@testable import PCI

/// PCIe 6.0 §7.5, §7.6, §6.6.2; PCI Power Management 1.2.
@Suite struct PCIExpressTests {
  let hierarchy = Hierarchy()
  let device = SampleDevice()

  init() { hierarchy.root.bus.plug(device.function, device: 2) }

  private func express(_ offset: UInt16, bus: UInt8 = 0, _ slot: UInt8 = 2) -> UInt32 {
    guard let base = hierarchy.capability(0x10, bus, slot) else { return .max }
    return hierarchy.read(bus, slot, base + offset)
  }

  // §7.5.3.2
  @Test func `on bus 0 an endpoint is part of the root complex, and has no link`() {
    #expect(express(0) >> 16 == 0x0092)
    #expect(express(0x0c) == 0 && express(0x10) == 0 && express(0x2c) == 0)
    hierarchy.root.bus.unplug(device: 2)
    let port = PCIExpressPort.root(port: 1, slot: nil)
    port.plug(device.function)
    hierarchy.root.bus.plug(port, device: 3)
    hierarchy.open(0, 3, secondary: 1, to: 1)
    #expect(express(0, bus: 1, 0) >> 16 == 0x0002)
    #expect(express(0x0c, bus: 1, 0) == 0x0040_0102)
    #expect(express(0x10, bus: 1, 0) == 0x1102_0000)
    // The port at the other end says the same speed and width, that its link is active, and its number.
    #expect(express(0, 3) >> 16 == 0x0042)
    #expect(express(0x0c, 3) == 0x0150_0102)
    #expect(express(0x10, 3) == 0x3102_0000)
  }

  // §7.5.3.4
  @Test func `nothing has gone wrong after reset, and sizes are sane`() {
    #expect(express(4) == 0x1000_8022)
    #expect(express(8) == 0x0000_2810)
    hierarchy.write(0x000f_ffff, 0, 2, (hierarchy.capability(0x10, 0, 2) ?? 0) + 8)
  }

  // §7.6.3, §7.9.3
  @Test func `extended capabilities begin at 100h`() {
    #expect(hierarchy.read(0, 2, 0x100) == 0x0001_0003)
    #expect(hierarchy.read(0, 2, 0x104) == 0x4455_6677)
    #expect(hierarchy.read(0, 2, 0x108) == 0x0011_2233)
    #expect(hierarchy.read(0, 2, 0x10c) == 0 && hierarchy.read(0, 2, 0xffc) == 0)
    #expect(hierarchy.read(0, 0, 0x100) == 0)
  }

  // §6.6.2
  @Test func `a function-level reset leaves only the link and the size of payloads`() throws {
    let base = try #require(hierarchy.capability(0x10, 0, 2))
    hierarchy.enableMessages(0, 2, table: 0xe000_0000)
    hierarchy.write(0xd000_0000, 0, 2, 0x10)
    hierarchy.write(0x2850, 0, 2, base + 8)
    #expect(device.gate.isOpen && device.function.sendsMessages)
    #expect(hierarchy.memory(0xd000_0000) == 7)
    hierarchy.write(0xa850, 0, 2, base + 8)
    #expect(device.resets == 1)
    #expect(!device.gate.isOpen && !device.function.sendsMessages)
    #expect(hierarchy.memory(0xd000_0000) == 0xffff_ffff)
    #expect(hierarchy.read(0, 2, 0x10) == 0 && hierarchy.read(0, 2, 0x04) == 0x0010_0000)
    #expect(hierarchy.read(0, 2, base + 8) == 0x2850 & ~0x40 | 0x40)
    hierarchy.write(0x80, 0, 2, 0, base + 9, .byte)
    #expect(device.resets == 2)
    // A byte that is not written resets nothing.
    hierarchy.write(0x10, 0, 2, 0, base + 8, .byte)
    #expect(device.resets == 2)
  }

  // PCI Power Management 1.2 §3.2.4
  @Test func `in D3hot only configuration space answers`() throws {
    let base = try #require(hierarchy.capability(0x01, 0, 2))
    hierarchy.enableMessages(0, 2, table: 0xe000_0000)
    device.function.signal(vector: 0)
    #expect(hierarchy.messages.count == 1)
    hierarchy.write(3, 0, 2, base + 4)
    #expect(hierarchy.read(0, 2, base + 4) == 0x0b)
    #expect(hierarchy.memory(0xe000_0000) == 0xffff_ffff)
    #expect(!device.gate.isOpen)
    device.function.signal(vector: 0)
    #expect(hierarchy.messages.count == 1)
    hierarchy.write(1, 0, 2, base + 4)
    #expect(hierarchy.read(0, 2, base + 4) == 0x0b)
    hierarchy.write(0, 0, 2, base + 4)
    #expect(hierarchy.memory(0xe000_0000) == 0xfee0_0000)
    #expect(device.gate.isOpen && hierarchy.messages.count == 2)
  }

  @Test func `an endpoint keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { SampleDevice().function },
      disturb: { $0.writeConfiguration(0xe000_0000, mask: .max, 0x10) })
    #expect(broken == [])
  }
}
