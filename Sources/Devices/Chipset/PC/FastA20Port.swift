package import Board
package import Inspection
package import SavedState
import Synchronization

/// Port 92h, system control port A: the quick way to the A20 gate, and to a reset.
///
/// The gate is open at power-on: guests are started without a BIOS that would open it.
///
/// - SeeAlso: Intel *ICH9 Family* data sheet (316972-004), §13.7.3 "PORT92—Fast A20 and Init Register".
package final class FastA20Port {
  // Wiring: fixed for the life of the device.
  private let control: any MachineControl
  // State: everything the guest can change.
  private let state = Mutex(State())

  package init(control: any MachineControl) { self.control = control }
}

// MARK: - What the guest sees

extension FastA20Port: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    try check(access)
    return UInt64(value)
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    try check(access)
    let value = UInt8(truncatingIfNeeded: value)
    control.setA20(value & State.gate != 0)
    if state.withLock({ $0.write(value) }) { control.requestReset() }
  }

  private var value: UInt8 {
    state.withLock { $0.value } | (control.isA20Open ? State.gate : 0)
  }

  private func check(_ access: Access) throws(IOError) {
    guard access.offset == 0 else { throw .noSuchRegister }
    guard access.width == .byte else { throw .unsupportedWidth }
  }
}

// MARK: - What the machine sees

extension FastA20Port: Component {
  package static let schema = "fast-a20/1"

  package struct Saved: Codable, Sendable {
    var value: UInt8
  }

  package func reset() {
    state.withLock { $0 = State() }
    control.setA20(true)
  }

  package func save() -> Saved { Saved(value: value) }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.value & ~State.all == 0 else {
      throw .refused(part: "port 92h", reason: "a reserved bit is set")
    }
    state.withLock { $0.value = saved.value & State.reset }
    control.setA20(saved.value & State.gate != 0)
  }

  package func inspect(_ node: inout Node) {
    node.hex("value", value)
  }
}

// MARK: - The chip itself

extension FastA20Port {
  struct State {
    /// INIT_NOW: going from 0 to 1 resets.
    static let reset: UInt8 = 1 << 0
    /// ALT_A20_GATE.
    static let gate: UInt8 = 1 << 1
    static let all = reset | gate

    /// The reset bit; the gate is the machine's.
    var value: UInt8 = 0

    /// Answers whether the machine is to be reset.
    mutating func write(_ new: UInt8) -> Bool {
      defer { value = new & Self.reset }
      return new & ~value & Self.reset != 0
    }
  }
}
