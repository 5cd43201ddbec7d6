import Bits
package import Board
package import Inspection
package import SavedState
import Synchronization
package import Work

/// The fixed hardware of ACPI: power button, sleep control, power-management timer, general-purpose events.
///
/// It is in ACPI mode from power-on: there is no SMI command port to switch modes with.
///
/// - SeeAlso: ACPI 6.5 §4.8 "ACPI Register Model".
package final class ACPIPowerManagement {
  /// The register blocks; the number with which each is mapped onto the port bus.
  package enum Block: UInt8, Sendable {
    /// PM1 status and enable, two bytes each: §4.8.3.1 "PM1 Event Grouping".
    case event
    /// PM1 control, two bytes: §4.8.3.2 "PM1 Control Grouping".
    case control
    /// The timer, four bytes: §4.8.3.3 "Power Management Timer (PM_TMR)".
    case timer
    /// General-purpose event status and enable, two bytes each: §4.8.4.1.
    case generalPurposeEvents

    package var length: UInt64 { self == .control ? 2 : 4 }
  }

  // Wiring: fixed for the life of the device.
  private let interrupt: InterruptLine
  private let clock: any VMClock
  private let control: any MachineControl
  private let sleepTypes: SleepTypes
  private let alarm: any Alarm
  // State: everything the guest can change.
  private let state: Mutex<State>

  /// What the guest writes to SLP_TYP for each sleep state, as its firmware tells it.
  package struct SleepTypes: Sendable {
    package var softOff: UInt8
    /// By SLP_TYP, the S-state that it stands for.
    package var others: [UInt8: Int]

    package init(softOff: UInt8 = 0, others: [UInt8: Int] = [:]) {
      self.softOff = softOff
      self.others = others
    }
  }

  /// - Parameters:
  ///   - interrupt: the SCI.
  ///   - timerHas32Bits: whether the timer counts 32 bits or 24.
  package init(
    interrupt: consuming InterruptLine, clock: any VMClock, loop: any Loop,
    control: any MachineControl, sleepTypes: SleepTypes = SleepTypes(), timerHas32Bits: Bool = true
  ) {
    let backlink = Backlink<ACPIPowerManagement>()
    self.interrupt = interrupt
    self.clock = clock
    self.control = control
    self.sleepTypes = sleepTypes
    alarm = clock.makeAlarm(on: loop) { backlink.device?.with { _, _ in } }
    state = Mutex(State(timerBits: timerHas32Bits ? 32 : 24, at: clock.now))
    backlink.connect(to: self)
  }

  /// Changes the chip, and brings the SCI and the alarm in line with it.
  @discardableResult
  private func with<Result: Sendable>(_ change: (inout State, VMInstant) -> Result) -> Result {
    state.withLock { state in
      let now = clock.now
      let result = change(&state, now)
      state.update(at: now)
      interrupt.set(state.interruptPending)
      alarm.set(state.nextTimerEvent)
      return result
    }
  }
}

// MARK: - What the machine's owner does

extension ACPIPowerManagement {
  /// The user presses the power button: a guest that wants to know is asked to shut down.
  package func pressPowerButton() { with { state, _ in state.status.insert(.powerButton) } }

  /// The machine woke from the sleep that the guest asked for.
  package func wake() { with { state, _ in state.status.insert(.wake) } }

  /// A device raises a general-purpose event, 0 to 15.
  package func raise(event: Int) {
    guard 0..<16 ~= event else { return }
    with { state, _ in state.generalStatus |= 1 << UInt16(event) }
  }
}

// MARK: - What the guest sees

extension ACPIPowerManagement: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    let (block, shift) = try place(access)
    let value = state.withLock { $0.read(block, at: clock.now) }
    return UInt64(value) >> shift & access.width.mask
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let (block, shift) = try place(access)
    let lanes = UInt32(truncatingIfNeeded: access.width.mask << shift)
    let data = UInt32(truncatingIfNeeded: value << shift) & lanes
    let sleepType = with { state, now in state.write(data, lanes: lanes, to: block, at: now) }
    if let sleepType { sleep(sleepType) }
  }

  /// The block, and how far into it the access starts, in bits. Blocks take bytes, words and doublewords.
  private func place(_ access: Access) throws(IOError) -> (Block, UInt64) {
    guard let block = Block(rawValue: access.region), access.offset < block.length else {
      throw .noSuchRegister
    }
    guard access.width.bytes <= block.length - access.offset else { throw .unsupportedWidth }
    return (block, access.offset * 8)
  }

  private func sleep(_ type: UInt8) {
    if type == sleepTypes.softOff {
      control.requestPowerOff()
    } else if let state = sleepTypes.others[type] {
      control.requestSleep(state)
    }
  }
}

// MARK: - What the machine sees

extension ACPIPowerManagement: Component {
  package static let schema = "acpi-power-management/1"

  package struct Saved: Codable, Sendable {
    var status: UInt16
    var enable: UInt16
    var sleepType: UInt8
    var busMasterReload: Bool
    var generalStatus: UInt16
    var generalEnable: UInt16
    var timerPhase: UInt64
  }

  package func reset() {
    with { state, now in state = State(timerBits: state.timerBits, at: now) }
  }

  package func save() -> Saved {
    state.withLock { state in
      var state = state
      state.update(at: clock.now)
      return state.saved
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let timerBits = state.withLock { $0.timerBits }
    let restored = try State(saved, timerBits: timerBits)
    with { state, _ in state = restored }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("interrupt", state.interruptPending)
    node.hex("status", state.status.rawValue)
    node.hex("enable", state.enable.rawValue)
    node.hex("control", state.control)
    node.hex("generalStatus", state.generalStatus)
    node.hex("generalEnable", state.generalEnable)
    node.field("timer", state.timer(at: clock.now))
  }
}

// MARK: - The chip itself

extension ACPIPowerManagement {
  /// Bits of PM1 status and PM1 enable: ACPI 6.5 §4.8.3.1, tables "PM1 Status Registers Fixed Hardware Feature
  /// Status Bits" and "PM1 Enable Registers Fixed Hardware Feature Enable Bits".
  struct Events: OptionSet, Codable {
    let rawValue: UInt16
    /// The highest bit of the timer changed.
    static let timer = Events(rawValue: 1 << 0)
    static let global = Events(rawValue: 1 << 5)
    static let powerButton = Events(rawValue: 1 << 8)
    /// Kept as the guest sets it: drivers check that, although the alarm of the real-time clock comes by its own
    /// interrupt.
    static let realTimeClock = Events(rawValue: 1 << 10)
    static let wake = Events(rawValue: 1 << 15)
    static let enabling: Events = [.timer, .global, .powerButton, .realTimeClock]
    static let all: Events = [.timer, .global, .powerButton, .wake]
  }

  struct State {
    /// 24 or 32.
    let timerBits: UInt64
    var status: Events = []
    var enable: Events = []
    /// SLP_TYP.
    var sleepType: UInt8 = 0
    /// BM_RLD: kept for the guest; there is no processor state C3 that it could end.
    var busMasterReload = false
    var generalStatus: UInt16 = 0
    var generalEnable: UInt16 = 0
    /// How often the timer's highest bit had changed when that was last noticed.
    var timerPhase: UInt64

    /// §4.8.3.3: 3.579545 MHz, a quarter of the PC's crystal.
    static let oscillator = Oscillator(frequency: 3_579_545)

    init(timerBits: UInt64, at now: VMInstant) {
      self.timerBits = timerBits
      timerPhase = 0
      timerPhase = phase(at: now)
    }
  }
}

extension ACPIPowerManagement.State {
  /// Whether the SCI is asserted.
  var interruptPending: Bool {
    !status.intersection(enable).isEmpty || generalStatus & generalEnable != 0
  }

  func timer(at now: VMInstant) -> UInt32 {
    UInt32(truncatingIfNeeded: Self.oscillator.ticks(at: now) & ((1 << timerBits) - 1))
  }

  private func phase(at now: VMInstant) -> UInt64 {
    Self.oscillator.ticks(at: now) >> (timerBits - 1)
  }

  /// Takes note of the time.
  mutating func update(at now: VMInstant) {
    let phase = phase(at: now)
    if phase != timerPhase { status.insert(.timer) }
    timerPhase = phase
  }

  /// When the timer will next raise the SCI.
  var nextTimerEvent: VMInstant? {
    guard enable.contains(.timer), !status.contains(.timer) else { return nil }
    let (next, overflow) = timerPhase.addingReportingOverflow(1)
    return overflow ? nil : Self.oscillator.moment(of: next << (timerBits - 1))
  }

  /// PM1 control: ACPI 6.5 §4.8.3.2.1. SCI_EN is always set, SLP_EN and GBL_RLS read as zero.
  var control: UInt16 { 1 | (busMasterReload ? 2 : 0) | UInt16(sleepType) << 10 }

  mutating func read(_ block: ACPIPowerManagement.Block, at now: VMInstant) -> UInt32 {
    update(at: now)
    return switch block {
    case .event: UInt32(status.rawValue) | UInt32(enable.rawValue) << 16
    case .control: UInt32(control)
    case .timer: timer(at: now)
    case .generalPurposeEvents: UInt32(generalStatus) | UInt32(generalEnable) << 16
    }
  }

  /// Writes the bytes of a block that `lanes` has ones for. Answers SLP_TYP if the guest goes to sleep.
  mutating func write(
    _ data: UInt32, lanes: UInt32, to block: ACPIPowerManagement.Block, at now: VMInstant
  ) -> UInt8? {
    update(at: now)
    let (low, high) = (UInt16(truncatingIfNeeded: data), UInt16(truncatingIfNeeded: data >> 16))
    let highLanes = UInt16(truncatingIfNeeded: lanes >> 16)
    switch block {
    case .event:
      status.subtract(.init(rawValue: low))
      enable = .init(rawValue: enable.rawValue & ~highLanes | high).intersection(.enabling)
    case .control:
      return writeControl(control & ~UInt16(truncatingIfNeeded: lanes) | low)
    case .timer: break
    case .generalPurposeEvents:
      generalStatus &= ~low
      generalEnable = generalEnable & ~highLanes | high
    }
    return nil
  }

  private mutating func writeControl(_ value: UInt16) -> UInt8? {
    busMasterReload = value & 2 != 0
    sleepType = UInt8(value >> 10 & 7)
    return value & 1 << 13 != 0 ? sleepType : nil
  }

  var saved: ACPIPowerManagement.Saved {
    ACPIPowerManagement.Saved(
      status: status.rawValue, enable: enable.rawValue, sleepType: sleepType,
      busMasterReload: busMasterReload, generalStatus: generalStatus, generalEnable: generalEnable,
      timerPhase: timerPhase)
  }

  init(_ saved: ACPIPowerManagement.Saved, timerBits: UInt64) throws(RestoreError) {
    guard ACPIPowerManagement.Events.all.isSuperset(of: .init(rawValue: saved.status)),
      ACPIPowerManagement.Events.enabling.isSuperset(of: .init(rawValue: saved.enable)),
      saved.sleepType < 8
    else { throw .refused(part: "acpi", reason: "a reserved bit is set") }
    guard saved.timerPhase < 1 << (64 - timerBits) else {
      throw .refused(part: "acpi", reason: "the timer is out of range")
    }
    self.timerBits = timerBits
    status = .init(rawValue: saved.status)
    enable = .init(rawValue: saved.enable)
    sleepType = saved.sleepType
    busMasterReload = saved.busMasterReload
    generalStatus = saved.generalStatus
    generalEnable = saved.generalEnable
    timerPhase = saved.timerPhase
  }
}
