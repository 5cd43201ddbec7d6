import Bits
import SavedState

extension HPET {
  /// A comparator's configuration: §2.3.8 "Timer N Configuration and Capabilities Register".
  struct ComparatorConfiguration: RegisterBits, Equatable {
    var raw: UInt32
    /// Which pins of the I/O APIC the comparator can be routed to.
    let routes: UInt32

    var isLevelTriggered: Bool { self[bit: 1] }
    var isInterruptEnabled: Bool { self[bit: 2] }
    var isPeriodic: Bool { self[bit: 3] }
    /// The next write to the comparator sets the value, not the period.
    var setsValue: Bool {
      get { self[bit: 6] }
      set { self[bit: 6] = newValue }
    }
    var is32Bit: Bool { self[bit: 8] }
    var route: UInt32 {
      get { self[bits: 9, 5] }
      set { self[bits: 9, 5] = newValue }
    }

    static let writable: UInt32 = 0x3f4e
    /// Periodic mode and 64 bits.
    var capabilities: UInt64 { 1 << 4 | 1 << 5 | UInt64(routes) << 32 }
  }

  /// One comparator: matches when the counter reaches its value, and if periodic moves the value on.
  struct Comparator {
    var configuration: ComparatorConfiguration
    var value: UInt64 = .max
    var period: UInt64 = 0
    /// The counter when last compared. A match is a value after that, up to the counter now.
    var checked: UInt64 = 0
    /// Of an edge-triggered interrupt: it has matched.
    var edge = false

    /// Periods shorter than 20 µs interrupt at that pace; those missed are not made up for.
    static let shortestPeriod: UInt64 = 2000

    init(routes: UInt32) { configuration = ComparatorConfiguration(raw: 0, routes: routes) }
  }
}

extension HPET.Comparator {
  private var mask: UInt64 { configuration.is32Bit ? 0xffff_ffff : .max }

  /// How many ticks after `counter` the value is reached; `nil`: not before the counter wraps at 64 bits.
  private func gap(from counter: UInt64) -> UInt64? {
    let gap = (value &- counter) & mask
    return gap != 0 ? gap : configuration.is32Bit ? mask + 1 : nil
  }

  /// Compares up to the counter. Answers whether there was a match on the way.
  mutating func advance(to counter: UInt64) -> Bool {
    let passed = counter &- checked
    guard let gap = gap(from: checked), gap <= passed else {
      checked = counter
      return false
    }
    checked = counter
    if configuration.isPeriodic, period > 0 {
      value = (value &+ ((passed - gap) / period &+ 1) &* period) & mask
    }
    return true
  }

  /// How many ticks after `counter`, which has been compared, the next interrupt is due.
  func distance(from counter: UInt64) -> UInt64? {
    guard let gap = gap(from: counter) else { return nil }
    guard configuration.isPeriodic, period > 0, period < Self.shortestPeriod else { return gap }
    let skipped = (Self.shortestPeriod - 1) / period * period
    let (distance, overflow) = gap.addingReportingOverflow(skipped)
    return overflow ? nil : distance
  }

  mutating func configure(_ raw: UInt32, counter: UInt64) {
    var new = configuration
    new.raw = raw & HPET.ComparatorConfiguration.writable
    // A route that does not exist is not taken (§2.3.8, Tn_INT_ROUTE_CNF).
    if configuration.routes >> new.route & 1 == 0 { new.route = configuration.route }
    if new.isLevelTriggered || !new.isInterruptEnabled { edge = false }
    configuration = new
    value &= mask
    period &= mask
    checked = counter
  }

  /// §2.3.9.2.2: in periodic mode the period is what was last written; VAL_SET makes that write set the
  /// value as well, and then clears itself.
  mutating func write(_ data: UInt64, lanes: UInt64, counter: UInt64) {
    if configuration.isPeriodic { period = (period & ~lanes | data) & mask }
    if !configuration.isPeriodic || configuration.setsValue {
      value = (value & ~lanes | data) & mask
      checked = counter &- 1
    }
    configuration.setsValue = false
  }

  init(_ saved: HPET.Saved.Comparator, routes: UInt32) throws(RestoreError) {
    self.init(routes: routes)
    configuration.raw = saved.configuration
    let isRouted = configuration.route == 0 || routes >> configuration.route & 1 != 0
    guard saved.configuration & ~HPET.ComparatorConfiguration.writable == 0, isRouted else {
      throw .refused(part: "hpet", reason: "a comparator's configuration is impossible")
    }
    guard saved.value & ~mask == 0, saved.period & ~mask == 0 else {
      throw .refused(part: "hpet", reason: "a comparator has more bits than it compares")
    }
    value = saved.value
    period = saved.period
    checked = saved.checked
    edge = saved.edge
  }
}
