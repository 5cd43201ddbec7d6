import Synchronization
import Work

/// Who uses a port, once somebody does.
final class PortUser: Sendable {
  private let user = Mutex<(any NetworkPortUser)?>(nil)

  func attach(_ user: any NetworkPortUser) { self.user.withLock { $0 = user } }

  /// Tells the user on its loop.
  func tell(_ events: PortEvents) {
    guard let user = user.withLock({ $0 }) else { return }
    user.loop.post { user.portReady(events) }
  }
}
