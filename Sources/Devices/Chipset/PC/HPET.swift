package import Board
package import Inspection
package import SavedState
import Synchronization
package import Work

/// The high precision event timer: a 64-bit counter of 10 ns and three comparators.
///
/// It stands between the 8254 and the real-time clock on one side, and IRQ 0 and IRQ 8 on the other: in
/// the legacy replacement mapping its first two comparators take their place. Those two devices drive
/// pins 0 and 8 of this controller.
///
/// - SeeAlso: Intel *IA-PC HPET Specification* 1.0a (October 2004), §2.3 "Register Definitions", §2.4.
/// - Note: An edge-triggered interrupt falls and rises with each match, instead of being a short pulse:
///   an 8259 forgets a request that is gone before it is acknowledged.
package final class HPET {
  // Wiring: fixed for the life of the device.
  private let irq0: InterruptLine
  private let irq8: InterruptLine
  private let pins: any InterruptController
  private let clock: any VMClock
  private let alarm: any Alarm
  // State: everything the guest can change.
  private let state: Mutex<(chip: State, driven: Outputs, alarm: VMInstant?)>

  /// The low half of the capabilities register, as ACPI's HPET table repeats it.
  package static let blockID: UInt32 = 0x8086_a201

  /// - Parameters:
  ///   - irq0: the timer interrupt of the PC, through this device.
  ///   - irq8: the real-time clock's interrupt, likewise.
  ///   - pins: the I/O APIC, whose pins the comparators may be routed to.
  ///   - routes: which of its pins, a bit each.
  package init(
    irq0: consuming InterruptLine, irq8: consuming InterruptLine, pins: any InterruptController,
    routes: UInt32 = 1 << 10 | 1 << 11, clock: any VMClock, loop: any Loop
  ) {
    let backlink = Backlink<HPET>()
    self.irq0 = irq0
    self.irq8 = irq8
    self.pins = pins
    self.clock = clock
    alarm = clock.makeAlarm(on: loop) { backlink.device?.alarmRang() }
    state = Mutex((State(routes: routes), Outputs(), nil))
    backlink.connect(to: self)
  }

  /// Changes the chip, and brings pins and alarm in line with it.
  @discardableResult
  private func with<Result: Sendable>(
    _ change: (inout State, VMInstant) -> Result
  ) -> Result {
    state.withLock { state in
      let now = clock.now
      state.chip.update(at: now)
      let result = change(&state.chip, now)
      state.chip.update(at: now)
      drive(state.chip.takePulses().intersection(state.driven), false)
      let outputs = state.chip.outputs
      drive(state.driven.subtracting(outputs), false)
      drive(outputs, true)
      state.driven = outputs
      let moment = state.chip.nextInterrupt(after: now)
      if moment != state.alarm { alarm.set(moment) }
      state.alarm = moment
      return result
    }
  }

  private func alarmRang() {
    state.withLock { $0.alarm = nil }  // it is spent
    with { _, _ in }
  }

  /// Driving a pin to the level it has changes nothing.
  private func drive(_ outputs: Outputs, _ asserted: Bool) {
    if outputs.contains(.irq0) { irq0.set(asserted) }
    if outputs.contains(.irq8) { irq8.set(asserted) }
    var rest = outputs.pins
    while rest != 0 {
      pins.set(UInt32(rest.trailingZeroBitCount), asserted: asserted)
      rest &= rest &- 1
    }
  }
}

// MARK: - What the 8254 and the real-time clock drive

extension HPET: InterruptController {
  package func set(_ pin: UInt32, asserted: Bool) {
    let input: Outputs
    switch pin {
    case 0: input = .irq0
    case 8: input = .irq8
    default: return
    }
    with { chip, _ in
      if asserted { chip.inputs.insert(input) } else { chip.inputs.remove(input) }
    }
  }
}

// MARK: - What the guest sees

extension HPET: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    let (register, shift) = try place(access)
    let value = state.withLock { state in
      let now = clock.now
      state.chip.update(at: now)
      return state.chip.read(register, at: now)
    }
    return value >> shift & access.width.mask
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let (register, shift) = try place(access)
    let lanes = access.width.mask << shift
    with { chip, now in chip.write(value << shift & lanes, lanes: lanes, to: register, at: now) }
  }

  /// The 64-bit register and which half of it: §2.3.1, aligned accesses of 32 and 64 bits.
  private func place(_ access: Access) throws(IOError) -> (Register, UInt64) {
    guard access.width == .doubleword || access.width == .quadword else { throw .unsupportedWidth }
    guard access.offset % access.width.bytes == 0 else { throw .misaligned }
    guard let register = Register(offset: access.offset & ~7) else { throw .noSuchRegister }
    return (register, (access.offset & 4) * 8)
  }
}

// MARK: - What the machine sees

extension HPET: Component {
  package static let schema = "hpet/1"

  package struct Saved: Codable, Sendable {
    struct Comparator: Codable, Sendable {
      var configuration: UInt32
      var value: UInt64
      var period: UInt64
      var checked: UInt64
      var edge: Bool
    }
    var configuration: UInt8
    var status: UInt8
    /// Where the counter stands if it is halted; what is added to the oscillator's ticks if it is not.
    var counter: UInt64
    var comparators: [Comparator]
    var inputs: UInt64
  }

  package func reset() { with { chip, _ in chip.reset() } }

  package func save() -> Saved {
    state.withLock { state in
      var chip = state.chip
      chip.update(at: clock.now)
      return chip.saved
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let routes = state.withLock { $0.chip.routes }
    let restored = try State(saved, routes: routes)
    with { chip, _ in chip = restored }
  }

  package func inspect(_ node: inout Node) {
    let chip = state.withLock { $0.chip }
    chip.inspect(&node, at: clock.now)
  }
}
