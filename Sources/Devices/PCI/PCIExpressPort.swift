import Board
package import Inspection
import Memory
package import SavedState
import Synchronization

/// A port of PCI Express: of the root complex, or of a switch on either side.
///
/// It is a bridge to the bus behind it. Behind a root port or a downstream port that is a link with one
/// device at its far end, in a slot if it has one; behind the upstream port of a switch are the
/// downstream ports. A function in a hot-plug slot comes and goes with the slot's power, which the guest
/// switches.
///
/// - SeeAlso: PCIe 6.0 §1.3 "PCI Express Fabric Topology", §6.7 "PCI Express Hot-Plug Support";
///   PCI-to-PCI Bridge Architecture 1.2.
package final class PCIExpressPort {
  // Wiring: fixed for the life of the device.
  package let secondary = PCIBus()
  let configuration: ConfigurationSpace
  let express: PCIExpress
  let base: Int
  // State: what is in the slot. Held over whole operations, so that they do not mix; taken before the
  // lock of the fabric.
  let state = Mutex(State())

  struct State: Sendable {
    /// What is in the slot, whether it has power or not.
    var contents: [(number: UInt8, function: any PCIFunction)] = []
    /// Somebody wants it out: it leaves when the guest takes the power away.
    var isLeaving = false
    var wasInterrupting = false
    weak var observer: (any SlotObserver)?
  }

  private init(_ express: PCIExpress, _ identity: PCIIdentity, serialNumber: UInt64?) {
    self.express = express
    var capabilities = [
      PCICapability.subsystem(vendor: identity.subsystemVendor, identity.subsystem)
    ]
    if let serialNumber { capabilities.append(.serialNumber(serialNumber)) }
    if express.kind != .switchUpstream { capabilities.append(.accessControl) }
    configuration = ConfigurationSpace(
      identity, header: .bridge, capabilities: capabilities, msi: MSICapability(),
      express: express, interruptPin: .a)
    base = configuration.layout.place(of: UInt16(PCIExpress.id))?.lowerBound ?? 0
    resetSlot(isPresent: false)
  }

  /// A port of the root complex, for bus 0.
  ///
  /// Root ports are those of QEMU by their identity, and switches Texas Instruments' XIO3130, for which
  /// guests know no exceptions.
  package static func root(port: UInt8, slot: PCIExpress.Slot?) -> PCIExpressPort {
    PCIExpressPort(
      PCIExpress(.rootPort, slot: slot, port: port), .port(0x1b36, 0x000c), serialNumber: nil)
  }

  /// The side of a switch that faces the root complex; downstream ports go on `secondary`.
  package static func switchUpstream(serialNumber: UInt64? = nil) -> PCIExpressPort {
    PCIExpressPort(
      PCIExpress(.switchUpstream), .port(0x104c, 0x8232), serialNumber: serialNumber)
  }

  package static func switchDownstream(port: UInt8, slot: PCIExpress.Slot?) -> PCIExpressPort {
    PCIExpressPort(
      PCIExpress(.switchDownstream, slot: slot, port: port), .port(0x104c, 0x8233),
      serialNumber: nil)
  }

  /// Who hears that a slot has become empty. It is not kept alive.
  package func attach(_ observer: any SlotObserver) {
    state.withLock { $0.observer = observer }
  }
}

/// Who put something into a slot, and waits for it to come out.
package protocol SlotObserver: AnyObject, Sendable {
  /// The guest has let go of what was in the slot, after `requestRemoval`. On a guest's processor; called
  /// when the functions no longer answer.
  func slotEmptied(_ port: PCIExpressPort)
}

extension PCIIdentity {
  fileprivate static func port(_ vendor: UInt16, _ device: UInt16) -> PCIIdentity {
    PCIIdentity(
      vendor: vendor, device: device, classCode: .pciBridge, subsystemVendor: 0x1af4,
      subsystem: 0x1100)
  }
}

// MARK: - What the bus sees

extension PCIExpressPort: PCIFunction {
  package var interruptPin: InterruptPin? { configuration.interruptPin }
  package var decodes: [PCIDecode] { configuration.decodes }
  package var bridge: (any PCIBridge)? { self }

  package func readConfiguration(_ register: UInt16) -> UInt32 {
    configuration.readConfiguration(register)
  }

  package func writeConfiguration(_ value: UInt32, mask: UInt32, _ register: UInt16) {
    let emptied = state.withLock { state -> (any SlotObserver)? in
      let wasOn = slot.isOn
      let wasReset = isHeldInReset
      configuration.writeConfiguration(value, mask: mask, register)
      let index = Int(register / 4)
      if index == BridgeWindows.Register.buses { updateNumber() }
      if index == BridgeWindows.Register.control, isHeldInReset, !wasReset { resetBehind() }
      guard index == slotIndex, express.slot?.isHotPluggable == true else { return nil }
      return slotWritten(command: mask & 0xffff != 0, wasOn: wasOn, &state)
    }
    emptied?.slotEmptied(self)
  }

  /// Each write to Slot Control is a command, and is completed at once: §6.7.3.2.
  private func slotWritten(
    command: Bool, wasOn: Bool, _ state: inout State
  ) -> (any SlotObserver)? {
    var events: [Event] = command ? [.commandCompleted] : []
    let isOn = slot.isOn
    if isOn != wasOn, !state.contents.isEmpty {
      setPower(isOn, state)
      events.append(.linkChanged)
    }
    let emptied = !isOn && state.isLeaving ? empty(&state) : nil
    raise(events, &state)
    return emptied
  }

  package func plugged(at place: PCIPlace?) {
    configuration.plugged(at: place)
    secondary.connect(place?.makeUplink())
  }

  package func setUpstream(isOpen: Bool) { configuration.setUpstream(isOpen: isOpen) }

  package func busReset() {
    reset()
    resetBehind()
  }

  private func resetBehind() {
    for function in secondary.inventory { function.busReset() }
  }

  private func updateNumber() {
    secondary.number = UInt8(
      truncatingIfNeeded: configuration[BridgeWindows.Register.buses] >> 8)
  }
}

// MARK: - What the fabric sees; it does not take the port's own lock

extension PCIExpressPort: PCIBridge {
  /// Bridge Control: Secondary Bus Reset.
  private var isHeldInReset: Bool { configuration[BridgeWindows.Register.control] >> 22 & 1 == 1 }

  package var buses: Range<UInt16> {
    let numbers = configuration[BridgeWindows.Register.buses]
    let first = UInt16(numbers >> 8 & 0xff), last = UInt16(numbers >> 16 & 0xff)
    guard first != 0, first <= last, isPassing else { return 0..<0 }
    return first..<last + 1
  }

  package var isHotPlugSlot: Bool { express.slot?.isHotPluggable ?? false }

  package var isMaster: Bool { configuration.busMaster.isOpen }

  package func forwards(_ range: Range<UInt64>, isMemory: Bool) -> Bool {
    isPassing && configuration.windows.holds(range, isMemory: isMemory)
  }

  private var isPassing: Bool { !isHeldInReset && !configuration.isAsleep }
}

// MARK: - What the machine sees

extension PCIExpressPort: Component {
  package static let schema = "pci-express-port/1"

  package struct Saved: Codable, Sendable {
    var configuration: ConfigurationSpace.Saved
    var isLeaving: Bool
  }

  package func reset() {
    state.withLock { state in
      configuration.reset()
      updateNumber()
      let isPresent = !state.contents.isEmpty
      if isPresent, secondary.inventory.isEmpty { setPower(true, state) }
      state.isLeaving = false
      resetSlot(isPresent: isPresent)
      signal(&state)
    }
  }

  package func save() -> Saved {
    state.withLock { Saved(configuration: configuration.save(), isLeaving: $0.isLeaving) }
  }

  /// What is in the slot is the machine's to know; the saved state says whether it has power.
  package func restore(_ saved: Saved) throws(RestoreError) {
    try state.withLock { (state) throws(RestoreError) in
      try configuration.restore(saved.configuration)
      updateNumber()
      state.isLeaving = saved.isLeaving
      let isPresent = !state.contents.isEmpty
      if express.slot != nil { change { $0.setPresent(isPresent) } }
      if express.kind.hasSlot {
        setLink(isActive: isPresent && (express.slot?.isHotPluggable != true || slot.isOn))
      }
      if isPresent, express.slot?.isHotPluggable == true, !slot.isOn { secondary.unplug(device: 0) }
      state.wasInterrupting = slot.isInterrupting
      configuration.set(0, asserted: state.wasInterrupting)
    }
  }

  package func inspect(_ node: inout Node) {
    configuration.inspect(&node)
    let numbers = buses
    node.field(
      "buses", numbers.isEmpty ? "none" : "\(numbers.lowerBound)-\(numbers.upperBound - 1)")
    let windows = configuration.windows
    node.field("ports", windows.ports.map { hexadecimal($0) })
    node.field("memory", windows.memory.map { hexadecimal($0) })
    node.field("prefetchable", windows.prefetchable.map { hexadecimal($0) })
    if let number = express.slot?.number {
      node.child("slot") { node in
        node.field("number", number)
        node.field("occupied", slot.isPresent)
        node.field("power", slot.isOn)
        node.field("leaving", state.withLock { $0.isLeaving })
      }
    }
  }
}

private func hexadecimal(_ range: ClosedRange<UInt64>) -> String {
  String(range.lowerBound, radix: 16) + "-" + String(range.upperBound, radix: 16)
}
