package import Board
package import Inspection
package import SavedState

/// A port that ends the machine with the value written to it: how test guests report their result.
///
/// It takes bytes, words and doublewords, at any of its ports.
///
/// - Note: The device is QEMU's `isa-debug-exit` by its guest-visible behaviour.
package final class DebugExit {
  // Wiring: fixed for the life of the device. There is no state.
  private let control: any MachineControl

  package init(control: any MachineControl) { self.control = control }
}

// MARK: - What the guest sees

extension DebugExit: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 { 0 }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    guard access.width != .quadword else { throw .unsupportedWidth }
    control.exitForDebug(UInt32(truncatingIfNeeded: value & access.width.mask))
  }
}

// MARK: - What the machine sees

extension DebugExit: Component {
  package static let schema = "debug-exit/1"
  package typealias Saved = Stateless

  package func reset() {}
  package func save() -> Saved { Stateless() }
  package func restore(_ saved: Saved) throws(RestoreError) {}
  package func inspect(_ node: inout Node) { node.field("state", "none") }
}
