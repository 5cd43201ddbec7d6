import Work

extension LocalAPIC {
  /// The APIC timer: a count-down of bus clocks, or a deadline of the time-stamp counter.
  ///
  /// The bus runs at 1 GHz, so that a bus clock is a nanosecond of guest time and every moment is exact.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.5.4 "APIC Timer".
  struct Timer {
    var mode = LocalVector.TimerMode.oneShot
    var initialCount: UInt32 = 0
    var divideConfiguration: UInt32 = 0
    /// Guest time, in nanoseconds, at which the count stood at its initial value. Modulo 2⁶⁴: changing the
    /// divisor early in the guest's life may put it before power-on.
    var start: UInt64 = 0
    var isCounting = false
    /// IA32_TSC_DEADLINE; zero: unarmed.
    var deadline: UInt64 = 0
    var counter: Oscillator
    /// What is added to the counter's ticks to give the guest's time-stamp counter, modulo 2⁶⁴.
    var counterOffset: UInt64 = 0

    /// No periodic timer rings more often than that; periods missed are not made up for.
    static let shortestPeriod: UInt64 = 20_000

    init(counter: Oscillator) { self.counter = counter }
  }
}

// MARK: - What the guest does
extension LocalAPIC.Timer {
  /// Bits 0, 1 and 3: divide by 2, 4, 8, 16, 32, 64, 128, and by 1.
  private var shift: UInt64 {
    let value = UInt64(divideConfiguration & 3 | divideConfiguration >> 1 & 4)
    return (value &+ 1) & 7
  }

  /// From the initial count to zero, in nanoseconds.
  private var period: UInt64 { UInt64(initialCount) &<< shift }

  /// The current-count register.
  func currentCount(at now: VMInstant) -> UInt32 {
    guard isCounting, mode != .tscDeadline, initialCount > 0 else { return 0 }
    let elapsed = (now.nanoseconds &- start) % period
    return initialCount &- UInt32(truncatingIfNeeded: elapsed &>> shift)
  }

  /// A new initial count starts the timer; zero stops it.
  mutating func setInitialCount(_ count: UInt32, at now: VMInstant) {
    guard mode != .tscDeadline else { return }
    initialCount = count
    start = now.nanoseconds
    isCounting = count != 0
  }

  /// A new divisor: the count goes on from where it is.
  mutating func setDivideConfiguration(_ value: UInt32, at now: VMInstant) {
    let counted = UInt64(initialCount &- currentCount(at: now))
    divideConfiguration = value & 0b1011
    if isCounting { start = now.nanoseconds &- counted &<< shift }
  }

  /// A change between counting and waiting for a deadline disarms the timer (§11.5.4.1).
  mutating func setMode(_ mode: LocalVector.TimerMode) {
    if (mode == .tscDeadline) != (self.mode == .tscDeadline) {
      isCounting = false
      deadline = 0
    }
    self.mode = mode
  }

  /// A write to IA32_TSC_DEADLINE; without effect in the other modes.
  mutating func setDeadline(_ deadline: UInt64) {
    if mode == .tscDeadline { self.deadline = deadline }
  }
}

// MARK: - How time moves it
extension LocalAPIC.Timer {
  /// Takes note of the time. Answers whether the timer has expired since it was last asked.
  mutating func hasExpired(at now: VMInstant) -> Bool {
    switch mode {
    case .oneShot, .reserved:
      guard isCounting, now.nanoseconds &- start >= period else { return false }
      isCounting = false
    case .periodic:
      let elapsed = now.nanoseconds &- start
      guard isCounting, period > 0, elapsed >= period else { return false }
      start = now.nanoseconds &- elapsed % period
    case .tscDeadline:
      guard deadline != 0, timeStamp(at: now) >= deadline else { return false }
      deadline = 0
    }
    return true
  }

  /// When it will expire next, asked after `hasExpired`.
  var nextExpiry: VMInstant? {
    switch mode {
    case .oneShot, .reserved:
      return isCounting ? VMInstant(nanoseconds: start &+ period) : nil
    case .periodic:
      guard isCounting, period > 0 else { return nil }
      let periods = (Self.shortestPeriod + period - 1) / period
      return VMInstant(nanoseconds: start &+ max(periods, 1) &* period)
    case .tscDeadline:
      guard deadline != 0 else { return nil }
      let ticks = Int128(deadline) - Int128(Int64(bitPattern: counterOffset))
      return UInt64(exactly: max(ticks, 0)).flatMap { counter.moment(of: $0) }
    }
  }

  private func timeStamp(at now: VMInstant) -> UInt64 { counter.ticks(at: now) &+ counterOffset }
}
