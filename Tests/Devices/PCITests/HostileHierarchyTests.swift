import Board
import Kit
import Memory
import Testing

@testable import PCI

/// Guests that write anything anywhere, on a hierarchy that has one of everything.
@Suite struct HostileHierarchyTests {
  /// A hierarchy, and all that is in it that lives.
  private struct Rig {
    let hierarchy = Hierarchy()
    let ports: [PCIExpressPort]
    let devices = (0..<3).map { SampleDevice(UInt16(0x1041 + $0)) }

    init() {
      let slot = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(1))
      let fixed = PCIExpressPort.root(port: 2, slot: nil)
      let upstream = PCIExpressPort.switchUpstream()
      let below = (0..<2 as Range<UInt8>).map {
        PCIExpressPort.switchDownstream(port: $0, slot: PCIExpress.Slot(UInt16($0) + 2))
      }
      ports = [slot, fixed, upstream] + below
      slot.plug(devices[0].function)
      below[0].plug(devices[1].function)
      for (device, port) in below.enumerated() {
        upstream.secondary.plug(port, device: UInt8(device))
      }
      fixed.plug(upstream)
      hierarchy.root.bus.plug(slot, device: 1)
      hierarchy.root.bus.plug(fixed, device: 2)
      hierarchy.root.bus.plug(devices[2].function, device: 3)
      // What the guest may not take.
      hierarchy.registers.map(RegionDevice(), at: 0xfec0_0000..<0xfec0_1000, region: 9)
      hierarchy.ports.map(RegionDevice(), at: 0x3f8..<0x400, region: 9)
    }

    var functions: [ConfigurationSpace] {
      ports.map(\.configuration) + devices.map(\.function)
    }
  }

  /// A value as a hostile driver would choose it: addresses where others are, pieces of bus numbers.
  private static func value(_ chance: inout Chance) -> UInt32 {
    switch chance.number(below: 4) {
    case 0:
      [0xfec0_0000, 0xfec0_0004, 0x3f9, 0x0010_0000, 0xfff0_0000, 0xb000_0000, 0xfee0_0000][
        Int(chance.number(below: 7))]
    case 1:
      UInt32(chance.number(below: 8)) << 16 | UInt32(chance.number(below: 8)) << 8
        | UInt32(chance.number(below: 4))
    default: UInt32(truncatingIfNeeded: chance.value())
    }
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `a hierarchy lives through anything`(seed: UInt64) throws {
    let rig = Rig()
    let hierarchy = rig.hierarchy
    var chance = Chance(seed: seed)
    try PCIResources(memory: 0xc000_0000..<0xfec0_0000, highMemory: 1 << 36..<1 << 39)
      .assign(hierarchy.root)
    for _ in 0..<6000 {
      let port = rig.ports[Int(chance.number(below: UInt64(rig.ports.count)))]
      let device = rig.devices[Int(chance.number(below: 3))]
      switch chance.number(below: 100) {
      case 0: _ = port.insert([rig.devices[2].function].filter { _ in port.isOccupied })
      case 1: _ = port.requestRemoval()
      case 2: _ = port.remove()
      case 3: device.function.set(0, asserted: chance.next() & 1 == 0)
      case 4...9: device.function.signal(vector: Int(chance.number(below: 3)))
      case 10: port.reset()
      case 11: device.function.busReset()
      case 12...60:
        // Straight at a function, wherever the guest has lost it to.
        let functions = rig.functions
        let index = Int(chance.number(below: UInt64(functions.count)))
        let target: any PCIFunction =
          index < rig.ports.count ? rig.ports[index] : functions[index]
        let register = UInt16(chance.number(below: 0x120)) & ~3
        target.writeConfiguration(
          Self.value(&chance),
          mask: [0xff, 0xffff, .max, 0xffff_0000][Int(chance.number(below: 4))],
          register)
      default:
        var view = BusView(hierarchy.registers)
        let map = hierarchy.registers.map
        let range = map[Int(chance.number(below: UInt64(map.count)))].range
        let address =
          range.lowerBound + chance.number(below: min(range.upperBound - range.lowerBound, 1 << 20))
        let width = AccessWidth.allCases[Int(chance.number(below: 4))]
        if chance.next() & 1 == 0 {
          view.write(chance.value(), address & ~(width.bytes - 1), width)
        } else {
          _ = view.read(address & ~(width.bytes - 1), width)
        }
      }
    }
    // The others are where they were, the host bridge answers, and the machine recovers by a reset.
    #expect(hierarchy.registers.map.contains { $0.range == 0xfec0_0000..<0xfec0_1000 })
    #expect(hierarchy.ports.map.contains { $0.range == 0x3f8..<0x400 })
    #expect(hierarchy.read(0, 0, 0) == 0x0008_1b36)
    for function in hierarchy.root.bus.inventory { function.busReset() }
    for port in rig.ports { port.reset() }
    try PCIResources(memory: 0xc000_0000..<0xfec0_0000, highMemory: 1 << 36..<1 << 39)
      .assign(hierarchy.root)
    #expect(hierarchy.tree().count >= 6)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `who answers follows from the registers alone`(seed: UInt64) throws {
    let rig = Rig(), twin = Rig()
    var chance = Chance(seed: seed)
    try PCIResources(memory: 0xc000_0000..<0xfec0_0000, highMemory: 1 << 36..<1 << 39)
      .assign(rig.hierarchy.root)
    for _ in 0..<400 {
      let functions = rig.functions
      let index = Int(chance.number(below: UInt64(functions.count)))
      let target: any PCIFunction = index < rig.ports.count ? rig.ports[index] : functions[index]
      // Into the windows, or the enables and windows themselves.
      let register = [0x04, 0x10, 0x14, 0x20, 0x24, 0x18][Int(chance.number(below: 6))]
      let address = 0xc000_0000 | UInt32(chance.number(below: 0x80)) << 12
      let value = register == 0x04 ? 7 : register == 0x18 ? 0x0003_0200 : address
      target.writeConfiguration(value, mask: .max, UInt16(register))
    }
    for (port, other) in zip(rig.ports, twin.ports) { try other.restore(port.save()) }
    for (device, other) in zip(rig.devices, twin.devices) {
      try other.function.restore(device.function.save())
    }
    let describe = { (rig: Rig) in
      rig.hierarchy.registers.map.map { "\($0.range) \($0.region) \(type(of: $0.device))" }
    }
    #expect(describe(twin) == describe(rig))
    #expect(zip(rig.devices, twin.devices).allSatisfy { $0.gate.isOpen == $1.gate.isOpen })
  }

  @Test(arguments: [1, 2] as [UInt64])
  func `ports live through anything, and are saved whole`(seed: UInt64) {
    var life = RandomLife(
      seed: seed, clock: ManualClock(),
      of: { () -> PCIExpressPort in
        let port = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(1))
        port.plug(SampleDevice().function)
        return port
      },
      plug: { _, _ in },
      events: [
        { port, number in
          port.writeConfiguration(
            UInt32(truncatingIfNeeded: number), mask: .max,
            UInt16(truncatingIfNeeded: number >> 40) & 0xff & ~3)
        },
        { port, number in if number & 7 == 0 { port.busReset() } },
      ])
    #expect(life.live(steps: 2000) == [])
  }
}
