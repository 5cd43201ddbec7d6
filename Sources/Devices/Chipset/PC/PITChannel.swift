import Bits
import Inspection
import SavedState

/// One of the three counters of an 8254.
///
/// It does not count. It knows the moment at which its count was loaded, and works out from that
/// what it holds, what its output is, and when the output will rise.
///
/// - SeeAlso: Intel *82C54* data sheet (231244-006), "Programming the 82C54" and "Mode Definitions".
/// - Note: a count of 1, which the data sheet forbids in modes 2 and 3, is taken for 2.
struct PITChannel: Sendable {
  /// One run of the counting element: what was loaded, and when.
  struct Cycle: Sendable, Hashable {
    var count: Int64
    var start: PITTick
  }

  /// A cycle that begins when the running one, or half of it, is over.
  struct Takeover: Sendable {
    var moment: PITTick
    var cycle: Cycle
  }

  /// "Control Word Format", without the selection of the counter.
  struct ControlWord: RegisterBits, Hashable {
    var raw: UInt8
    var countsInDecimal: Bool { self[bit: 0] }
    var mode: Mode { Mode(bits: self[bits: 1, 3]) }
    var access: Access { Access(rawValue: self[bits: 4, 2]) ?? .latch }
  }

  /// "Mode Definitions".
  enum Mode: UInt8, Sendable {
    case interruptOnTerminalCount = 0
    case oneShot
    case rateGenerator
    case squareWave
    case softwareTriggeredStrobe
    case hardwareTriggeredStrobe

    /// Of modes 2 and 3 the topmost bit is not looked at.
    init(bits: UInt8) {
      self = Mode(rawValue: bits) ?? (bits & 1 == 0 ? .rateGenerator : .squareWave)
    }

    var isPeriodic: Bool { self == .rateGenerator || self == .squareWave }
    /// A rising gate starts it, and the gate's level does not matter.
    var isTriggeredByGate: Bool { self == .oneShot || self == .hardwareTriggeredStrobe }
  }

  /// Which bytes of the count are read and written; `latch` is the counter latch command.
  enum Access: UInt8, Sendable {
    case latch = 0
    case low
    case high
    case lowThenHigh
  }

  private(set) var controlWord = ControlWord(raw: 0x30)
  private(set) var gate: Bool
  /// CR: the count last written; `nil` after a control word.
  private var countRegister: Int64?
  /// What is being counted down; `nil`: nothing was loaded yet.
  private var cycle: Cycle?
  private var takeover: Takeover?
  /// How far the cycle had come when the gate stopped it.
  private var stoppedAt: Int64?
  /// The first byte of a count of which the second is still to come.
  private var firstByte: UInt8?
  private var readsHighNext = false
  private var latchedCount: UInt16?
  private var latchedStatus: UInt8?

  init(gate: Bool = true) { self.gate = gate }
}

// MARK: - Registers

extension PITChannel {
  var mode: Mode { controlWord.mode }
  var isPeriodic: Bool { mode.isPeriodic }

  mutating func control(_ word: ControlWord, at now: PITTick) {
    guard word.access != .latch else { return latchCount(at: now) }
    self = PITChannel(gate: gate)
    controlWord = word
  }

  /// "Counter Latch Command": the count stands still for the reader; a second latch changes nothing.
  mutating func latchCount(at now: PITTick) {
    if latchedCount == nil { latchedCount = reading(at: now) }
  }

  /// "Read-Back Command": output, null count, and the control word.
  mutating func latchStatus(at now: PITTick) {
    guard latchedStatus == nil else { return }
    latchedStatus =
      controlWord.raw & 0x3f | (output(at: now) ? 0x80 : 0) | (countIsNull(at: now) ? 0x40 : 0)
  }

  mutating func read(at now: PITTick) -> UInt8 {
    if let status = latchedStatus {
      latchedStatus = nil
      return status
    }
    let count = latchedCount ?? reading(at: now)
    let readsHigh = controlWord.access == .lowThenHigh ? readsHighNext : controlWord.access == .high
    if controlWord.access == .lowThenHigh { readsHighNext.toggle() }
    if !readsHighNext { latchedCount = nil }
    return UInt8(truncatingIfNeeded: readsHigh ? count >> 8 : count)
  }

  mutating func write(_ byte: UInt8, at now: PITTick) {
    switch controlWord.access {
    case .low, .latch: load(UInt16(byte), at: now)
    case .high: load(UInt16(byte) << 8, at: now)
    case .lowThenHigh:
      if let low = firstByte {
        firstByte = nil
        load(UInt16(byte) << 8 | UInt16(low), at: now)
      } else {
        firstByte = byte
      }
    }
  }

  /// A whole count was written.
  private mutating func load(_ written: UInt16, at now: PITTick) {
    let number = controlWord.countsInDecimal ? Self.number(ofDecimal: written) : Int64(written)
    let count = number == 0 ? modulus : isPeriodic ? max(2, number) : number
    countRegister = count
    if mode.isTriggeredByGate { return }
    if isPeriodic, let running = cycle, running.start <= now {
      takeover = stoppedAt == nil ? self.takeover(of: count, from: running, at: now) : nil
    } else {
      begin(count, at: now)
      if !gate { stoppedAt = 0 }
    }
  }

  /// The count goes into the counting element with the next pulse of the clock.
  private mutating func begin(_ count: Int64, at now: PITTick) {
    cycle = Cycle(count: count, start: now + 1)
    takeover = nil
    stoppedAt = nil
  }

  /// Modes 2 and 3: a new count waits for the end of the cycle, in mode 3 of its half.
  private func takeover(of count: Int64, from running: Cycle, at now: PITTick) -> Takeover {
    let phase = (now - running.start) % running.count
    let begin = now - phase
    let high = Self.highTicks(of: running.count)
    if mode == .squareWave, phase < high {
      let moment = begin + high  // the low half is the first with the new count
      let start = moment - Self.highTicks(of: count)
      return Takeover(moment: moment, cycle: Cycle(count: count, start: start))
    }
    let moment = begin + running.count
    return Takeover(moment: moment, cycle: Cycle(count: count, start: moment))
  }
}

// MARK: - Time and gate

extension PITChannel {
  mutating func advance(to now: PITTick) {
    guard let next = takeover, next.moment <= now else { return }
    cycle = next.cycle
    takeover = nil
  }

  /// "Gate Pin Operations Summary".
  mutating func setGate(_ level: Bool, at now: PITTick) {
    guard level != gate else { return }
    gate = level
    if mode.isTriggeredByGate {
      if level, let count = countRegister { begin(count, at: now) }
    } else if level, isPeriodic {
      if let count = countRegister { begin(count, at: now) }
    } else if level {
      if let elapsed = stoppedAt { cycle?.start = now - elapsed }
      stoppedAt = nil
    } else {
      stoppedAt = elapsed(at: now)
      takeover = nil
    }
  }

  /// Pulses of the clock since the count was loaded; -1 before that.
  private func elapsed(at now: PITTick) -> Int64? {
    cycle.map { cycle in stoppedAt ?? max(-1, now - cycle.start) }
  }
}

// MARK: - Output

extension PITChannel {
  /// The level of OUT.
  func output(at now: PITTick) -> Bool {
    guard let cycle, let elapsed = elapsed(at: now) else {
      return mode != .interruptOnTerminalCount
    }
    switch mode {
    case .interruptOnTerminalCount: return firstByte == nil && elapsed >= cycle.count
    case .oneShot: return elapsed < 0 || elapsed >= cycle.count
    case .rateGenerator:
      return stoppedAt != nil || elapsed < 0 || elapsed % cycle.count != cycle.count - 1
    case .squareWave:
      return stoppedAt != nil || elapsed < 0
        || elapsed % cycle.count < Self.highTicks(of: cycle.count)
    case .softwareTriggeredStrobe, .hardwareTriggeredStrobe: return elapsed != cycle.count
    }
  }

  /// The level of a wire that shows only how the output rises: in the periodic modes, high.
  func idleLevel(at now: PITTick) -> Bool { isPeriodic || output(at: now) }

  /// When the output rises next by itself.
  func nextRise(after now: PITTick) -> PITTick? {
    guard let cycle, stoppedAt == nil else { return nil }
    switch mode {
    case .interruptOnTerminalCount, .oneShot:
      guard firstByte == nil || mode == .oneShot else { return nil }
      let rise = cycle.start + cycle.count
      return rise > now ? rise : nil
    case .softwareTriggeredStrobe, .hardwareTriggeredStrobe:
      let rise = cycle.start + (cycle.count + 1)
      return rise > now ? rise : nil
    case .rateGenerator, .squareWave:
      if let next = takeover {
        let begins = next.cycle.start == next.moment
        return begins ? next.moment : next.cycle.start + next.cycle.count
      }
      let elapsed = now - cycle.start
      guard elapsed >= 0 else { return cycle.start + cycle.count }
      return now + (cycle.count - elapsed % cycle.count)
    }
  }

  /// Of an odd count, the output is high one tick longer than low.
  private static func highTicks(of count: Int64) -> Int64 { (count + 1) / 2 }
}

// MARK: - The count

extension PITChannel {
  /// A count of zero stands for this.
  private var modulus: Int64 { controlWord.countsInDecimal ? 10_000 : 65_536 }

  /// What the counting element holds, as it is read.
  private func reading(at now: PITTick) -> UInt16 {
    guard let cycle, let elapsed = elapsed(at: now).map({ max(0, $0) }) else { return 0 }
    let value: Int64
    switch mode {
    case .rateGenerator: value = cycle.count - elapsed % cycle.count
    case .squareWave:
      let even = cycle.count & ~1
      let high = Self.highTicks(of: cycle.count)
      let phase = elapsed % cycle.count
      value = even - 2 * (phase < high ? phase : phase - high)
    default:  // counts on past zero
      value = cycle.count - elapsed % modulus
    }
    let wrapped = (value + modulus) % modulus
    return controlWord.countsInDecimal
      ? Self.decimal(of: wrapped) : UInt16(truncatingIfNeeded: wrapped)
  }

  /// "Null count": the counting element does not hold the count last written yet.
  private func countIsNull(at now: PITTick) -> Bool {
    guard let cycle else { return true }
    return cycle.count != countRegister || takeover != nil || now < cycle.start
  }

  /// Four decimal digits, four bits each; a digit above nine counts for what it is.
  private static func number(ofDecimal digits: UInt16) -> Int64 {
    let number = [12, 8, 4, 0].reduce(Int64(0)) { $0 * 10 + Int64(digits >> UInt16($1) & 0x0f) }
    return number % 10_000
  }

  private static func decimal(of number: Int64) -> UInt16 {
    var rest = number
    var digits: UInt16 = 0
    for shift: UInt16 in [0, 4, 8, 12] {
      digits |= UInt16(truncatingIfNeeded: rest % 10) << shift
      rest /= 10
    }
    return digits
  }
}

// MARK: - Saving and showing

extension PITChannel {
  package struct Saved: Codable, Sendable {
    struct Cycle: Codable, Sendable {
      var count: Int64
      var start: Int64
    }
    var controlWord: UInt8
    var gate: Bool
    var countRegister: Int64?
    var cycle: Cycle?
    var takeover: Cycle?
    var takeoverAt: Int64?
    var stoppedAt: Int64?
    var firstByte: UInt8?
    var readsHighNext: Bool
    var latchedCount: UInt16?
    var latchedStatus: UInt8?
  }

  var saved: Saved {
    Saved(
      controlWord: controlWord.raw, gate: gate, countRegister: countRegister,
      cycle: cycle.map { .init(count: $0.count, start: $0.start.count) },
      takeover: takeover.map { .init(count: $0.cycle.count, start: $0.cycle.start.count) },
      takeoverAt: takeover?.moment.count, stoppedAt: stoppedAt, firstByte: firstByte,
      readsHighNext: readsHighNext, latchedCount: latchedCount, latchedStatus: latchedStatus)
  }

  init(_ saved: Saved) throws(RestoreError) {
    gate = saved.gate
    controlWord = ControlWord(raw: saved.controlWord)
    countRegister = saved.countRegister
    cycle = try saved.cycle.map { (cycle) throws(RestoreError) in try Cycle(cycle) }
    if let next = saved.takeover, let moment = saved.takeoverAt {
      takeover = Takeover(moment: try PITTick(saved: moment), cycle: try Cycle(next))
    }
    stoppedAt = saved.stoppedAt
    firstByte = saved.firstByte
    readsHighNext = saved.readsHighNext
    latchedCount = saved.latchedCount
    latchedStatus = saved.latchedStatus
    let counts = [countRegister, cycle?.count, takeover?.cycle.count].compactMap { $0 }
    let smallest: Int64 = isPeriodic ? 2 : 1
    guard counts.allSatisfy({ (smallest...modulus).contains($0) }), controlWord.access != .latch,
      (saved.takeover == nil) == (saved.takeoverAt == nil), takeover == nil || isPeriodic,
      stoppedAt.map({ (-1...1 << 57).contains($0) }) ?? true,
      !readsHighNext && firstByte == nil || controlWord.access == .lowThenHigh
    else { throw .refused(part: "i8254", reason: "no counter can be in that state") }
  }

  func inspect(_ node: inout Node, at now: PITTick) {
    node.field("mode", mode)
    node.field("count", cycle?.count)
    node.field("value", reading(at: now))
    node.field("output", output(at: now))
    node.field("gate", gate)
  }
}

extension PITChannel.Cycle {
  init(_ saved: PITChannel.Saved.Cycle) throws(RestoreError) {
    count = saved.count
    start = try PITTick(saved: saved.start)
  }
}
