package import Board
package import Inspection
package import SavedState
import Synchronization

/// The reset control register, port CF9h: what ACPI's reset register points at.
///
/// - SeeAlso: Intel *ICH9 Family* data sheet (316972-004), §13.7.5 "RST_CNT—Reset Control Register".
/// - Note: The port lies inside PCI's CONFIG_ADDRESS; `PCIHost` lets accesses through that are not its own.
package final class ResetControl {
  // Wiring: fixed for the life of the device.
  private let control: any MachineControl
  // State: everything the guest can change.
  private let state = Mutex(State())

  package init(control: any MachineControl) { self.control = control }
}

// MARK: - What the guest sees

extension ResetControl: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    try check(access)
    return UInt64(state.withLock { $0.value })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    try check(access)
    if state.withLock({ $0.write(UInt8(truncatingIfNeeded: value)) }) { control.requestReset() }
  }

  private func check(_ access: Access) throws(IOError) {
    guard access.offset == 0 else { throw .noSuchRegister }
    guard access.width == .byte else { throw .unsupportedWidth }
  }
}

// MARK: - What the machine sees

extension ResetControl: Component {
  package static let schema = "reset-control/1"

  package struct Saved: Codable, Sendable {
    var value: UInt8
  }

  package func reset() { state.withLock { $0 = State() } }

  package func save() -> Saved { state.withLock { Saved(value: $0.value) } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.value & ~State.all == 0 else {
      throw .refused(part: "reset control", reason: "a reserved bit is set")
    }
    state.withLock { $0.value = saved.value }
  }

  package func inspect(_ node: inout Node) { node.hex("value", state.withLock { $0.value }) }
}

// MARK: - The chip itself

extension ResetControl {
  struct State {
    /// RST_CPU: going from 0 to 1 resets, hard or soft as SYS_RST (bit 1) says, and with a power cycle if
    /// FULL_RST (bit 3) says so. Here all resets are the same.
    static let reset: UInt8 = 1 << 2
    static let all: UInt8 = 0b1110

    var value: UInt8 = 0

    /// Answers whether the machine is to be reset.
    mutating func write(_ new: UInt8) -> Bool {
      defer { value = new & Self.all }
      return new & ~value & Self.reset != 0
    }
  }
}
