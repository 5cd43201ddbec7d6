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

  /// - Parameter sendsMessages: instead of driving its pin, so that the pin is not said to be pending.
  func read(_ index: Int, sendsMessages: Bool) -> UInt32 {
    // Interrupt Status: PCI 3.0 §6.2.3 "Device Status".
    registers[index] | (index == 1 && interruptAsserted && !sendsMessages ? 1 << 19 : 0)
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
