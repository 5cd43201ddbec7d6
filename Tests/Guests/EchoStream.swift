import Streams
import Synchronization
import Work

/// A stream whose far end sends back what it is sent, or the end of it: nobody makes it keep much.
final class EchoStream: ByteStream {
  private struct State {
    var waiting: [UInt8] = []
    var user: (any ByteStreamUser)?
  }
  private let state = Mutex(State())
  private static let most = 4096

  func send(_ bytes: [UInt8]) -> Int {
    let user = state.withLock { state in
      state.waiting = Array((state.waiting + bytes.suffix(Self.most)).suffix(Self.most))
      return state.user
    }
    user?.loop.post { user?.streamReady(.mayReceive) }
    return bytes.count
  }

  func receive(upTo count: Int) -> [UInt8] {
    state.withLock { state in
      let taken = Array(state.waiting.prefix(count))
      state.waiting.removeFirst(taken.count)
      return taken
    }
  }

  func attach(_ user: any ByteStreamUser) { state.withLock { $0.user = user } }
}
