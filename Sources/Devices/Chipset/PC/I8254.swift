package import Board
package import Inspection
package import SavedState
import Synchronization
package import Work

/// The 8254 interval timer of a PC, and the system control port next to it.
///
/// Channel 0 ticks on IRQ 0, channel 1 once refreshed the RAM, channel 2 makes the speaker's tone and
/// is gated by port 0x61. Nothing counts here: a counter's value is worked out from the guest's clock
/// when it is read, and is exact however late the loop runs. Ticks that the loop was too late for are
/// not made up for: they come together, as one.
///
/// - SeeAlso: Intel *82C54 CHMOS Programmable Interval Timer* data sheet (231244-006, October 1994).
/// - SeeAlso: IBM *Personal System/2 Hardware Interface Technical Reference* (1988), "System Control
///   Port B (Hex 0061)".
package final class I8254 {
  /// The register blocks, by the region they are mapped with.
  package enum Block: UInt8, Sendable {
    /// Four ports: 0x40 on a PC.
    case timer = 0
    /// One port: 0x61.
    case systemControlB = 1
  }

  // Wiring: fixed for the life of the device.
  private let interrupt: InterruptLine
  private let clock: any VMClock
  private let alarm: any Alarm
  // State: everything the guest can change.
  private let state = Mutex(State())

  package init(interrupt: consuming InterruptLine, clock: any VMClock, loop: any Loop) {
    let backlink = Backlink<I8254>()
    self.interrupt = interrupt
    self.clock = clock
    alarm = clock.makeAlarm(on: loop) { backlink.device?.ring() }
    backlink.connect(to: self)
  }

  /// Lets the counters catch up with the clock, changes them, and then drives channel 0's wire. The
  /// alarm is set under the lock, so that it always stands for the newest state.
  private func with<Result>(_ change: (inout State, PITTick) -> Result) -> Result {
    state.withLock { state in
      let now = PITTick(at: clock.now)
      if state.advance(to: now) {
        interrupt.set(false)  // a pulse: what counts is the rise
        interrupt.set(true)
      }
      let result = change(&state, now)
      state.scheduleTick(after: now)
      interrupt.set(state.channels[0].idleLevel(at: now))
      arm(&state)
      return result
    }
  }

  /// Sets the alarm for the next tick, unless that is what it is set for.
  private func arm(_ state: inout State) {
    let deadline = state.isRunning ? state.nextTick : nil
    guard deadline != state.armed else { return }
    state.armed = deadline
    alarm.set(deadline?.instant)
  }

  private func ring() {
    state.withLock { $0.armed = nil }
    with { _, _ in }
  }
}

// MARK: - What the guest sees

extension I8254: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    switch try register(access) {
    case .channel(let index): UInt64(with { $0.channels[index].read(at: $1) })
    case .controlWord: throw .noSuchRegister
    case .systemControlB: UInt64(with { $0.systemControl(at: $1) })
    }
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let value = UInt8(truncatingIfNeeded: value)
    switch try register(access) {
    case .channel(let index): with { $0.channels[index].write(value, at: $1) }
    case .controlWord: with { $0.control(value, at: $1) }
    case .systemControlB: with { $0.setSystemControl(value, at: $1) }
    }
  }

  private enum Register {
    case channel(Int)
    case controlWord
    case systemControlB
  }

  private func register(_ access: Access) throws(IOError) -> Register {
    guard access.width == .byte else { throw .unsupportedWidth }
    switch (Block(rawValue: access.region), access.offset) {
    case (.timer, 0): return .channel(0)
    case (.timer, 1): return .channel(1)
    case (.timer, 2): return .channel(2)
    case (.timer, 3): return .controlWord
    case (.systemControlB, 0): return .systemControlB
    default: throw .noSuchRegister
    }
  }
}

// MARK: - What the machine sees

extension I8254: Component {
  package static let schema = "i8254/1"

  package struct Saved: Codable, Sendable {
    var channels: [PITChannel.Saved]
    var systemControl: UInt8
    var nextTick: Int64?
  }

  package func start() { with { state, _ in state.isRunning = true } }

  package func stop(_ rest: Barrier) {
    state.withLock { state in
      state.isRunning = false
      arm(&state)
    }
  }

  package func reset() {
    state.withLock { state in
      state.isRunning = false
      arm(&state)
      state = State()
      interrupt.set(false)
    }
  }

  package func save() -> Saved { state.withLock { $0.saved } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let restored = try State(saved)
    state.withLock { state in
      state = restored
      interrupt.set(state.channels[0].idleLevel(at: PITTick(at: clock.now)))
    }
  }

  package func inspect(_ node: inout Node) {
    let now = PITTick(at: clock.now)
    let state = state.withLock { $0 }
    node.hex("systemControl", state.systemControl(at: now))
    for (index, channel) in state.channels.enumerated() {
      node.child("channel\(index)") { channel.inspect(&$0, at: now) }
    }
    node.field("ticksDelivered", state.ticksDelivered)
  }
}

// MARK: - The chip itself

extension I8254 {
  struct State: Sendable {
    /// Three, always.
    var channels = [PITChannel(), PITChannel(), PITChannel(gate: false)]
    /// Port 0x61, bits 0 to 3: timer 2 gate, speaker data, and two parity checks that never fail.
    private var enables: UInt8 = 0
    /// When channel 0's output rises next; `nil`: not by itself.
    private(set) var nextTick: PITTick?
    /// Not before this: the last tick was delivered only a short while ago.
    private var earliestTick: PITTick?
    private(set) var ticksDelivered: UInt64 = 0
    var isRunning = false
    /// What the alarm is set for.
    var armed: PITTick?

    /// The shortest time between two ticks of the same count, about 100 µs: a guest that asks for
    /// more gets them together, and cannot keep the loop from its other work.
    private static let shortestPeriod: Int64 = 120
  }
}

extension I8254.State {
  /// Lets the counters catch up; whether channel 0 has ticked meanwhile, once or more often.
  mutating func advance(to now: PITTick) -> Bool {
    let ticked = nextTick.map { $0 <= now } ?? false
    for index in channels.indices { channels[index].advance(to: now) }
    if ticked {
      ticksDelivered &+= 1
      earliestTick = now + Self.shortestPeriod
    }
    return ticked
  }

  /// Works out when channel 0 ticks next.
  mutating func scheduleTick(after now: PITTick) {
    nextTick = channels[0].nextRise(after: now)
    if channels[0].isPeriodic, let next = nextTick, let earliestTick {
      nextTick = max(next, earliestTick)
    }
  }

  /// A write to the control word register: a channel's control word, or the read-back command.
  /// 82C54, "Control Word Format" and "Read-Back Command".
  mutating func control(_ value: UInt8, at now: PITTick) {
    let selected = Int(value >> 6)
    guard selected == 3 else {
      channels[selected].control(PITChannel.ControlWord(raw: value), at: now)
      return
    }
    for index in channels.indices where value & (2 << UInt8(truncatingIfNeeded: index)) != 0 {
      if value & 0x20 == 0 { channels[index].latchCount(at: now) }
      if value & 0x10 == 0 { channels[index].latchStatus(at: now) }
    }
  }

  /// Port 0x61 when read: bit 4 toggles with every refresh of the RAM, bit 5 is channel 2's output.
  func systemControl(at now: PITTick) -> UInt8 {
    let refresh: UInt8 = (now.count / Self.refreshPeriod) & 1 == 0 ? 0 : 0x10
    return enables | refresh | (channels[2].output(at: now) ? 0x20 : 0)
  }

  /// One row of RAM is refreshed every 18 ticks, about 15 µs.
  private static let refreshPeriod: Int64 = 18

  mutating func setSystemControl(_ value: UInt8, at now: PITTick) {
    enables = value & 0x0f
    channels[2].setGate(value & 0x01 != 0, at: now)
  }
}

extension I8254.State {
  var saved: I8254.Saved {
    I8254.Saved(
      channels: channels.map(\.saved), systemControl: enables, nextTick: nextTick?.count)
  }

  init(_ saved: I8254.Saved) throws(RestoreError) {
    guard saved.channels.count == 3, saved.systemControl <= 0x0f,
      saved.channels[0].gate, saved.channels[1].gate,
      saved.channels[2].gate == (saved.systemControl & 0x01 != 0)
    else { throw .refused(part: "i8254", reason: "no 8254 of a PC can be in that state") }
    var channels: [PITChannel] = []
    for channel in saved.channels { channels.append(try PITChannel(channel)) }
    self.channels = channels
    enables = saved.systemControl
    if let tick = saved.nextTick { nextTick = try PITTick(saved: tick) }
  }
}
