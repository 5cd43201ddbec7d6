/// The PCI Express ports and switches that the user asks for. A device is behind a port, or on bus 0.
package struct PCITopology: Sendable, Codable, Equatable {
  package var ports: [PCIPortRequest]
  package var switches: [PCISwitchRequest]

  package init(ports: [PCIPortRequest] = [], switches: [PCISwitchRequest] = []) {
    self.ports = ports
    self.switches = switches
  }

  package var isEmpty: Bool { ports.isEmpty && switches.isEmpty }

  /// PCI numbers 256 buses, of which bus 0 is there already: PCIe 6.0 §7.2.2.
  private static let mostBuses = 255
  /// A switch has its downstream ports on one bus.
  private static let mostBehindSwitch = 32

  subscript(port name: String) -> PCIPortRequest? { ports.first { $0.name == name } }
  subscript(switch name: String) -> PCISwitchRequest? { switches.first { $0.name == name } }

  /// The switch in a port's place for a device.
  func switchBehind(_ port: PCIPortRequest) -> PCISwitchRequest? {
    switches.first { $0.bus == port.name }
  }

  /// Whether what is behind the port may come and go. A switch stays.
  func isHotPluggable(_ port: PCIPortRequest) -> Bool {
    port.isHotPluggable ?? (switchBehind(port) == nil)
  }

  /// The number of each port's slot in the order of the ports: what was asked for, or the first that is free.
  var slotNumbers: [UInt16] {
    var taken = Set(ports.compactMap(\.slot))
    return ports.map { port in
      if let slot = port.slot { return slot }
      let free = (1...PCIPortRequest.slots.upperBound).first { !taken.contains($0) } ?? 0
      taken.insert(free)
      return free
    }
  }
}

// MARK: - What cannot be

extension PCITopology {
  /// What of it cannot be, if it cannot.
  var problem: ConfigurationError? {
    if ports.count + switches.count > Self.mostBuses {
      return ConfigurationError(
        "--pci-port", "PCI has \(Self.mostBuses) buses for ports and switches: ask for fewer.")
    }
    var names: Set<String> = []
    for name in ports.map(\.name) + switches.map(\.name) where !names.insert(name).inserted {
      return ConfigurationError(
        "id=\(name)", "Two ports or switches have this name: give each its own.")
    }
    var slots: Set<UInt16> = []
    for slot in ports.compactMap(\.slot) where !slots.insert(slot).inserted {
      return ConfigurationError("slot=\(slot)", "Two ports have this slot: give each its own.")
    }
    return ports.lazy.compactMap(problem(of:)).first
      ?? switches.lazy.compactMap(problem(of:)).first
  }

  private func problem(of port: PCIPortRequest) -> ConfigurationError? {
    if let problem = port.problem { return problem }
    if let name = port.bus {
      guard self[switch: name] != nil else {
        return ConfigurationError(
          "--pci-port id=\(port.name),bus=\(name)",
          "There is no switch of that name: add --pci-switch id=\(name),bus=PORT, or leave bus= out for a root port."
        )
      }
      guard ports.count(where: { $0.bus == name }) <= Self.mostBehindSwitch else {
        return ConfigurationError(
          "--pci-switch id=\(name)", "A switch has \(Self.mostBehindSwitch) ports: ask for fewer.")
      }
    }
    if port.isHotPluggable == true, switchBehind(port) != nil {
      return ConfigurationError(
        "--pci-port id=\(port.name),hotplug=on",
        "There is a switch in its slot, which stays there: leave out hotplug=on.")
    }
    return nil
  }

  private func problem(of bridge: PCISwitchRequest) -> ConfigurationError? {
    let option = "--pci-switch id=\(bridge.name),bus=\(bridge.bus)"
    if let problem = bridge.problem { return problem }
    guard self[port: bridge.bus] != nil else {
      return ConfigurationError(
        option, "There is no port of that name: add --pci-port id=\(bridge.bus).")
    }
    guard switches.count(where: { $0.bus == bridge.bus }) == 1 else {
      return ConfigurationError(
        option, "Two switches are to go into this port's slot: give each its own port.")
    }
    // Up to a root port, in as many steps as there are ports at most.
    var above: PCISwitchRequest? = bridge
    for _ in ports {
      guard let here = above else { break }
      above = self[port: here.bus]?.bus.flatMap { self[switch: $0] }
    }
    guard above == nil else {
      return ConfigurationError(
        option, "It is behind itself: the way from a switch to bus 0 must not turn in a circle.")
    }
    return nil
  }

  /// Why a device cannot go into that port's slot, if it cannot.
  func obstacle(toPluggingInto name: String) -> ConfigurationError? {
    guard let port = self[port: name] else {
      return ConfigurationError(
        "bus=\(name)",
        "There is no port of that name: write pci or mmio, or add --pci-port id=\(name).")
    }
    guard switchBehind(port) == nil else {
      return ConfigurationError(
        "bus=\(name)", "There is a switch in this port's slot: name one of the switch's own ports.")
    }
    return nil
  }
}
