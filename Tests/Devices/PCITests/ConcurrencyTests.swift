import Board
import Kit
import Memory
import Testing

@testable import PCI

/// Several processors, a device and somebody at the slots, all at once. It must end, and leave the
/// hierarchy in line with its registers.
@Suite struct ConcurrencyTests {
  @Test func `configuration, signals and hot-plug at once neither block nor trap`() async {
    let hierarchy = Hierarchy()
    let port = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(1))
    let outer = PCIExpressPort.root(port: 2, slot: nil)
    let upstream = PCIExpressPort.switchUpstream()
    let inner = PCIExpressPort.switchDownstream(port: 0, slot: PCIExpress.Slot(2))
    let near = SampleDevice(), far = SampleDevice()
    port.plug(near.function)
    inner.plug(far.function)
    upstream.secondary.plug(inner, device: 0)
    outer.plug(upstream)
    hierarchy.root.bus.plug(port, device: 1)
    hierarchy.root.bus.plug(outer, device: 2)
    await withTaskGroup(of: Void.self) { group in
      for seed in 1...3 as ClosedRange<UInt64> {
        group.addTask {
          var chance = Chance(seed: seed)
          let targets: [any PCIFunction] = [
            port, outer, upstream, inner, near.function, far.function,
          ]
          for _ in 0..<1500 {
            let target = targets[Int(chance.number(below: 6))]
            target.writeConfiguration(
              UInt32(truncatingIfNeeded: chance.value()), mask: .max,
              UInt16(chance.number(below: 0xa0)) & ~3)
            _ = hierarchy.read(UInt8(chance.number(below: 6)), 0, 0)
          }
        }
      }
      group.addTask {
        for step in 0..<3000 {
          (step & 1 == 0 ? near : far).function.signal(vector: step & 1)
          near.function.set(0, asserted: step & 2 == 0)
        }
      }
      group.addTask {
        for step in 0..<300 {
          switch step % 3 {
          case 0: _ = port.remove()
          case 1: _ = port.insert([near.function])
          default: _ = port.requestRemoval()
          }
        }
      }
    }
    for function in hierarchy.root.bus.inventory { function.busReset() }
    #expect(hierarchy.registers.map.count == 1 && hierarchy.ports.map.isEmpty)
    #expect(!near.gate.isOpen && !far.gate.isOpen)
  }
}
