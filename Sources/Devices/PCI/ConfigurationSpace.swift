import Board
package import Inspection
package import Memory
package import SavedState
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
  private let msix: MSIX?
  private let msi: MSICapability?
  private let express: PCIExpress?
  // State: everything the guest can change.
  private let state: Mutex<State>

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

  private func sync(_ state: inout State) {
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

  private func driveInterrupt(_ state: State) {
    state.place?.drive(
      state.interruptPending && !sendsMessages(state) && !state.isAsleep(layout))
  }

  private func sendsMessages(_ state: State) -> Bool {
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

// MARK: - What the bus sees

extension ConfigurationSpace: PCIFunction {
  package func readConfiguration(_ register: UInt16) -> UInt32 {
    let index = Int(register / 4)
    // Where there are no registers it reads as zero: PCIe 6.0 §7.6.1.
    guard index < layout.count else { return 0 }
    if let (live, place) = liveCapability(index) {
      return live.read(index - place.lowerBound, state.withLock { Array($0.registers[place]) })
    }
    return state.withLock { state in
      if let msi, let place = layout.place(of: 0x05),
        index == place.lowerBound + MSICapability.pendingIndex
      {
        return msi.pending
      }
      return state.read(index)
    }
  }

  package func writeConfiguration(_ value: UInt32, mask: UInt32, _ register: UInt16) {
    let index = Int(register / 4)
    guard index < layout.count else { return }
    var old: UInt32 = 0
    with { state in
      old = state.registers[index]
      state.write(value, mask: mask, index, layout)
    }
    if initiatesReset(value & mask, index) { functionLevelReset() }
    if let (live, place) = liveCapability(index) {
      let registers = state.withLock { Array($0.registers[place]) }
      live.written(index - place.lowerBound, mask: mask, old: old, registers)
    }
  }

  private func initiatesReset(_ value: UInt32, _ index: Int) -> Bool {
    guard express?.kind == .endpoint, value & PCIExpress.initiateReset != 0 else { return false }
    return layout.place(of: UInt16(PCIExpress.id)).map {
      index == $0.lowerBound + PCIExpress.Register.device
    } ?? false
  }

  /// PCIe 6.0 §6.6.2 "Function Level Reset (FLR)": all but the link and the size of payloads.
  private func functionLevelReset() {
    with { state in
      let old = state.registers
      clear(&state)
      guard let express = layout.place(of: UInt16(PCIExpress.id))?.lowerBound else { return }
      for (register, kept) in [
        (PCIExpress.Register.device, PCIExpress.maximumPayload),
        (PCIExpress.Register.link, PCIExpress.linkControl),
        (PCIExpress.Register.link2, PCIExpress.linkControl),
      ] {
        let index = express + register
        state.registers[index] = state.registers[index] & ~kept | old[index] & kept
      }
    }
    state.withLock { $0.user }?.functionReset()
  }

  private func clear(_ state: inout State) {
    state.registers = layout.initial
    msix?.reset()
    msi?.pending = 0
  }

  private func liveCapability(_ index: Int) -> (any LiveCapability, Range<Int>)? {
    for capability in layout.capabilities where capability.registers.contains(index) {
      return capability.live.map { ($0, capability.registers) }
    }
    return nil
  }

  package func plugged(at place: PCIPlace?) {
    state.withLock { state in
      state.place?.drive(false)
      state.place = place
      sync(&state)
    }
  }

  package func setUpstream(isOpen: Bool) {
    state.withLock { state in
      guard state.isUpstreamOpen != isOpen else { return }
      state.isUpstreamOpen = isOpen
      sync(&state)
    }
  }

  package var decodes: [PCIDecode] {
    state.withLock { state in
      if state.isAsleep(layout) { return [] }
      return layout.bars.compactMap { slot in
        state.range(of: slot).map { PCIDecode(bar: slot.bar, range: $0) }
      }
    }
  }

  package func busReset() {
    reset()
    state.withLock { $0.user }?.functionReset()
  }
}

// MARK: - What the machine sees

extension ConfigurationSpace: Component {
  package static let schema = "pci-function/2"

  package struct Saved: Codable, Sendable {
    var registers: [UInt32]
    var msix: MSIX.Saved?
    /// MSI's pending bits.
    var msiPending: UInt32?
  }

  package func reset() { with { clear(&$0) } }

  package func save() -> Saved {
    state.withLock { state in
      Saved(registers: state.registers, msix: msix?.save(), msiPending: msi?.pending)
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.registers.count == layout.count else {
      throw .refused(part: "PCI function", reason: "its configuration space has another size")
    }
    for (index, value) in saved.registers.enumerated() {
      let fixed = ~(layout.writable[index] | layout.clearable[index] | layout.driven[index])
      guard (value ^ layout.initial[index]) & fixed == 0 else {
        throw .refused(part: "PCI function", reason: "it was saved from another kind of device")
      }
    }
    let table = saved.msix.map { msix?.accepts($0) ?? false } ?? (msix == nil)
    let pending = saved.msiPending.map { $0 & ~(msi?.all ?? 0) == 0 } ?? (msi == nil)
    guard table, pending, (saved.msiPending == nil) == (msi == nil) else {
      throw .refused(part: "PCI function", reason: "its messages are those of another device")
    }
    with { state in
      state.registers = saved.registers
      if let table = saved.msix { msix?.restore(table) }
      if let pending = saved.msiPending { msi?.pending = pending }
    }
  }

  package func inspect(_ node: inout Node) {
    let sendsMessages = self.sendsMessages
    let state = state.withLock { $0 }
    node.field("address", state.place?.address.description)
    node.hex("identity", state.registers[0])
    node.hex("class", state.registers[2] >> 8)
    node.hex("command", state.command.rawValue)
    node.field("busMaster", busMaster.isOpen)
    node.field("interrupt", state.interruptPending)
    node.field("messages", sendsMessages)
    if let msix {
      let (pending, masked) = msix.summary
      node.child("msix") { node in
        node.field("vectors", msix.vectors)
        node.field("pending", pending)
        node.field("masked", masked)
      }
    }
    for slot in layout.bars {
      let range = state.range(of: slot)
      node.child("bar\(slot.register - Layout.firstBAR)") { node in
        node.field("space", "\(slot.bar.space)")
        node.hex("size", slot.bar.size)
        node.field("enabled", range != nil)
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

  struct State: Sendable {
    var registers: [UInt32]
    // From outside, and so neither reset nor saved.
    var interruptAsserted = false
    var place: PCIPlace?
    var isUpstreamOpen = true
    weak var user: (any FunctionReset)?

    init(_ registers: [UInt32]) { self.registers = registers }
  }
}

extension ConfigurationSpace.State {
  typealias Layout = ConfigurationSpace.Layout

  var command: ConfigurationSpace.Command {
    .init(rawValue: UInt16(truncatingIfNeeded: registers[1]))
  }

  /// Whether INTx is asserted on the bus: PCI 3.0 §6.2.2, Interrupt Disable.
  var interruptPending: Bool { interruptAsserted && !command.contains(.interruptDisable) }

  /// All that the addresses answered here and behind, and the way of messages, follow from.
  func decoding(_ layout: Layout) -> [UInt32] {
    [registers[1] & 0b111, registers[15], isAsleep(layout) ? 1 : 0]
      + registers[Layout.firstBAR..<12]
  }

  /// Whether it is in D3hot.
  func isAsleep(_ layout: Layout) -> Bool {
    guard let place = layout.powerManagement else { return false }
    return registers[place + PowerManagement.controlIndex] & PowerManagement.powerState != 0
  }

  func read(_ index: Int) -> UInt32 {
    // Interrupt Status: PCI 3.0 §6.2.3 "Device Status".
    registers[index] | (index == 1 && interruptAsserted ? 1 << 19 : 0)
  }

  mutating func write(_ value: UInt32, mask: UInt32, _ index: Int, _ layout: Layout) {
    var writable = layout.writable[index] & mask
    if let place = layout.powerManagement, index == place + PowerManagement.controlIndex,
      !PowerManagement.accepts(value)
    {
      writable &= ~PowerManagement.powerState
    }
    registers[index] = registers[index] & ~writable | value & writable
    registers[index] &= ~(value & mask & layout.clearable[index])
  }

  /// Where a BAR should answer; `nil`: nowhere. An address of zero is none, nor is one of all ones, which
  /// a guest writes to learn the size.
  func range(of slot: Layout.Slot) -> Range<UInt64>? {
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
