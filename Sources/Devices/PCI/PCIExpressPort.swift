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
  private let base: Int
  // State: what is in the slot. Held over whole operations, so that they do not mix; taken before the
  // lock of the fabric.
  private let state = Mutex(State())

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

// MARK: - What is at the far end of the link

extension PCIExpressPort {
  /// Puts a function at the far end, before the machine starts: all functions of one device.
  package func plug(_ function: any PCIFunction, function number: UInt8 = 0) {
    precondition(express.kind != .switchUpstream, "behind an upstream port are downstream ports")
    state.withLock { state in
      state.contents.append((number, function))
      secondary.plug(function, device: 0, function: number)
      resetSlot(isPresent: true)
    }
  }

  /// Puts functions into the slot while the machine runs, and presses its button. Answers `false` if it is
  /// taken, or not for hot-plug. The guest then gives it power.
  package func insert(_ functions: [any PCIFunction]) -> Bool {
    state.withLock { state in
      guard express.slot?.isHotPluggable == true, state.contents.isEmpty, functions.count <= 8
      else { return false }
      state.contents = functions.enumerated().map { (UInt8($0.offset), $0.element) }
      let isOn = slot.isOn
      change { $0.setPresent(true) }
      if isOn { setPower(true, state) }
      raise(
        isOn
          ? [.presenceChanged, .linkChanged]
          : [.presenceChanged, .attentionButtonPressed], &state)
      return true
    }
  }

  /// Asks the guest for what is in the slot, by its button; the observer hears when it is out. Answers
  /// `false` if the slot is empty, or not for hot-plug. Asked again, it presses the button again: a guest
  /// takes that within its time to think as a change of mind.
  package func requestRemoval() -> Bool {
    let (isAccepted, emptied) = state.withLock { state -> (Bool, (any SlotObserver)?) in
      guard express.slot?.isHotPluggable == true, !state.contents.isEmpty else {
        return (false, nil)
      }
      state.isLeaving = true
      // Without power nothing needs to be asked.
      guard slot.isOn else { return (true, empty(&state)) }
      raise([.attentionButtonPressed], &state)
      return (true, nil)
    }
    emptied?.slotEmptied(self)
    return isAccepted
  }

  /// Pulls out what is in the slot, without asking. Answers `false` if it is not for hot-plug.
  package func remove() -> Bool {
    state.withLock { state in
      guard express.slot?.isHotPluggable == true else { return false }
      if !state.contents.isEmpty { _ = empty(&state) }
      return true
    }
  }

  package var isOccupied: Bool { state.withLock { !$0.contents.isEmpty } }

  private func empty(_ state: inout State) -> (any SlotObserver)? {
    let hadPower = slot.isOn
    if hadPower { setPower(false, state) }
    state.contents = []
    let wasLeaving = state.isLeaving
    state.isLeaving = false
    change { $0.setPresent(false) }
    raise(hadPower ? [.presenceChanged, .linkChanged] : [.presenceChanged], &state)
    return wasLeaving ? state.observer : nil
  }

  /// Lets the functions appear, as after power-on, or disappear.
  private func setPower(_ isOn: Bool, _ state: State) {
    if isOn {
      for (number, function) in state.contents {
        function.busReset()
        secondary.plug(function, device: 0, function: number)
      }
    } else {
      secondary.unplug(device: 0)
    }
    setLink(isActive: isOn && !state.contents.isEmpty)
  }
}

// MARK: - The slot's registers

extension PCIExpressPort {
  private enum Event { case attentionButtonPressed, presenceChanged, commandCompleted, linkChanged }

  private var slotIndex: Int { base + PCIExpress.Register.slot }
  private var slot: SlotRegisters { SlotRegisters(value: configuration[slotIndex]) }

  private func change(_ change: (inout SlotRegisters) -> Void) {
    configuration.with { state in
      var slot = SlotRegisters(value: state.registers[slotIndex])
      change(&slot)
      state.registers[slotIndex] = slot.value
    }
  }

  private func setLink(isActive: Bool) {
    let index = base + PCIExpress.Register.link
    configuration.with { state in
      state.registers[index] =
        state.registers[index] & ~PCIExpress.linkActive | (isActive ? PCIExpress.linkActive : 0)
    }
  }

  private func raise(_ events: [Event], _ state: inout State) {
    change { slot in
      for event in events {
        switch event {
        case .attentionButtonPressed: slot.raise(SlotRegisters.attentionButtonPressed)
        case .presenceChanged: slot.raise(SlotRegisters.presenceChanged)
        case .commandCompleted: slot.raise(SlotRegisters.commandCompleted)
        case .linkChanged: slot.raise(SlotRegisters.linkChanged)
        }
      }
    }
    signal(&state)
  }

  /// The pin is as the events are; a message goes when there are some where there were none: §6.7.3.4.
  private func signal(_ state: inout State) {
    let isInterrupting = slot.isInterrupting
    configuration.set(0, asserted: isInterrupting)
    if isInterrupting && !state.wasInterrupting { configuration.signal(vector: 0) }
    state.wasInterrupting = isInterrupting
  }

  /// What of the slot and the link follows from what is in it.
  private func resetSlot(isPresent: Bool) {
    guard express.kind.hasSlot else { return }
    if let slot = express.slot {
      let initial = SlotRegisters.initial(
        isPresent: isPresent, isHotPluggable: slot.isHotPluggable)
      configuration.with { $0.registers[slotIndex] = initial.value }
    }
    setLink(isActive: isPresent)
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
