import Bits
import Inspection
import SavedState
import Work

extension HPET {
  /// The 64-bit registers: §2.3.3, Table 1 "Memory-Mapped Registers".
  enum Register: Equatable {
    case capabilities, configuration, interruptStatus, mainCounter
    case comparatorConfiguration(Int)
    case comparatorValue(Int)
    /// The FSB route, which no comparator here has: it reads as zero.
    case comparatorRoute(Int)

    init?(offset: UInt64) {
      let (block, register) = offset.quotientAndRemainder(dividingBy: 0x20)
      let comparator = Int(truncatingIfNeeded: block) - 8
      switch (offset, register) {
      case (0x00, _): self = .capabilities
      case (0x10, _): self = .configuration
      case (0x20, _): self = .interruptStatus
      case (0xf0, _): self = .mainCounter
      case (_, 0x00) where 0..<comparatorCount ~= comparator:
        self = .comparatorConfiguration(comparator)
      case (_, 0x08) where 0..<comparatorCount ~= comparator: self = .comparatorValue(comparator)
      case (_, 0x10) where 0..<comparatorCount ~= comparator: self = .comparatorRoute(comparator)
      default: return nil
      }
    }
  }

  static let comparatorCount = 3

  /// Wires that the device drives: the pins of the I/O APIC by number, and the two that it lends on.
  struct Outputs: OptionSet {
    let rawValue: UInt64
    static let irq0 = Outputs(rawValue: 1 << 32)
    static let irq8 = Outputs(rawValue: 1 << 33)
    static let legacy: Outputs = [.irq0, .irq8]

    var pins: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
    static func pin(_ number: UInt32) -> Outputs { Outputs(rawValue: 1 << UInt64(number & 31)) }
  }

  /// The chip: the counter, its comparators, and where their interrupts go.
  struct State {
    let routes: UInt32
    var isEnabled = false
    var isLegacyReplacement = false
    /// Comparators whose level-triggered interrupt is active, a bit each.
    var status: UInt8 = 0
    /// Where the counter stands if it is halted; what is added to the oscillator's ticks if it is not.
    var counterBase: UInt64 = 0
    var comparators: [Comparator]
    /// What the 8254 and the real-time clock drive. These wires outlive a reset.
    var inputs: Outputs = []
    /// Edges that happened since the pins were last driven.
    private var pulses: Outputs = []

    /// Ten nanoseconds a tick.
    static let oscillator = Oscillator(frequency: 100_000_000)

    init(routes: UInt32) {
      self.routes = routes
      comparators = .init(
        repeating: Comparator(routes: routes), count: HPET.comparatorCount)
    }
  }
}

// MARK: - Time

extension HPET.State {
  /// The main counter: §2.3.7.
  func counter(at now: VMInstant) -> UInt64 {
    isEnabled ? Self.oscillator.ticks(at: now) &+ counterBase : counterBase
  }

  /// Lets comparators match that the counter has reached.
  mutating func update(at now: VMInstant) {
    guard isEnabled else { return }
    let counter = counter(at: now)
    for index in comparators.indices where comparators[index].advance(to: counter) {
      if comparators[index].configuration.isLevelTriggered {
        status |= 1 << UInt8(index)
      } else {
        comparators[index].edge = true
        pulses.formUnion(output(of: index))
      }
    }
  }

  /// When a comparator will next interrupt.
  func nextInterrupt(after now: VMInstant) -> VMInstant? {
    guard isEnabled else { return nil }
    let counter = counter(at: now)
    let ticks = Self.oscillator.ticks(at: now)
    return comparators.compactMap { comparator in
      guard comparator.configuration.isInterruptEnabled,
        let distance = comparator.distance(from: counter)
      else { return nil }
      let (moment, overflow) = ticks.addingReportingOverflow(distance)
      return overflow ? nil : Self.oscillator.moment(of: moment)
    }.min()
  }
}

// MARK: - Interrupts

extension HPET.State {
  /// The wires that are asserted.
  var outputs: HPET.Outputs {
    var outputs = isLegacyReplacement ? [] : inputs
    guard isEnabled else { return outputs }
    for (index, comparator) in comparators.enumerated()
    where comparator.configuration.isInterruptEnabled {
      let isActive =
        comparator.configuration.isLevelTriggered
        ? status >> UInt8(index) & 1 != 0 : comparator.edge
      if isActive { outputs.formUnion(output(of: index)) }
    }
    return outputs
  }

  /// §2.3.5, LEG_RT_CNF; §2.3.8, Tn_INT_ROUTE_CNF. An unrouted comparator drives nothing.
  private func output(of comparator: Int) -> HPET.Outputs {
    switch comparator {
    case 0 where isLegacyReplacement: return .irq0
    case 1 where isLegacyReplacement: return .irq8
    default:
      let route = comparators[comparator].configuration.route
      return routes >> route & 1 != 0 ? .pin(route) : []
    }
  }

  mutating func takePulses() -> HPET.Outputs {
    defer { pulses = [] }
    return pulses
  }
}

// MARK: - Registers

extension HPET.State {
  func read(_ register: HPET.Register, at now: VMInstant) -> UInt64 {
    switch register {
    // Ten million femtoseconds a tick.
    case .capabilities: 10_000_000 << 32 | UInt64(HPET.blockID)
    case .configuration: (isEnabled ? 1 : 0) | (isLegacyReplacement ? 2 : 0)
    case .interruptStatus: UInt64(status)
    case .mainCounter: counter(at: now)
    case .comparatorConfiguration(let index):
      comparators[index].configuration.capabilities | UInt64(comparators[index].configuration.raw)
    case .comparatorValue(let index): comparators[index].value
    case .comparatorRoute: 0
    }
  }

  /// Writes the bytes of a register that `lanes` has ones for.
  mutating func write(
    _ data: UInt64, lanes: UInt64, to register: HPET.Register, at now: VMInstant
  ) {
    let value = read(register, at: now) & ~lanes | data
    switch register {
    case .capabilities, .comparatorRoute: break
    case .configuration: configure(enabled: value & 1 != 0, legacy: value & 2 != 0, at: now)
    case .interruptStatus: status &= ~UInt8(truncatingIfNeeded: data)
    case .mainCounter: setCounter(value, at: now)
    case .comparatorConfiguration(let index):
      guard lanes & 0xffff_ffff != 0 else { break }
      comparators[index].configure(UInt32(truncatingIfNeeded: value), counter: counter(at: now))
    case .comparatorValue(let index):
      comparators[index].write(data, lanes: lanes, counter: counter(at: now))
    }
  }

  private mutating func configure(enabled: Bool, legacy: Bool, at now: VMInstant) {
    isLegacyReplacement = legacy
    guard enabled != isEnabled else { return }
    let counter = counter(at: now)
    isEnabled = enabled
    counterBase = enabled ? counter &- Self.oscillator.ticks(at: now) : counter
    // An edge that has been must not rise again when the counter goes on.
    if !enabled { for index in comparators.indices { comparators[index].edge = false } }
  }

  /// §2.3.7: software halts the counter first; one that runs takes the value all the same.
  private mutating func setCounter(_ value: UInt64, at now: VMInstant) {
    counterBase = isEnabled ? value &- Self.oscillator.ticks(at: now) : value
    for index in comparators.indices { comparators[index].checked = value &- 1 }
  }

  mutating func reset() {
    let inputs = inputs
    self = Self(routes: routes)
    self.inputs = inputs
  }
}

// MARK: - Saved state

extension HPET.State {
  var saved: HPET.Saved {
    HPET.Saved(
      configuration: (isEnabled ? 1 : 0) | (isLegacyReplacement ? 2 : 0), status: status,
      counter: counterBase,
      comparators: comparators.map {
        .init(
          configuration: $0.configuration.raw, value: $0.value, period: $0.period,
          checked: $0.checked, edge: $0.edge)
      }, inputs: inputs.rawValue)
  }

  init(_ saved: HPET.Saved, routes: UInt32) throws(RestoreError) {
    self.init(routes: routes)
    guard saved.configuration < 4, saved.status >> UInt8(HPET.comparatorCount) == 0,
      HPET.Outputs.legacy.isSuperset(of: HPET.Outputs(rawValue: saved.inputs))
    else { throw .refused(part: "hpet", reason: "a reserved bit is set") }
    guard saved.comparators.count == HPET.comparatorCount else {
      throw .refused(part: "hpet", reason: "it has another number of comparators")
    }
    isEnabled = saved.configuration & 1 != 0
    isLegacyReplacement = saved.configuration & 2 != 0
    status = saved.status
    counterBase = saved.counter
    comparators = try saved.comparators.map { (saved) throws(RestoreError) in
      try HPET.Comparator(saved, routes: routes)
    }
    inputs = HPET.Outputs(rawValue: saved.inputs)
  }

  func inspect(_ node: inout Node, at now: VMInstant) {
    node.field("enabled", isEnabled)
    node.field("legacyReplacement", isLegacyReplacement)
    node.field("counter", counter(at: now))
    node.hex("status", status)
    for (index, comparator) in comparators.enumerated() {
      node.child("comparator\(index)") { node in
        node.hex("configuration", comparator.configuration.raw)
        node.field("value", comparator.value)
        node.field("period", comparator.period)
      }
    }
  }
}
