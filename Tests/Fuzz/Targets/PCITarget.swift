import Board
import PCI

extension FuzzTarget {
  /// Guests that write anything anywhere in a hierarchy that has one of everything: ports with slots and without, a
  /// switch, functions with BARs and messages; and a user who plugs and pulls.
  static let pci = FuzzTarget("pci") { input in
    weak let root = live(Script(input))
    require(root == nil, "nothing is left of a hierarchy that is gone")
  }

  /// Answers what all of it hangs on.
  private static func live(_ script: Script) -> PCIRoot {
    var script = script
    let rig = PCIRig()
    while !script.isAtEnd { rig.step(&script) }
    rig.end()
    return rig.root
  }
}

private struct PCIRig {
  let ports: [PCIExpressPort]
  let devices = (0..<3).map { PCISample(UInt16(0x1041 + $0)) }
  let root: PCIRoot
  let bus = IOBus(wideAccess: .refuse)
  let portBus = IOBus(wideAccess: .split)

  static let base: UInt64 = 0xb000_0000
  /// What is another's on the bus, and no BAR may take.
  static let taken: Range<UInt64> = 0xfec0_0000..<0xfec0_1000

  init() {
    let pins = SilentPins()
    root = PCIRoot(ports: portBus, registers: bus, messages: pins, interrupts: pins)
    bus.map(PCIHost(root: root), at: Self.base..<Self.base + PCIHost.memorySize, region: 1)
    bus.map(QuietDevice(), at: Self.taken, region: 9)
    portBus.map(PCIHost(root: root), at: PCIHost.ports, region: 0)
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
    root.bus.plug(ConfigurationSpace.hostBridge(), device: 0)
    root.bus.plug(slot, device: 1)
    root.bus.plug(fixed, device: 2)
    root.bus.plug(devices[2].function, device: 3)
    assign()
  }

  private func assign() {
    let resources = PCIResources(
      memory: 0xc000_0000..<0xfec0_0000, highMemory: 1 << 36..<1 << 39)
    do {
      try resources.assign(root)
    } catch {
      fatalError("Broken: a hierarchy after a reset has room: \(error)")
    }
  }

  func step(_ script: inout Script) {
    let port = ports[script.pick(ports.count)]
    let device = devices[script.pick(3)]
    switch script.byte() & 15 {
    case 0: _ = port.insert([devices[2].function].filter { _ in port.isOccupied })
    case 1: _ = port.requestRemoval()
    case 2: _ = port.remove()
    case 3: device.function.set(0, asserted: script.flag())
    case 4: device.function.signal(vector: script.pick(3))
    case 5: port.reset()
    case 6: device.function.busReset()
    case 7: port.busReset()
    case 8...10: write(to: port, &script)
    case 11, 12: write(to: device.function, &script)
    case 13: throughPorts(&script)
    case 14: access(Self.base + script.number(UInt64.self) % PCIHost.memorySize, &script)
    default:
      let ranges = bus.map.map(\.range)
      let range = ranges[script.pick(ranges.count)]
      let offset = UInt64(script.number(UInt16.self)) % (range.upperBound - range.lowerBound)
      access(range.lowerBound + offset, &script)
    }
  }

  /// Straight at a function, wherever the guest has lost it to.
  private func write(to function: any PCIFunction, _ script: inout Script) {
    let register = (UInt16(script.byte()) | UInt16(script.byte() & 0xf) << 8) & ~3
    let masks: [UInt32] = [0xff, 0xffff, .max, 0xffff_0000]
    let mask = masks[script.pick(4)]
    function.writeConfiguration(
      UInt32(truncatingIfNeeded: script.value()), mask: mask, register)
    _ = function.readConfiguration(register)
  }

  private func access(_ address: UInt64, _ script: inout Script) {
    let width = AccessWidth.allCases[script.pick(4)]
    var view = BusView(bus)
    if script.flag() {
      view.write(script.value(), address, width)
    } else {
      require(view.read(address, width) & ~width.mask == 0, "no more bits than it is wide")
    }
  }

  private func throughPorts(_ script: inout Script) {
    var view = BusView(portBus)
    let port = 0xcf8 + UInt64(script.byte() & 7)
    let width = AccessWidth.allCases[script.pick(4)]
    if script.flag() {
      view.write(script.value(), port, width)
    } else {
      _ = view.read(port, width)
    }
  }

  /// The others are where they were, and the machine recovers by a reset.
  func end() {
    require(bus.map.contains { $0.range == Self.taken }, "a BAR takes no other device's addresses")
    for function in root.bus.inventory { function.busReset() }
    for port in ports { port.reset() }
    assign()
    for device in root.bus.inventory { require(device.readConfiguration(0) != .max, "it answers") }
    for device in 0..<4 as Range<UInt8> { root.bus.unplug(device: device) }
    // The host bridge's registers lead to the hierarchy, which leads to the bus they are on.
    bus.unmap(Self.base..<Self.base + PCIHost.memorySize)
    portBus.unmap(PCIHost.ports)
  }
}

/// A network card, as far as PCI goes.
private final class PCISample: FunctionReset {
  let function: ConfigurationSpace

  init(_ device: UInt16) {
    let msix = MSIX(vectors: 2)
    function = ConfigurationSpace(
      PCIIdentity(vendor: 0x1af4, device: device, classCode: .ethernet),
      bars: [
        BAR(.memory(prefetchable: false), size: 0x1000, device: QuietDevice(), region: 7),
        msix.bar, BAR(.ports, size: 0x20, device: QuietDevice()),
        BAR(.memory64(prefetchable: true), size: 0x10000, device: QuietDevice()),
      ], msix: msix, express: .endpoint, interruptPin: .a)
    function.attach(self)
  }

  func functionReset() {}
}

private final class QuietDevice: IODevice {
  func read(_ access: Access) throws(IOError) -> UInt64 { UInt64(access.region) }
  func write(_ value: UInt64, _ access: Access) throws(IOError) {}
}
