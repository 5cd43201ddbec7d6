import Board
import PCI

/// The PCI Express ports and switches of a PC, plugged in: what devices are plugged into.
struct PCPorts: Sendable {
  /// A port for one device.
  struct Port: Sendable {
    let port: PCIExpressPort
    let isHotPluggable: Bool
  }

  /// In the order from bus 0 outwards, in which they power on.
  private(set) var parts: [Part] = []
  private var byName: [String: Port] = [:]
  private let topology: PCITopology
  private let slots: [UInt16]

  subscript(name: String) -> Port? { byName[name] }

  /// Makes all there is. Root ports have places on bus 0, from that of `first` on, in the order in which they were
  /// asked for.
  init(_ topology: PCITopology, on root: PCIRoot, from first: UInt8) {
    self.topology = topology
    slots = topology.slotNumbers
    add(behind: nil) { index, slot in
      let port = PCIExpressPort.root(port: UInt8(truncatingIfNeeded: index), slot: slot)
      root.bus.plug(port, device: first + UInt8(index))
      return port
    }
  }

  /// Adds the root ports, or those of a switch, and what is behind each.
  private mutating func add(
    behind bridge: String?, _ make: (Int, PCIExpress.Slot) -> PCIExpressPort
  ) {
    let ports = zip(topology.ports, slots).filter { $0.0.bus == bridge }
    for (index, (request, number)) in ports.enumerated() {
      let isHotPluggable = topology.isHotPluggable(request)
      let port = make(index, PCIExpress.Slot(number, isHotPluggable: isHotPluggable))
      parts.append(Part("pci-port-\(request.name)", port))
      byName[request.name] = Port(port: port, isHotPluggable: isHotPluggable)
      guard let bridge = topology.switchBehind(request) else { continue }
      let upstream = PCIExpressPort.switchUpstream()
      port.plug(upstream)
      parts.append(Part("pci-switch-\(bridge.name)", upstream))
      add(behind: bridge.name) { index, slot in
        let port = PCIExpressPort.switchDownstream(
          port: UInt8(truncatingIfNeeded: index), slot: slot)
        upstream.secondary.plug(port, device: UInt8(index))
        return port
      }
    }
  }
}
