import Streams
import Synchronization
import Work

/// A host of test programs: they listen at some ports, and call when the test says so.
final class TestVsockHost: VsockHost {
  let loop: any Loop
  let state = Mutex(State())

  struct State {
    var user: (any VsockUser)?
    var listening: Set<UInt32> = [80]
    var streams: [TestVsockStream] = []
  }

  init(_ loop: any Loop) { self.loop = loop }

  func attach(_ user: any VsockUser) { state.withLock { $0.user = user } }

  func connect(toPort port: UInt32) -> (any VsockStream)? {
    state.withLock { state in
      guard state.listening.contains(port) else { return nil }
      let stream = TestVsockStream()
      state.streams.append(stream)
      return stream
    }
  }

  /// The stream of the newest connection.
  var last: TestVsockStream { state.withLock { $0.streams.last! } }

  /// A program calls the guest.
  func call(_ port: UInt32) -> TestVsockStream? {
    let stream = TestVsockStream()
    let user = state.withLock { $0.user }
    guard let user, user.called(stream, port: port) else { return nil }
    state.withLock { $0.streams.append(stream) }
    return stream
  }
}

/// A program's end of a connection.
final class TestVsockStream: VsockStream {
  struct State {
    var user: (any VsockUser)?
    var id: UInt64 = 0
    var acceptedPort: UInt32?
    /// What the guest sent.
    var received: [UInt8] = []
    /// Bytes that the program takes before it must read.
    var room = Int.max
    var isGone = false
    var guestFinished = false
    /// What the program sends.
    var waiting: [UInt8] = []
    var hasFinished = false
    var closedWith: [UInt8]?
  }
  let state = Mutex(State())

  func attach(_ user: any VsockUser, as id: UInt64) {
    state.withLock { state in
      state.user = user
      state.id = id
    }
  }

  func accepted(port: UInt32) { state.withLock { $0.acceptedPort = port } }

  func send(_ bytes: [UInt8]) -> Int? {
    state.withLock { state in
      if state.isGone || state.closedWith != nil { return nil }
      let count = min(bytes.count, state.room)
      state.received += bytes.prefix(count)
      state.room -= count
      return count
    }
  }

  func receive(upTo count: Int) -> VsockInput {
    state.withLock { state in
      if state.closedWith != nil { return .ended }
      if state.waiting.isEmpty { return state.hasFinished ? .ended : .nothing }
      let bytes = Array(state.waiting.prefix(count))
      state.waiting.removeFirst(bytes.count)
      return .bytes(bytes)
    }
  }

  func finishSending() { state.withLock { $0.guestFinished = true } }

  func close(sending rest: [UInt8]) {
    state.withLock { state in
      if state.closedWith == nil { state.closedWith = rest }
      state.user = nil
    }
  }

  // MARK: What the program does

  private func tell(_ events: VsockEvents) {
    let (user, id) = state.withLock { ($0.user, $0.id) }
    user?.streamReady(id, events)
  }

  func say(_ bytes: [UInt8]) {
    state.withLock { $0.waiting += bytes }
    tell(.mayReceive)
  }

  func makeRoom(_ count: Int) {
    state.withLock { $0.room = count }
    tell(.maySend)
  }

  func finish() {
    state.withLock { $0.hasFinished = true }
    tell(.mayReceive)
  }

  func hangUp() {
    state.withLock { state in
      state.hasFinished = true
      state.isGone = true
    }
    tell([.mayReceive, .maySend, .ended])
  }
}
