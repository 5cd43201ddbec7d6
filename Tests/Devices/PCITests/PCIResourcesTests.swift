import Board
import Kit
import Memory
import Testing

@testable import PCI

/// PCI 3.0 §6.2.5.1; PCI-to-PCI Bridge Architecture 1.2 §3.2.5.
@Suite struct PCIResourcesTests {
  private let resources = PCIResources(
    memory: 0xc000_0000..<0xfec0_0000, highMemory: 0x10_0000_0000..<0x80_0000_0000)

  private static func function(_ device: UInt16, _ bars: [BAR]) -> ConfigurationSpace {
    ConfigurationSpace(
      PCIIdentity(vendor: 0x1af4, device: device, classCode: .ethernet), bars: bars,
      express: .endpoint, interruptPin: .a)
  }

  private static func bar(_ space: BAR.Space, _ size: UInt64) -> BAR {
    BAR(space, size: size, device: RegionDevice())
  }

  /// Bus 0: a card, a hot-plug root port with a card, an empty one, and a port with a switch that has an
  /// empty slot and a card.
  private func build(_ hierarchy: Hierarchy) {
    let network = Self.function(
      0x1041,
      [
        Self.bar(.ports, 32), Self.bar(.memory(prefetchable: false), 0x1000),
        Self.bar(.memory64(prefetchable: true), 0x4000),
      ])
    let disk = Self.function(
      0x1042,
      [
        Self.bar(.memory64(prefetchable: false), 0x8000),
        Self.bar(.memory(prefetchable: true), 0x20_0000),
        Self.bar(.memory64(prefetchable: true), 1 << 32),
      ])
    let screen = Self.function(
      0x1050, [Self.bar(.ports, 16), Self.bar(.memory64(prefetchable: true), 0x80_0000)])
    hierarchy.root.bus.plug(network, device: 1)
    let ports = (1...2 as ClosedRange<UInt8>).map {
      PCIExpressPort.root(port: $0, slot: PCIExpress.Slot(UInt16($0)))
    }
    ports[0].plug(disk)
    let fixed = PCIExpressPort.root(port: 3, slot: nil)
    let upstream = PCIExpressPort.switchUpstream()
    let downstream = (0..<2 as Range<UInt8>).map {
      PCIExpressPort.switchDownstream(
        port: $0, slot: PCIExpress.Slot(UInt16($0) + 3, isHotPluggable: $0 == 0))
    }
    downstream[1].plug(screen)
    for (device, port) in downstream.enumerated() {
      upstream.secondary.plug(port, device: UInt8(device))
    }
    fixed.plug(upstream)
    for (device, port) in (ports + [fixed]).enumerated() {
      hierarchy.root.bus.plug(port, device: UInt8(device) + 2)
    }
  }

  /// A line for each function: its command, BARs, and for bridges buses and windows.
  private func table(_ hierarchy: Hierarchy) -> [String] {
    hierarchy.tree().map { name in
      let parts = name.split(whereSeparator: { ":. ".contains($0) })
      let bus = UInt8(parts[0], radix: 16) ?? 0, device = UInt8(parts[1], radix: 16) ?? 0
      let read = { (register: UInt16) in hierarchy.read(bus, device, register) }
      let hex = { (value: UInt32) in String(value, radix: 16) }
      var line = "\(name) command \(read(0x04) & 7)"
      let isBridge = read(0x0c) >> 16 & 0x7f == 1
      for register in stride(from: 0x10 as UInt16, to: isBridge ? 0x18 : 0x28, by: 4)
      where read(register) != 0 {
        line += " \(hex(UInt32(register)))=\(hex(read(register)))"
      }
      guard isBridge else { return line }
      line +=
        " buses \(hex(read(0x18))) ports \(hex(read(0x1c) & 0xffff)) memory \(hex(read(0x20)))"
      return line + " high \(hex(read(0x28))):\(hex(read(0x2c))):\(hex(read(0x24)))"
    }
  }

  /// The map that guests rely on, written out. A change here is a change of every machine.
  @Test func `a machine with ports and a switch gets this map`() throws {
    let hierarchy = Hierarchy()
    build(hierarchy)
    try resources.assign(hierarchy.root)
    #expect(
      table(hierarchy) == [
        "00:00.0 81b36 command 0",
        "00:01.0 10411af4 command 3 10=2001 14=c0a00000 18=c080000c 1c=11",
        "00:02.0 c1b36 command 3 buses 40100 ports f0 memory c040c000 high 10:11:3ff10001",
        "01:00.0 10421af4 command 2 10=c0200004 18=c0000008 1c=c 20=10",
        "00:03.0 c1b36 command 3 buses 80500 ports f0 memory c070c060 high 11:11:7ff14001",
        "00:04.0 c1b36 command 3 buses f0900 ports 1010 memory c090c080 high 11:11:c0718001",
        "09:00.0 8232104c command 3 buses f0a09 ports 1010 memory c090c080 high 11:11:c0718001",
        "0a:00.0 8233104c command 3 buses e0b0a ports f0 memory c090c080 high 11:11:bff18001",
        "0a:01.0 8233104c command 3 buses f0f0a ports 1010 memory fff0 high 11:11:c071c001",
        "0f:00.0 10501af4 command 3 10=1001 14=c000000c 18=11",
      ])
  }

  @Test func `the same map comes again, after a reset as well`() throws {
    let hierarchy = Hierarchy()
    build(hierarchy)
    try resources.assign(hierarchy.root)
    let first = table(hierarchy)
    try resources.assign(hierarchy.root)
    #expect(table(hierarchy) == first)
    for function in hierarchy.root.bus.inventory { function.busReset() }
    #expect(table(hierarchy) != first)
    try resources.assign(hierarchy.root)
    #expect(table(hierarchy) == first)
  }

  @Test func `every BAR answers, and none overlap`() throws {
    let hierarchy = Hierarchy()
    build(hierarchy)
    try resources.assign(hierarchy.root)
    // Besides ECAM: six BARs of memory, two of ports.
    #expect(hierarchy.registers.map.count == 1 + 6)
    #expect(hierarchy.ports.map.count == 2)
  }

  @Test func `without high memory all goes below 4 GiB, and what does not fit is refused`() throws {
    var low = resources
    low.highMemory = 0..<0
    let hierarchy = Hierarchy()
    hierarchy.root.bus.plug(
      Self.function(1, [Self.bar(.memory64(prefetchable: true), 1 << 28)]), device: 1)
    try low.assign(hierarchy.root)
    #expect(hierarchy.read(0, 1, 0x10) == 0xc000_000c && hierarchy.read(0, 1, 0x14) == 0)
    hierarchy.root.bus.plug(
      Self.function(2, [Self.bar(.memory64(prefetchable: true), 1 << 40)]), device: 2)
    #expect(throws: PCIResourceError.doesNotFit(needed: (1 << 40) + 1 << 28, available: low.memory))
    {
      try low.assign(hierarchy.root)
    }
    #expect(throws: PCIResourceError.self) { try resources.assign(hierarchy.root) }
  }

  @Test func `slots do without room where there is not enough for all`() throws {
    let hierarchy = Hierarchy()
    for device in 1..<24 as Range<UInt8> {
      let port = PCIExpressPort.root(port: device, slot: PCIExpress.Slot(UInt16(device)))
      hierarchy.root.bus.plug(port, device: device)
    }
    var small = resources
    small.memory = 0xc000_0000..<0xc100_0000
    try small.assign(hierarchy.root)
    #expect(hierarchy.read(0, 1, 0x20) == 0x0000_fff0)
    #expect(hierarchy.read(0, 23, 0x18) == 0x0017_1700)
    try resources.assign(hierarchy.root)
    #expect(hierarchy.read(0, 2, 0x20) == 0xc030_c020)
    #expect(hierarchy.read(0, 2, 0x18) == 0x0008_0500)
  }

  @Test func `slots for which there are too few buses still get their memory`() throws {
    let hierarchy = Hierarchy()
    for device in 1...3 as ClosedRange<UInt8> {
      let upstream = PCIExpressPort.switchUpstream()
      for number in 0..<32 as Range<UInt8> {
        upstream.secondary.plug(
          PCIExpressPort.switchDownstream(port: number, slot: PCIExpress.Slot(UInt16(number) + 1)),
          device: number)
      }
      let port = PCIExpressPort.root(port: device, slot: nil)
      port.plug(upstream)
      hierarchy.root.bus.plug(port, device: device)
    }
    try resources.assign(hierarchy.root)
    // A bus for each port, and 2 MiB.
    #expect(hierarchy.read(2, 1, 0x18) == 0x0004_0402)
    #expect(hierarchy.read(2, 1, 0x20) == 0xc030_c020)
  }
}
