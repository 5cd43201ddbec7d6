import Arch

/// A place that is no RAM, or not all of it, or none that a driver may name.
struct Place {
  let name: StaticString
  let address: UInt64

  /// Behind the RAM that goes on from 1 MiB.
  static var endOfRAM: UInt64 {
    let info = StartInfo.current
    var end: UInt64 = 0x10_0000
    for _ in 0..<info.memoryMapCount {
      for index in 0..<info.memoryMapCount where info.range(index).start == end {
        end = info.range(index).end
      }
    }
    return end
  }

  static func forEach(near transport: any VirtioTransport, _ body: (Place) -> Void) {
    let end = endOfRAM
    body(Place(name: "behind RAM", address: end))
    body(Place(name: "over the end of RAM", address: end - 8))
    body(Place(name: "in the hole below 1 MiB", address: 0xa_0000))
    body(Place(name: "in ROM", address: 0xe_0000))
    body(Place(name: "in the PCI hole", address: 0xd000_0000))
    // A device that can write there does harm that is the guest's own.
    if !Machine.isTCG {
      body(Place(name: "in the PCI configuration space", address: 0xb000_0000))
      body(Place(name: "at the I/O APIC", address: 0xfec0_0000))
      body(Place(name: "at the HPET", address: 0xfed0_0000))
      body(Place(name: "at the local APIC", address: 0xfee0_0000))
      body(Place(name: "at its own registers", address: transport.registers))
    }
    body(Place(name: "far above all RAM", address: 1 << 38))
    body(Place(name: "above all address bits", address: 1 << 52))
    body(Place(name: "in the upper half", address: 1 << 63))
    body(Place(name: "around the last address", address: .max - 7))
  }
}
