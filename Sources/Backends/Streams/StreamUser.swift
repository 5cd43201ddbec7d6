import Synchronization
import Work

/// Who uses a stream, once somebody does.
final class StreamUser: Sendable {
  private let user = Mutex<(any ByteStreamUser)?>(nil)

  func attach(_ user: any ByteStreamUser) { self.user.withLock { $0 = user } }

  /// Tells the user on its loop.
  func tell(_ events: StreamEvents) {
    guard let user = user.withLock({ $0 }) else { return }
    user.loop.post { user.streamReady(events) }
  }
}
