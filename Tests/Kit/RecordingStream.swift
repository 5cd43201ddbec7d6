package import Streams
import Synchronization
import Work

/// A stream whose far end is the test.
package final class RecordingStream: ByteStream {
  private struct State {
    var sent: [UInt8] = []
    var waiting: [UInt8] = []
    var room = Int.max
    var user: (any ByteStreamUser)?
  }
  private let state = Mutex(State())

  package init() {}

  package func send(_ bytes: [UInt8]) -> Int {
    state.withLock { state in
      let count = min(bytes.count, state.room)
      state.sent += bytes.prefix(count)
      state.room -= count
      return count
    }
  }

  package func receive(upTo count: Int) -> [UInt8] {
    state.withLock { state in
      let taken = Array(state.waiting.prefix(count))
      state.waiting.removeFirst(taken.count)
      return taken
    }
  }

  package func attach(_ user: any ByteStreamUser) { state.withLock { $0.user = user } }

  /// What the device sent so far.
  package var sent: [UInt8] { state.withLock { $0.sent } }

  /// Bytes come in from outside; the user is told on its loop.
  package func deliver(_ bytes: [UInt8]) {
    state.withLock { $0.waiting += bytes }
    tell(.mayReceive)
  }

  /// How many more bytes `send` takes; making room tells the user.
  package func setRoom(_ room: Int) {
    state.withLock { $0.room = room }
    if room > 0 { tell(.maySend) }
  }

  private func tell(_ events: StreamEvents) {
    guard let user = state.withLock({ $0.user }) else { return }
    user.loop.post { user.streamReady(events) }
  }
}
