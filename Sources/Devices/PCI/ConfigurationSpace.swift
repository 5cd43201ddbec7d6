import Board
package import Memory
import Synchronization

/// The standard configuration space of a function: header, BARs, capabilities, interrupts.
///
/// A device has one, it does not inherit it. The device signals vectors, which MSI-X or MSI turns into
/// messages while the guest has one of them enabled; or drives pin 0, which is silent then. BARs answer
/// while the guest has them enabled and the bridges above pass them on, and not where something else
/// answers already. None of it works before the function is plugged in.
///
/// - SeeAlso: PCI 3.0 §6.1 "Configuration Space Organization", §6.2 "Configuration Space Functions".
package final class ConfigurationSpace {
  package enum Header: Sendable { case device, bridge }

  // Wiring: fixed for the life of the device.
  let layout: Layout
  package let interruptPin: InterruptPin?
  /// The way of the function's DMA: open while Bus Master Enable is set, in the bridges above as well.
  package let busMaster: Gate
  let msix: MSIX?
  let msi: MSICapability?
  let express: PCIExpress?
  // State: everything the guest can change.
  let state: Mutex<State>

  /// - Parameters:
  ///   - bars: in the order of their registers. One of them holds the MSI-X table.
  ///   - express: makes it a function of PCI Express, with power management and extended space.
  ///   - interruptPin: the pin that `set` drives.
  ///   - busMaster: the gate of the function's DMA.
  package init(
    _ identity: PCIIdentity, header: Header = .device, bars: [BAR] = [],
    capabilities: [PCICapability] = [], msix: MSIX? = nil, msi: MSICapability? = nil,
    express: PCIExpress? = nil, interruptPin: InterruptPin? = nil, busMaster: Gate = Gate()
  ) {
    var all: [PCICapability] = []
    if let express { all += [PowerManagement.capability, express.capability] }
    if let msi { all.append(msi.capability) }
    if let msix {
      let (bar, offset) = Self.place(of: msix, in: bars)
      all.append(msix.capability(bar: bar, offset: offset))
    }
    layout = Layout(
      identity, header, bars: bars, capabilities: all + capabilities, interruptPin: interruptPin)
    self.interruptPin = interruptPin
    self.busMaster = busMaster
    self.msix = msix
    self.msi = msi
    self.express = express
    state = Mutex(State(layout.initial))
  }

  /// The BAR Indicator and the offset of the MSI-X table.
  private static func place(of msix: MSIX, in bars: [BAR]) -> (bar: Int, offset: UInt64) {
    var register = 0
    for bar in bars {
      if let block = bar.blocks.first(where: { $0.device === msix }) {
        precondition(block.range.lowerBound % 4096 == 0, "the MSI-X table begins a page")
        return (register, block.range.lowerBound)
      }
      register += bar.space.is64Bit ? 2 : 1
    }
    preconditionFailure("the MSI-X table lies in none of the BARs")
  }

  /// The registers of a capability, as they are now; `nil`: the function has no such capability.
  package func capability(_ id: UInt8) -> [UInt32]? {
    layout.place(of: UInt16(id)).map { place in state.withLock { Array($0.registers[place]) } }
  }

  /// Who is told of resets that come by the bus: whoever is behind the function. It is not kept alive.
  package func attach(_ user: any FunctionReset) { state.withLock { $0.user = user } }

  /// Changes the registers, and brings bus mastering, messages and the interrupt in line with them; then,
  /// no longer under the lock, the machine's address spaces.
  func with(_ change: (inout State) -> Void) {
    let place = state.withLock { state -> PCIPlace? in
      let before = state.decoding(layout)
      change(&state)
      sync(&state)
      return state.decoding(layout) == before ? nil : state.place
    }
    place?.changed()
  }

  func sync(_ state: inout State) {
    if let express, let place = layout.place(of: UInt16(PCIExpress.id)) {
      express.adapt(&state.registers[place], isOnRootBus: state.place?.isOnRootBus ?? false)
    }
    let isAsleep = state.isAsleep(layout)
    let isMaster =
      state.place != nil && state.isUpstreamOpen && !isAsleep && state.command.contains(.busMaster)
    busMaster.isOpen = isMaster
    if let msi, let place = layout.place(of: 0x05) {
      msi.steer(state.registers[place], place: state.place, isMaster: isMaster)
    }
    if let msix, let place = layout.place(of: 0x11) {
      msix.steer(state.registers[place.lowerBound], place: state.place, isMaster: isMaster)
    }
    driveInterrupt(state)
  }

  func driveInterrupt(_ state: State) {
    state.place?.drive(
      state.interruptPending && !sendsMessages(state) && !state.isAsleep(layout))
  }

  func sendsMessages(_ state: State) -> Bool {
    if msix != nil, let place = layout.place(of: 0x11), state.registers[place.lowerBound] >> 31 == 1
    {
      return true
    }
    guard msi != nil, let place = layout.place(of: 0x05) else { return false }
    return state.registers[place.lowerBound] >> 16 & 1 == 1
  }
}

// MARK: - What a bridge's own device sees

extension ConfigurationSpace {
  subscript(index: Int) -> UInt32 {
    state.withLock { index < $0.registers.count ? $0.registers[index] : 0 }
  }

  var isAsleep: Bool { state.withLock { $0.isAsleep(layout) } }

  /// Of a bridge: what it passes on.
  var windows: BridgeWindows {
    state.withLock { state in
      BridgeWindows(
        state.registers[0..<16], ports: state.command.contains(.ports),
        memory: state.command.contains(.memory))
    }
  }
}

// MARK: - What the device drives

extension ConfigurationSpace: InterruptController {
  /// The function's interrupt, on pin 0.
  package func set(_ pin: UInt32, asserted: Bool) {
    guard pin == 0 else { return }
    state.withLock { state in
      state.interruptAsserted = asserted
      driveInterrupt(state)
    }
  }

  /// Sends a message, if the guest has enabled MSI-X or MSI. From any thread.
  package func signal(vector: Int) {
    msix?.signal(vector)
    msi?.signal(vector)
  }

  /// Whether the guest has chosen messages over the interrupt pin.
  package var sendsMessages: Bool { state.withLock { sendsMessages($0) } }
}
