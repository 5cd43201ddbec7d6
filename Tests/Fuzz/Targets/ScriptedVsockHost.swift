import Streams
import Synchronization
import Work

/// Programs of the host's that listen, call, send, take and hang up when a script says so.
final class ScriptedVsockHost: VsockHost {
  let loop: any Loop
  private let state = Mutex(State())

  private struct State {
    weak var user: (any VsockUser)?
    var refuses = false
    /// Those that the script still reaches.
    var streams: [Stream] = []

    mutating func add(_ stream: Stream) {
      if streams.count >= 16 { streams.removeFirst() }
      streams.append(stream)
    }
  }

  init(_ loop: any Loop) { self.loop = loop }

  func attach(_ user: any VsockUser) { state.withLock { $0.user = user } }

  func connect(toPort port: UInt32) -> (any VsockStream)? {
    state.withLock { state in
      if state.refuses || port > 3 { return nil }
      let stream = Stream()
      state.add(stream)
      return stream
    }
  }

  func stir(_ script: inout Script) {
    let number = script.byte()
    switch number & 7 {
    case 0: state.withLock { $0.refuses.toggle() }
    case 1: call(UInt32(number >> 4))
    default:
      let streams = state.withLock { $0.streams }
      guard !streams.isEmpty else { return }
      streams[Int(number >> 3) % streams.count].stir(number & 7, &script)
    }
  }

  /// A program calls the guest.
  private func call(_ port: UInt32) {
    guard let user = state.withLock({ $0.user }) else { return }
    let stream = Stream()
    if user.called(stream, port: port) {
      state.withLock { $0.add(stream) }
    }
  }
}

extension ScriptedVsockHost {
  /// A program's end of a connection.
  fileprivate final class Stream: VsockStream {
    private struct State {
      var user: (any VsockUser)?
      var id: UInt64 = 0
      var waiting: [UInt8] = []
      var room = 100
      var hasFinished = false
      var isGone = false
      var isClosed = false
      var guestFinished = false
    }
    private let state = Mutex(State())

    func attach(_ user: any VsockUser, as id: UInt64) {
      state.withLock { state in
        state.user = user
        state.id = id
      }
    }

    func accepted(port: UInt32) {}

    func send(_ bytes: [UInt8]) -> Int? {
      state.withLock { state in
        require(!bytes.isEmpty, "nothing is not sent")
        require(!state.guestFinished, "who has said that it is done sends no more")
        if state.isGone || state.isClosed { return nil }
        let count = min(bytes.count, state.room)
        state.room -= count
        return count
      }
    }

    func receive(upTo count: Int) -> VsockInput {
      state.withLock { state in
        require(count > 0, "at least a byte is asked for")
        if state.isClosed { return .ended }
        if state.waiting.isEmpty { return state.hasFinished ? .ended : .nothing }
        let bytes = Array(state.waiting.prefix(count))
        state.waiting.removeFirst(bytes.count)
        return .bytes(bytes)
      }
    }

    func finishSending() { state.withLock { $0.guestFinished = true } }

    func close(sending rest: [UInt8]) {
      state.withLock { state in
        state.isClosed = true
        state.user = nil
      }
    }

    func stir(_ number: UInt8, _ script: inout Script) {
      switch number {
      case 2, 3:
        let bytes = script.piece()
        state.withLock { $0.waiting += bytes }
        tell(.mayReceive)
      case 4, 5:
        let room = Int(script.byte()) << 4
        state.withLock { $0.room = room }
        tell(.maySend)
      case 6:
        state.withLock { $0.hasFinished = true }
        tell(.mayReceive)
      default:
        state.withLock { state in
          state.hasFinished = true
          state.isGone = true
        }
        tell([.mayReceive, .maySend, .ended])
      }
    }

    private func tell(_ events: VsockEvents) {
      let (user, id) = state.withLock { ($0.user, $0.id) }
      user?.streamReady(id, events)
    }
  }
}
