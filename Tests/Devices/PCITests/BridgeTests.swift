import Board
import Kit
import Memory
import Testing

@testable import PCI

/// PCI-to-PCI Bridge Architecture 1.2; PCIe 6.0 §1.3, §7.2.2, §7.3.
@Suite struct BridgeTests {
  let hierarchy = Hierarchy()
  let first = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(1))
  let second = PCIExpressPort.root(port: 2, slot: nil)
  let upstream = PCIExpressPort.switchUpstream(serialNumber: 5)
  let downstream = (0..<2 as Range<UInt8>).map {
    PCIExpressPort.switchDownstream(port: $0, slot: PCIExpress.Slot(UInt16($0) + 2))
  }
  let near = SampleDevice(0x1041)
  let far = SampleDevice(0x1042)

  /// Two root ports; a device behind the first, a switch behind the second, a device behind that.
  init() {
    first.plug(near.function)
    downstream[1].plug(far.function)
    for (index, port) in downstream.enumerated() {
      upstream.secondary.plug(port, device: UInt8(index))
    }
    second.plug(upstream)
    hierarchy.root.bus.plug(first, device: 1)
    hierarchy.root.bus.plug(second, device: 2)
  }

  private func openAll() {
    hierarchy.open(0, 1, secondary: 1, to: 1, memory: 0xc000_0000...0xc00f_ffff)
    hierarchy.open(0, 2, secondary: 2, to: 5, memory: 0xc010_0000...0xc02f_ffff)
    hierarchy.open(2, 0, secondary: 3, to: 5, memory: 0xc010_0000...0xc02f_ffff)
    hierarchy.open(3, 0, secondary: 4, to: 4)
    hierarchy.open(3, 1, secondary: 5, to: 5, memory: 0xc020_0000...0xc02f_ffff)
  }

  @Test func `a guest finds the tree through the bus numbers that it gives`() {
    #expect(hierarchy.tree() == ["00:00.0 81b36", "00:01.0 c1b36", "00:02.0 c1b36"])
    openAll()
    #expect(
      hierarchy.tree() == [
        "00:00.0 81b36", "00:01.0 c1b36", "01:00.0 10411af4", "00:02.0 c1b36", "02:00.0 8232104c",
        "03:00.0 8233104c", "03:01.0 8233104c", "05:00.0 10421af4",
      ])
    // A device at the end of a link is device 0.
    #expect(hierarchy.read(1, 1, 0) == .max && hierarchy.read(6, 0, 0) == .max)
  }

  @Test func `bus numbers that make no sense lead nowhere`() {
    openAll()
    for numbers: UInt32 in [
      0, 0x0002_0200, 0x00ff_0000, 0x0000_0100, 0x0001_0500, 0x00ff_ff00, 0x00ff_0100, 0x0002_0202,
    ] {
      for (bus, device) in [(0, 1), (0, 2), (2, 0), (3, 0), (3, 1)] as [(UInt8, UInt8)] {
        hierarchy.write(numbers, bus, device, 0x18)
      }
      for bus in 0...255 as ClosedRange<UInt8> { _ = hierarchy.read(bus, 0, 0) }
      #expect(hierarchy.read(0, 0, 0) == 0x0008_1b36)
    }
    // Behind two bridges with the same bus, the first answers.
    hierarchy.write(0x0001_0100, 0, 1, 0x18)
    hierarchy.write(0x0001_0100, 0, 2, 0x18)
    #expect(hierarchy.read(1, 0, 0) == 0x1041_1af4)
  }

  // Chapter 4
  @Test func `a BAR answers only inside the windows of all bridges above it`() {
    openAll()
    hierarchy.write(2, 5, 0, 0x04)
    hierarchy.write(0xc020_0000, 5, 0, 0x10)
    #expect(hierarchy.memory(0xc020_0000) == 7)
    hierarchy.write(0xc010_0000, 5, 0, 0x10)
    #expect(hierarchy.memory(0xc010_0000) == 0xffff_ffff)
    hierarchy.write(0xc02f_f000, 5, 0, 0x10)
    #expect(hierarchy.memory(0xc02f_f000) == 7)
    // The second root port's memory space goes off, and on.
    hierarchy.write(5, 0, 2, 0x04)
    #expect(hierarchy.memory(0xc02f_f000) == 0xffff_ffff)
    hierarchy.write(7, 0, 2, 0x04)
    #expect(hierarchy.memory(0xc02f_f000) == 7)
    // The window in the middle shrinks.
    hierarchy.write(0xc010_c010, 2, 0, 0x20)
    #expect(hierarchy.memory(0xc02f_f000) == 0xffff_ffff)
    // The prefetchable one passes it as well, if all of it lies there.
    hierarchy.write(0xc011_c011, 2, 0, 0x24)
    #expect(hierarchy.memory(0xc02f_f000) == 0xffff_ffff)
    hierarchy.write(0xc021_c021, 2, 0, 0x24)
    #expect(hierarchy.memory(0xc02f_f000) == 7)
  }

  @Test func `bus mastering of every bridge gates what is behind`() {
    openAll()
    hierarchy.enableMessages(5, 0, table: 0xc020_0000)
    #expect(far.gate.isOpen)
    far.function.signal(vector: 0)
    #expect(hierarchy.messages.requesters == [0x0500])
    hierarchy.write(3, 2, 0, 0x04)
    #expect(!far.gate.isOpen)
    far.function.signal(vector: 0)
    #expect(hierarchy.messages.count == 1)
    // The requester ID is that of the bus as it is called now.
    hierarchy.write(0x0009_0903, 3, 1, 0x18)
    hierarchy.write(7, 2, 0, 0x04)
    #expect(far.gate.isOpen)
    #expect(hierarchy.messages.requesters == [0x0500, 0x0900])
  }

  // §9.1; PCIe 6.0 §2.2.8.1
  @Test func `interrupt pins are turned by the slot at every bridge`() {
    far.function.set(0, asserted: true)
    // Device 0's A on bus 5 is A there; at device 1 of bus 3 it becomes B; at device 0 of bus 2 it stays;
    // and device 2 of bus 0 adds two.
    #expect(hierarchy.pins.level(16 + 3))
    near.function.set(0, asserted: true)
    #expect(hierarchy.pins.level(17))
    far.function.set(0, asserted: false)
    #expect(!hierarchy.pins.level(19))
  }

  // §3.2.5, Bridge Control
  @Test func `a reset of the secondary bus reaches all behind, which is away while it lasts`() {
    openAll()
    hierarchy.write(0xc020_0000, 5, 0, 0x10)
    hierarchy.write(0x40, 0, 2, 0, 0x3e, .word)
    #expect(far.resets == 1 && near.resets == 0)
    #expect(hierarchy.read(2, 0, 0) == .max)
    hierarchy.write(0, 0, 2, 0, 0x3e, .word)
    #expect(hierarchy.read(2, 0, 0x18) == 0)
    hierarchy.open(2, 0, secondary: 3, to: 5)
    hierarchy.open(3, 1, secondary: 5, to: 5)
    #expect(hierarchy.read(5, 0, 0x10) == 0)
  }

  @Test func `a bridge in D3hot passes nothing on`() throws {
    openAll()
    let base = try #require(hierarchy.capability(0x01, 0, 2))
    hierarchy.write(3, 0, 2, base + 4)
    #expect(hierarchy.read(2, 0, 0) == .max && hierarchy.read(0, 2, 0) == 0x000c_1b36)
    hierarchy.write(0, 0, 2, base + 4)
    #expect(hierarchy.read(2, 0, 0) == 0x8232_104c)
  }

  // PCI-to-PCI Bridge Architecture 1.2 §3.2.5
  @Test func `windows are decoded as the manual has it`() {
    var header = [UInt32](repeating: 0, count: 16)
    header[7] = 0x0000_3120
    header[8] = 0xc020_c010
    header[9] = 0x0011_0001
    header[10] = 0x0f
    header[11] = 0x10
    let windows = BridgeWindows(header[...], ports: true, memory: true)
    #expect(windows.ports == 0x2000...0x3fff)
    #expect(windows.memory == 0xc010_0000...0xc02f_ffff)
    #expect(windows.prefetchable == 0xf_0000_0000...0x10_001f_ffff)
    #expect(windows.holds(0x2000..<0x4000, isMemory: false))
    #expect(!windows.holds(0x2000..<0x4001, isMemory: false))
    let shut = BridgeWindows(header[...], ports: false, memory: false)
    #expect(shut.ports == nil && shut.memory == nil && shut.prefetchable == nil)
  }

  @Test func `ports keep the contract of components`() {
    for make in [
      { PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(1)) },
      { PCIExpressPort.switchUpstream(serialNumber: 1) },
    ] {
      let broken = ComponentContract.violations(
        of: make, disturb: { $0.writeConfiguration(0x0003_0201, mask: .max, 0x18) })
      #expect(broken == [])
    }
  }
}
