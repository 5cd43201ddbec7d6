import Bits
import SavedState
import Work

// MARK: - The chip itself

extension RTCMC146818 {
  /// Register A: MC146818, "Register A ($0A)". Bit 7, update in progress, is not kept here.
  struct RegisterA: RegisterBits {
    var raw: UInt8
    var rateSelection: UInt8 { self[bits: 0, 4] }
    /// DV: the divider chain is held in reset.
    var holdsDivider: Bool { self[bits: 5, 2] == 0b11 }

    /// How many pulses of the 32.768 kHz crystal a periodic interrupt takes; `nil`: there is none.
    var period: UInt64? {
      switch rateSelection {
      case 0: nil
      case 1: 1 << 7
      case 2: 1 << 8
      default: 1 << UInt64(rateSelection - 1)
      }
    }
  }

  /// Register B: MC146818, "Register B ($0B)".
  struct RegisterB: RegisterBits {
    var raw: UInt8
    /// SET: the time stands still to be written.
    var set: Bool { self[bit: 7] }
    /// PIE, AIE and UIE are where PF, AF and UF are in register C.
    var enabled: Flags { Flags(rawValue: raw).intersection(.all) }
    var format: RTCFormat { RTCFormat(isBinary: self[bit: 2], has24Hours: self[bit: 1]) }

    /// What the RESET pin clears: the three enables and the square wave.
    mutating func reset() { raw &= 0b1000_0111 }
  }

  /// Register C, without IRQF: MC146818, "Register C ($0C)".
  struct Flags: OptionSet, Sendable {
    let rawValue: UInt8
    static let update = Self(rawValue: 1 << 4)
    static let alarm = Self(rawValue: 1 << 5)
    static let periodic = Self(rawValue: 1 << 6)
    static let all: Self = [update, alarm, periodic]
    static let interruptRequest: UInt8 = 1 << 7
  }

  struct State: Sendable {
    static let bankSize = 128
    static let nanosecondsPerSecond: UInt64 = 1_000_000_000
    /// tBUC: how long before an update it is announced.
    static let updateWarning: UInt64 = 244_140
    /// Far beyond what the calendar can say, and far from where sums overflow.
    static let longestOffset: Int64 = 1 << 40

    /// The 128 bytes; those of the time and of the four registers are not used.
    private(set) var memory = [UInt8](repeating: 0, count: bankSize)
    private(set) var extendedMemory = [UInt8](repeating: 0, count: bankSize)
    private(set) var index: UInt8 = 0
    private(set) var extendedIndex: UInt8 = 0
    private(set) var masksNMI = false
    private(set) var registerA = RegisterA(raw: 0x26)
    private(set) var registerB = RegisterB(raw: 0x02)
    private(set) var flags: Flags = []

    /// The guest clock's idea of 1970, and how far the guest's is from it, in seconds.
    private let epoch: Int64
    private(set) var offset: Int64 = 0
    /// Where in a second the divider chain stood at guest time zero, in nanoseconds.
    private var phase: UInt64 = 0
    /// The time while it stands still.
    private var held: RTCCalendar?
    /// The divider's position up to which the flags are true.
    private var seen: UInt64 = 0

    var isRunning = false
    /// What the alarm is set for.
    var armed: VMInstant?

    init(epoch: Int64) {
      // Some 8700 years either way; the offset from there is then never too long to be restored.
      self.epoch = min(max(epoch, -Self.longestOffset / 4), Self.longestOffset / 4)
    }
  }

  /// Where things are in the first bank.
  enum Cell {
    static let seconds: UInt8 = 0x00
    static let secondsAlarm: UInt8 = 0x01
    static let minutes: UInt8 = 0x02
    static let minutesAlarm: UInt8 = 0x03
    static let hours: UInt8 = 0x04
    static let hoursAlarm: UInt8 = 0x05
    static let weekday: UInt8 = 0x06
    static let day: UInt8 = 0x07
    static let month: UInt8 = 0x08
    static let year: UInt8 = 0x09
    static let registerA: UInt8 = 0x0a
    static let registerB: UInt8 = 0x0b
    static let registerC: UInt8 = 0x0c
    static let registerD: UInt8 = 0x0d
    /// Where PCs keep the century, and ACPI's FADT says so.
    static let century: UInt8 = 0x32
  }
}

// MARK: - Registers

extension RTCMC146818.State {
  typealias Cell = RTCMC146818.Cell

  /// Port 0x70: bit 7 keeps non-maskable interrupts from the processor.
  mutating func select(_ value: UInt8) {
    index = value & 0x7f
    masksNMI = value & 0x80 != 0
  }

  mutating func selectExtended(_ value: UInt8) { extendedIndex = value & 0x7f }
  func readExtended() -> UInt8 { extendedMemory[Int(extendedIndex)] }
  mutating func writeExtended(_ value: UInt8) { extendedMemory[Int(extendedIndex)] = value }
  mutating func preset(_ value: UInt8, at index: UInt8) { memory[Int(index & 0x7f)] = value }

  mutating func read(at now: VMInstant) -> UInt8 {
    let format = registerB.format
    switch index {
    case Cell.seconds: return format.encode(calendar(at: now).second)
    case Cell.minutes: return format.encode(calendar(at: now).minute)
    case Cell.hours: return format.encode(hour: calendar(at: now).hour)
    case Cell.weekday: return format.encode(calendar(at: now).weekday)
    case Cell.day: return format.encode(calendar(at: now).day)
    case Cell.month: return format.encode(calendar(at: now).month)
    case Cell.year: return format.encode(calendar(at: now).year)
    case Cell.century: return format.encode(calendar(at: now).century)
    case Cell.registerA: return registerA.raw | (updateIsNear(at: now) ? 0x80 : 0)
    case Cell.registerB: return registerB.raw
    case Cell.registerC:
      defer { flags = [] }
      return flags.rawValue | (interruptRequested ? RTCMC146818.Flags.interruptRequest : 0)
    case Cell.registerD: return 0x80  // VRT: the battery was never empty
    default: return memory[Int(index)]
    }
  }

  mutating func write(_ value: UInt8, at now: VMInstant) {
    let format = registerB.format
    switch index {
    case Cell.seconds: setTime(at: now) { $0.second = format.decode(value) }
    case Cell.minutes: setTime(at: now) { $0.minute = format.decode(value) }
    case Cell.hours: setTime(at: now) { $0.hour = format.decode(hour: value) }
    case Cell.weekday: setTime(at: now) { $0.weekday = format.decode(value) }
    case Cell.day: setTime(at: now) { $0.day = format.decode(value) }
    case Cell.month: setTime(at: now) { $0.month = format.decode(value) }
    case Cell.year: setTime(at: now) { $0.year = format.decode(value) }
    case Cell.century: setTime(at: now) { $0.century = format.decode(value) }
    case Cell.registerA: control(.init(raw: value & 0x7f), registerB, at: now)
    case Cell.registerB:
      // Setting SET clears UIE.
      control(registerA, .init(raw: value & 0x80 == 0 ? value : value & ~0x10), at: now)
    case Cell.registerC, Cell.registerD: break
    default: memory[Int(index)] = value
    }
  }

  /// RESET clears what can interrupt; time and memory stay.
  mutating func reset() {
    registerB.reset()
    flags = []
    index = 0
    extendedIndex = 0
    masksNMI = false
  }
}

// MARK: - Time

extension RTCMC146818.State {
  /// The position of the divider chain: nanoseconds, of which whole seconds are updates.
  private func position(at now: VMInstant) -> UInt64 { now.advanced(by: phase).nanoseconds }

  private func second(at now: VMInstant) -> UInt64 {
    position(at: now) / Self.nanosecondsPerSecond
  }

  func calendar(at now: VMInstant) -> RTCCalendar {
    held ?? RTCCalendar(secondsSince1970: epoch + offset + Int64(second(at: now)))
  }

  private var timeStands: Bool { registerB.set || registerA.holdsDivider }

  private func updateIsNear(at now: VMInstant) -> Bool {
    !timeStands
      && position(at: now) % Self.nanosecondsPerSecond
        >= Self.nanosecondsPerSecond - Self.updateWarning
  }

  private mutating func setTime(at now: VMInstant, _ change: (inout RTCCalendar) -> Void) {
    var calendar = calendar(at: now)
    change(&calendar)
    if held != nil { held = calendar } else { resume(from: calendar, at: now) }
  }

  /// The time goes on from here.
  private mutating func resume(from calendar: RTCCalendar, at now: VMInstant) {
    offset = calendar.secondsSince1970 - epoch - Int64(second(at: now))
    held = nil
  }

  /// Registers A and B may stop the time, and let it go on. When the divider chain is let go, the
  /// first update follows half a second later: "Divider Control".
  private mutating func control(
    _ a: RTCMC146818.RegisterA, _ b: RTCMC146818.RegisterB, at now: VMInstant
  ) {
    let calendar = calendar(at: now)
    let dividerStarts = registerA.holdsDivider && !a.holdsDivider
    registerA = a
    registerB = b
    if dividerStarts {
      let second = Self.nanosecondsPerSecond
      phase = (second + second / 2 - now.nanoseconds % second) % second
      seen = position(at: now)
    }
    if timeStands {
      held = calendar
    } else if held != nil {
      resume(from: calendar, at: now)
    }
  }
}

// MARK: - Interrupts

extension RTCMC146818.State {
  private static let crystal = Oscillator(frequency: 32_768)

  var interruptRequested: Bool { !flags.isDisjoint(with: registerB.enabled) }

  /// Raises the flags of all that happened up to now.
  mutating func advance(to now: VMInstant) {
    let position = position(at: now)
    guard !registerA.holdsDivider, position > seen else { return }
    let before = seen
    seen = position
    if let period = registerA.period,
      Self.pulses(position) / period != Self.pulses(before) / period
    {
      flags.insert(.periodic)
    }
    let last = before / Self.nanosecondsPerSecond
    let second = position / Self.nanosecondsPerSecond
    guard second > last, !registerB.set else { return }
    flags.insert(.update)
    if let match = nextAlarm(after: last), match <= second { flags.insert(.alarm) }
  }

  /// When the next flag rises that is enabled; `nil` while one is up, since the wire is high already.
  var nextInterrupt: VMInstant? {
    guard !interruptRequested, !registerA.holdsDivider else { return nil }
    var next: [UInt64] = []
    if registerB.enabled.contains(.periodic), let period = registerA.period {
      next.append(Self.position(ofPulse: (Self.pulses(seen) / period + 1) * period))
    }
    if !registerB.set {
      let second = seen / Self.nanosecondsPerSecond
      if registerB.enabled.contains(.update) { next.append(Self.position(ofSecond: second + 1)) }
      if registerB.enabled.contains(.alarm), let match = nextAlarm(after: second) {
        next.append(Self.position(ofSecond: match))
      }
    }
    return next.min().map { VMInstant(nanoseconds: $0 > phase ? $0 - phase : 0) }
  }

  /// The first second after `last` whose time of day is the alarm's; `nil` if there is no such time.
  /// Alarm registers of 0xC0 and above match anything: "Alarm", "don't care".
  private func nextAlarm(after last: UInt64) -> UInt64? {
    let format = registerB.format
    let hour = memory[Int(Cell.hoursAlarm)]
    let minute = memory[Int(Cell.minutesAlarm)]
    let second = memory[Int(Cell.secondsAlarm)]
    let today = RTCCalendar(secondsSince1970: epoch + offset + Int64(last))
    let start = Int(today.hour) * 3600 + Int(today.minute) * 60 + Int(today.second)
    var time = start + 1
    while time <= start + 86_400 {
      if hour < 0xc0, time / 3600 % 24 != Int(format.decode(hour: hour)) {
        time = (time / 3600 + 1) * 3600
      } else if minute < 0xc0, time / 60 % 60 != Int(format.decode(minute)) {
        time = (time / 60 + 1) * 60
      } else if second < 0xc0, time % 60 != Int(format.decode(second)) {
        time += 1
      } else {
        return last + UInt64(time - start)
      }
    }
    return nil
  }

  /// Pulses of the crystal up to a position.
  private static func pulses(_ position: UInt64) -> UInt64 {
    crystal.ticks(at: VMInstant(nanoseconds: position))
  }

  /// The first position that belongs to a pulse, or the last there is.
  private static func position(ofPulse pulse: UInt64) -> UInt64 {
    crystal.moment(of: pulse)?.nanoseconds ?? .max
  }

  private static func position(ofSecond second: UInt64) -> UInt64 {
    let (product, overflow) = second.multipliedReportingOverflow(by: nanosecondsPerSecond)
    return overflow ? .max : product
  }
}

// MARK: - Saving

extension RTCMC146818.State {
  var saved: RTCMC146818.Saved {
    RTCMC146818.Saved(
      memory: memory, extendedMemory: extendedMemory, index: index, extendedIndex: extendedIndex,
      masksNMI: masksNMI, registerA: registerA.raw, registerB: registerB.raw,
      flags: flags.rawValue, offset: offset, phase: phase, held: held, seen: seen)
  }

  init(_ saved: RTCMC146818.Saved, epoch: Int64) throws(RestoreError) {
    self.init(epoch: epoch)
    memory = saved.memory
    extendedMemory = saved.extendedMemory
    index = saved.index
    extendedIndex = saved.extendedIndex
    masksNMI = saved.masksNMI
    registerA = .init(raw: saved.registerA)
    registerB = .init(raw: saved.registerB)
    flags = .init(rawValue: saved.flags)
    offset = saved.offset
    phase = saved.phase
    held = saved.held
    seen = saved.seen
    guard memory.count == Self.bankSize, extendedMemory.count == Self.bankSize, index < 0x80,
      extendedIndex < 0x80, registerA.raw < 0x80, flags.isSubset(of: .all),
      offset.magnitude <= Self.longestOffset.magnitude, phase < Self.nanosecondsPerSecond,
      (held != nil) == timeStands
    else { throw .refused(part: "rtc-mc146818", reason: "no clock can be in that state") }
  }
}
