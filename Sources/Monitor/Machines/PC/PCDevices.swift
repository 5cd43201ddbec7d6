package import Board
package import HostOS
import Memory
package import PCI
import Synchronization
import Virtio
import Work

/// The devices of a PC that the user asked for: those that it began with, and those that came while it ran.
///
/// What is in a hot-pluggable slot leaves in two steps. First the guest lets go of it, on one of its processors'
/// threads, and the device is off the bus; then its owner brings it to rest and takes it out of this list.
package final class PCDevices: Sendable {
  // Wiring: fixed for the life of the machine.
  private let board: Backplane
  private let root: PCIRoot
  private let ports: PCPorts
  /// Hears the name of a device that has left its slot. From any thread.
  private let reportEmptied: @Sendable (String) -> Void
  // State.
  private let devices = Mutex<[Device]>([])

  /// A device in the machine.
  private struct Device: Sendable {
    let opened: OpenedDevice
    let component: any Component
    /// It has left its slot: the guest does not know it any more.
    var isOut = false
  }

  /// Plugs in ports, and what the machine begins with, in the order in which it was asked for.
  init(
    _ opened: [OpenedDevice], _ topology: PCITopology, on board: Backplane, _ root: PCIRoot,
    reportEmptied: @escaping @Sendable (String) -> Void
  ) throws {
    self.board = board
    self.root = root
    self.reportEmptied = reportEmptied
    var slot: UInt8 = 1
    var window = 0
    ports = PCPorts(
      topology, on: root, from: slot + UInt8(opened.count { $0.bus == .pci }))
    for opened in opened {
      let component: any Component
      switch opened.bus {
      case .pci:
        let function = try makeFunction(opened)
        root.bus.plug(function.configuration, device: slot)
        component = function
        slot += 1
      case .mmio:
        let function = VirtioMMIO(
          try opened.make(board), interrupt: root.interruptLine(window), dma: DMA(board.memory),
          loop: opened.loop ?? board.loop)
        board.registers.map(function, at: PCAddressMap.virtioWindow(window))
        component = function
        window += 1
      case .port(let name):
        let function = try makeFunction(opened)
        guard let port = ports[name] else { throw NoSuchPort(name: name) }
        port.port.plug(function.configuration)
        port.port.attach(self)
        component = function
      }
      devices.withLock { $0.append(Device(opened: opened, component: component)) }
    }
  }

  private func makeFunction(_ opened: OpenedDevice) throws -> VirtioPCI {
    VirtioPCI(
      try opened.make(board), memory: board.memory, express: .endpoint,
      loop: opened.loop ?? board.loop)
  }

  /// Ports and switches, which stay.
  var portParts: [Part] { ports.parts }

  /// The devices, in the order in which they came.
  package var parts: [Part] {
    devices.withLock { $0.map { Part($0.opened.name, $0.component) } }
  }

  /// Loops on which devices work beside the board's.
  package var loops: [EventLoop] { devices.withLock { $0.compactMap(\.opened.loop) } }

  /// Those that the guest knows: what a saved machine has.
  package var present: [OpenedDevice] {
    devices.withLock { $0.filter { !$0.isOut }.map(\.opened) }
  }

  package var names: [String] { devices.withLock { $0.map(\.opened.name) } }
}

/// A device is to go behind a port that its machine lacks.
private struct NoSuchPort: Error, CustomStringConvertible {
  let name: String
  var description: String { "the machine has no PCI port \(name)" }
}

// MARK: - Coming

extension PCDevices {
  /// Why nothing can be put into that slot now, if it cannot.
  func obstacle(toPluggingInto name: String) -> ConfigurationError? {
    guard let port = ports[name] else {
      return ConfigurationError("bus=\(name)", "The machine has no PCI port of that name.")
    }
    guard port.isHotPluggable else {
      return ConfigurationError(
        "bus=\(name)",
        "Nothing comes or goes in this port's slot while the machine runs: name a port with hotplug=on."
      )
    }
    guard !port.port.isOccupied else {
      return ConfigurationError(
        "bus=\(name)",
        "There is a device in this port's slot: unplug it first, or name another port.")
    }
    return nil
  }

  /// Puts a device into its port's slot, for which there is no obstacle.
  ///
  /// - Parameter isRunning: whether the other parts have started.
  func plug(_ opened: OpenedDevice, isRunning: Bool) throws {
    guard case .port(let name) = opened.bus, let port = ports[name]?.port else {
      throw NoSuchPort(name: opened.bus.rawValue)
    }
    let function = try makeFunction(opened)
    devices.withLock { $0.append(Device(opened: opened, component: function)) }
    if isRunning { function.start() }
    port.attach(self)
    let isIn = port.insert([function.configuration])
    precondition(isIn, "a slot that was free and hot-pluggable")
  }
}

// MARK: - Going

extension PCDevices {
  /// The slot that a device may leave.
  private func slot(of name: String) throws(ConfigurationError) -> PCIExpressPort {
    let (request, names) = devices.withLock { devices in
      (
        devices.first { $0.opened.name == name && !$0.isOut }?.opened.request,
        devices.map(\.opened.name)
      )
    }
    guard let request else {
      throw ConfigurationError(
        name.isEmpty ? "unplug" : name,
        "The machine has no such device: there are \(names.joined(separator: ", ")).")
    }
    guard case .port(let bus) = request.bus, let port = ports[bus], port.isHotPluggable else {
      throw ConfigurationError(name, "The device is in no slot that it could leave.")
    }
    return port.port
  }

  /// Presses the button of the device's slot; the guest lets go of it when it likes.
  func requestRemoval(of name: String) throws(ConfigurationError) {
    _ = try slot(of: name).requestRemoval()
  }

  /// Brings a device to rest that is to be pulled out, so that nothing of it is in flight then; and pulls it out.
  func pull(_ name: String) async throws(ConfigurationError) {
    let slot = try slot(of: name)
    await Self.rest(devices.withLock { $0.first { $0.opened.name == name && !$0.isOut } })
    markOut(name)
    _ = slot.remove()
  }

  /// Brings a device to rest that has left its slot, and forgets it.
  func retire(_ name: String) async -> OpenedDevice? {
    await Self.rest(devices.withLock { $0.first { $0.opened.name == name && $0.isOut } })
    return devices.withLock { devices in
      devices.firstIndex { $0.opened.name == name && $0.isOut }.map {
        devices.remove(at: $0).opened
      }
    }
  }

  private static func rest(_ device: Device?) async {
    let rest = Barrier()
    device?.component.stop(rest)
    await rest.reached()
  }

  private func markOut(_ name: String) {
    devices.withLock { devices in
      if let index = devices.firstIndex(where: { $0.opened.name == name && !$0.isOut }) {
        devices[index].isOut = true
      }
    }
  }
}

extension PCDevices: SlotObserver {
  package func slotEmptied(_ port: PCIExpressPort) {
    let name = devices.withLock { devices -> String? in
      let index = devices.firstIndex { device in
        guard !device.isOut, case .port(let bus) = device.opened.bus else { return false }
        return ports[bus]?.port === port
      }
      guard let index else { return nil }
      devices[index].isOut = true
      return devices[index].opened.name
    }
    if let name { reportEmptied(name) }
  }
}
