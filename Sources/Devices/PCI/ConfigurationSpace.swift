package import Board
package import Inspection
package import Memory
package import SavedState
import Synchronization

/// The standard configuration space of a function: type 0 header, BARs, capabilities, interrupt pin.
///
/// A device has one, it does not inherit it. The device's interrupt is a line to pin 0 of its
/// configuration space, which puts it on the bus unless the guest has disabled it. BARs answer on the
/// machine's buses while the guest has them enabled, and not where something else answers already.
///
/// - SeeAlso: PCI 3.0 §6.1 "Configuration Space Organization", §6.2 "Configuration Space Functions".
package final class ConfigurationSpace {
  // Wiring: fixed for the life of the device.
  private let layout: Layout
  private let interrupt: InterruptLine?
  private let ports: IOBus
  private let registers: IOBus
  private let busMaster: Gate?
  // State: everything the guest can change.
  private let state: Mutex<State>

  /// - Parameters:
  ///   - bars: in the order of their registers.
  ///   - interruptPin: the pin that `interrupt` is wired to.
  ///   - busMaster: the way of the function's DMA, opened by Bus Master Enable.
  ///   - ports: where BARs of ports are mapped.
  ///   - registers: where BARs of memory are mapped.
  package init(
    _ identity: PCIIdentity, bars: [BAR] = [], capabilities: [PCICapability] = [],
    interruptPin: InterruptPin? = nil, interrupt: consuming InterruptLine? = nil,
    busMaster: Gate? = nil, ports: IOBus, registers: IOBus
  ) {
    layout = Layout(identity, bars: bars, capabilities: capabilities, interruptPin: interruptPin)
    self.interrupt = interrupt
    self.ports = ports
    self.registers = registers
    self.busMaster = busMaster
    state = Mutex(State(layout.initial))
  }

  /// The registers of a capability, as they are now; `nil`: the function has no such capability.
  package func capability(_ id: UInt8) -> [UInt32]? {
    guard let place = layout.capabilities.first(where: { $0.id == id })?.registers else {
      return nil
    }
    return state.withLock { Array($0.registers[place]) }
  }

  /// Changes the registers, and brings the interrupt, bus mastering and the BARs in line with them.
  private func with(_ change: (inout State) -> Void) {
    state.withLock { state in
      change(&state)
      interrupt?.set(state.interruptPending)
      busMaster?.isOpen = state.command.contains(.busMaster)
      remap(&state)
    }
  }

  private func remap(_ state: inout State) {
    let wanted = layout.bars.map { state.range(of: $0) }
    // First all that goes, then what comes: two BARs may change places.
    for (index, slot) in layout.bars.enumerated() where wanted[index] != state.mapped[index] {
      if let old = state.mapped[index] { bus(slot).unmap(old) }
      state.mapped[index] = nil
    }
    for (index, slot) in layout.bars.enumerated() where state.mapped[index] == nil {
      guard let range = wanted[index] else { continue }
      let bar = slot.bar
      if bus(slot).map(bar.device, at: range, region: bar.region) { state.mapped[index] = range }
    }
  }

  private func bus(_ slot: Layout.Slot) -> IOBus { slot.bar.space.isMemory ? registers : ports }
}

// MARK: - What the device drives

extension ConfigurationSpace: InterruptController {
  /// The function's interrupt, on pin 0.
  package func set(_ pin: UInt32, asserted: Bool) {
    guard pin == 0 else { return }
    state.withLock { state in
      state.interruptAsserted = asserted
      interrupt?.set(state.interruptPending)
    }
  }
}

// MARK: - What the guest sees

extension ConfigurationSpace: PCIFunction {
  package func readConfiguration(_ register: UInt16) -> UInt32 {
    let index = Int(register / 4)
    // A function without extended capabilities reads as zero there: PCIe 6.0 §7.6.1.
    guard index < Layout.count else { return 0 }
    return state.withLock { $0.read(index) }
  }

  package func writeConfiguration(_ value: UInt32, mask: UInt32, _ register: UInt16) {
    let index = Int(register / 4)
    guard index < Layout.count else { return }
    with { $0.write(value, mask: mask, index, layout) }
  }
}

// MARK: - What the machine sees

extension ConfigurationSpace: Component {
  package static let schema = "pci-function/1"

  package struct Saved: Codable, Sendable {
    var registers: [UInt32]
  }

  package func reset() { with { $0.registers = layout.initial } }

  package func save() -> Saved { state.withLock { Saved(registers: $0.registers) } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.registers.count == Layout.count else {
      throw .refused(part: "PCI function", reason: "its configuration space has another size")
    }
    for (index, value) in saved.registers.enumerated() {
      let fixed = ~(layout.writable[index] | layout.clearable[index])
      guard (value ^ layout.initial[index]) & fixed == 0 else {
        throw .refused(part: "PCI function", reason: "it was saved from another kind of device")
      }
    }
    with { $0.registers = saved.registers }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.hex("identity", state.registers[0])
    node.hex("class", state.registers[2] >> 8)
    node.hex("command", state.command.rawValue)
    node.field("interrupt", state.interruptPending)
    for (slot, range) in zip(layout.bars, state.mapped) {
      node.child("bar\(slot.register - Layout.firstBAR)") { node in
        node.field("space", "\(slot.bar.space)")
        node.hex("size", slot.bar.size)
        node.field("mapped", range != nil)
        if let range { node.hex("at", range.lowerBound) }
      }
    }
  }
}

// MARK: - The chip itself

extension ConfigurationSpace {
  /// The command register: PCI 3.0 §6.2.2 "Device Control".
  struct Command: OptionSet {
    let rawValue: UInt16
    static let ports = Command(rawValue: 1 << 0)
    static let memory = Command(rawValue: 1 << 1)
    static let busMaster = Command(rawValue: 1 << 2)
    static let parityErrorResponse = Command(rawValue: 1 << 6)
    static let systemError = Command(rawValue: 1 << 8)
    static let interruptDisable = Command(rawValue: 1 << 10)
  }

  struct State {
    var registers: [UInt32]
    /// The wire from the device, which is not the function's to reset or save.
    var interruptAsserted = false
    /// Where each BAR answers.
    var mapped: [Range<UInt64>?]

    init(_ registers: [UInt32]) {
      self.registers = registers
      mapped = .init(repeating: nil, count: Layout.lastBAR - Layout.firstBAR + 1)
    }
  }
}

extension ConfigurationSpace.State {
  var command: ConfigurationSpace.Command {
    .init(rawValue: UInt16(truncatingIfNeeded: registers[1]))
  }

  /// Whether INTx is asserted on the bus: PCI 3.0 §6.2.2, Interrupt Disable.
  var interruptPending: Bool { interruptAsserted && !command.contains(.interruptDisable) }

  func read(_ index: Int) -> UInt32 {
    // Interrupt Status: PCI 3.0 §6.2.3 "Device Status".
    registers[index] | (index == 1 && interruptAsserted ? 1 << 19 : 0)
  }

  mutating func write(
    _ value: UInt32, mask: UInt32, _ index: Int, _ layout: ConfigurationSpace.Layout
  ) {
    let writable = layout.writable[index] & mask
    registers[index] = registers[index] & ~writable | value & writable
    registers[index] &= ~(value & mask & layout.clearable[index])
  }

  /// Where a BAR should answer; `nil`: nowhere. An address of zero is none, nor is one of all ones, which
  /// a guest writes to learn the size.
  func range(of slot: ConfigurationSpace.Layout.Slot) -> Range<UInt64>? {
    let bar = slot.bar
    guard command.contains(bar.space.isMemory ? .memory : .ports) else { return nil }
    let upper = bar.space.is64Bit ? UInt64(registers[slot.register + 1]) << 32 : 0
    let address = (upper | UInt64(registers[slot.register])) & ~(bar.size - 1)
    let limit: UInt64 =
      switch bar.space {
      case .ports: 1 << 16
      case .memory: 0xffff_ffff
      case .memory64: .max
      }
    let (end, overflow) = address.addingReportingOverflow(bar.size)
    return address != 0 && !overflow && end <= limit ? address..<end : nil
  }
}
