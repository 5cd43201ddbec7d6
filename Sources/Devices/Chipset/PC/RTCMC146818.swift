package import Board
package import Inspection
package import SavedState
import Synchronization
package import Work

/// The real-time clock of a PC and its battery-backed memory ("CMOS").
///
/// The time is the guest clock's epoch and what has passed since, plus whatever the guest has set it
/// off by. Nothing runs here but an alarm for the next interrupt; a machine reset leaves time and
/// memory alone, as the battery does.
///
/// - SeeAlso: Motorola *MC146818 Real-Time Clock plus RAM* data sheet.
/// - SeeAlso: Intel *82371AB (PIIX4)* data sheet (290562), "RTC Registers", for the second bank.
package final class RTCMC146818 {
  // Wiring: fixed for the life of the device.
  private let interrupt: InterruptLine
  private let clock: any VMClock
  private let alarm: any Alarm
  // State: everything the guest can change.
  private let state: Mutex<State>

  /// `interrupt` is IRQ 8. Mapped on four ports, 0x70 on a PC.
  package init(interrupt: consuming InterruptLine, clock: any VMClock, loop: any Loop) {
    let backlink = Backlink<RTCMC146818>()
    self.interrupt = interrupt
    self.clock = clock
    alarm = clock.makeAlarm(on: loop) { backlink.device?.ring() }
    state = Mutex(State(epoch: clock.epoch))
    backlink.connect(to: self)
  }

  /// Lets the flags catch up with the clock, changes the chip, and then drives the wire.
  private func with<Result, Failure>(
    _ change: (inout State, VMInstant) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try state.withLock { (state) throws(Failure) in
      let now = clock.now
      state.advance(to: now)
      let result = try change(&state, now)
      interrupt.set(state.interruptRequested)
      arm(&state)
      return result
    }
  }

  /// Sets the alarm for the next interrupt, unless that is what it is set for.
  private func arm(_ state: inout State) {
    let deadline = state.isRunning ? state.nextInterrupt : nil
    guard deadline != state.armed else { return }
    state.armed = deadline
    alarm.set(deadline)
  }

  private func ring() {
    state.withLock { $0.armed = nil }
    with { _, _ in }
  }
}

// MARK: - What the machine kind sets

extension RTCMC146818 {
  /// Puts a byte into the memory, where firmware looks for it. Not one of the clock's registers.
  package func preset(_ value: UInt8, at index: UInt8) {
    state.withLock { $0.preset(value, at: index) }
  }

  /// Notes how much RAM there is, where firmware looks for it: 640 KiB of base memory, what lies
  /// above 1 MiB and above 16 MiB, and what lies above 4 GiB.
  package func presetMemorySize(below4GiB low: UInt64, above4GiB high: UInt64) {
    let above1MiB = low > 1 << 20 ? (low - 1 << 20) >> 10 : 0
    let above16MiB = low > 16 << 20 ? (low - 16 << 20) >> 16 : 0
    preset(min(640, low >> 10), bytes: 2, at: 0x15)
    preset(above1MiB, bytes: 2, at: 0x17)
    preset(above1MiB, bytes: 2, at: 0x30)
    preset(above16MiB, bytes: 2, at: 0x34)
    preset(high >> 16, bytes: 3, at: 0x5b)
  }

  /// A number, the least significant byte first; the largest that fits if it is too large.
  private func preset(_ value: UInt64, bytes: UInt8, at index: UInt8) {
    let value = min(value, 1 << (8 * UInt64(bytes)) - 1)
    for byte in 0..<bytes {
      preset(UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte))), at: index + byte)
    }
  }
}

// MARK: - What the guest sees

extension RTCMC146818: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    guard access.width == .byte else { throw .unsupportedWidth }
    return try UInt64(
      with { (state, now) throws(IOError) in
        switch access.offset {
        case 1: state.read(at: now)
        case 3: state.readExtended()
        default: throw .noSuchRegister  // the indices are only written
        }
      })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    guard access.width == .byte else { throw .unsupportedWidth }
    let value = UInt8(truncatingIfNeeded: value)
    try with { (state, now) throws(IOError) in
      switch access.offset {
      case 0: state.select(value)
      case 1: state.write(value, at: now)
      case 2: state.selectExtended(value)
      case 3: state.writeExtended(value)
      default: throw .noSuchRegister
      }
    }
  }
}

// MARK: - What the machine sees

extension RTCMC146818: Component {
  package static let schema = "rtc-mc146818/1"

  package struct Saved: Codable, Sendable {
    var memory: [UInt8]
    var extendedMemory: [UInt8]
    var index: UInt8
    var extendedIndex: UInt8
    var masksNMI: Bool
    var registerA: UInt8
    var registerB: UInt8
    var flags: UInt8
    /// From the guest clock's epoch to the guest's idea of it, in seconds.
    var offset: Int64
    var phase: UInt64
    var held: RTCCalendar?
    var seen: UInt64
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
      state.reset()
      interrupt.set(state.interruptRequested)
    }
  }

  package func save() -> Saved { state.withLock { $0.saved } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let restored = try State(saved, epoch: clock.epoch)
    state.withLock { state in
      state = restored
      interrupt.set(state.interruptRequested)
    }
  }

  package func inspect(_ node: inout Node) {
    let now = clock.now
    let state = state.withLock { $0 }
    node.reflect(state.calendar(at: now))
    node.hex("registerA", state.registerA.raw)
    node.hex("registerB", state.registerB.raw)
    node.hex("flags", state.flags.rawValue)
    node.field("interrupt", state.interruptRequested)
    node.field("masksNMI", state.masksNMI)
    node.field("offset", state.offset)
    node.redacted("memory", bytes: state.memory.count)
  }
}
