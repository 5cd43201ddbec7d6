import Synchronization

/// How an alarm or a doorbell finds the device that owns it.
///
/// The closure that answers is made before the device is whole, and the device keeps it; so it holds
/// a backlink, which is filled in at the end of the device's initialiser and keeps nothing alive.
package final class Backlink<Device: AnyObject & Sendable>: Sendable {
  private struct Reference {
    weak var device: Device?
  }
  private let reference = Mutex(Reference())

  package init() {}

  /// The device; `nil` before it was linked, and once it is gone.
  package var device: Device? { reference.withLock { $0.device } }

  /// Fills the link in. Once, at the end of the device's initialiser.
  package func connect(to device: Device) { reference.withLock { $0.device = device } }
}
