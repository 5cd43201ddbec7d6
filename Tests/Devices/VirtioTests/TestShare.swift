import Shares
import Synchronization
import Work

/// A share that answers a message with its bytes in reverse, soon or when the test says so; nothing, to a message that
/// begins with zero.
final class TestShare: ShareService {
  struct State {
    var isSlow = false
    var waiting: [(ShareRequest, any ShareCompletion)] = []
    var sizes: [Int] = []
    var resets = 0
    /// What the client "knows": saved and restored.
    var known: [UInt8] = []
    var failure: ShareError?
  }
  let state = Mutex(State())
  private let loop: any Loop

  init(_ loop: any Loop) { self.loop = loop }

  var inFlight: Int { state.withLock { $0.waiting.count } }

  func submit(_ request: ShareRequest, _ completion: any ShareCompletion) {
    let isSlow = state.withLock { state in
      state.sizes.append(request.bytes.count)
      state.known = Array(request.bytes.prefix(4))
      state.waiting.append((request, completion))
      return state.isSlow
    }
    if !isSlow { finish() }
  }

  /// Answers a request that waits.
  func finish(_ number: Int = 0) {
    let (request, completion) = state.withLock { $0.waiting.remove(at: number) }
    let answer = request.bytes.first == 0 ? [] : request.bytes.reversed().prefix(request.room)
    loop.post { completion.answered(request.tag, Array(answer)) }
  }

  func reset() {
    state.withLock { state in
      state.resets += 1
      state.known = []
    }
  }

  func save() throws(ShareError) -> [UInt8] {
    if let failure = state.withLock({ $0.failure }) { throw failure }
    return [7] + state.withLock { $0.known }
  }

  func restore(_ saved: [UInt8]) throws(ShareError) {
    guard saved.first == 7, saved.count <= 5 else { throw .damaged("not a test share's") }
    state.withLock { $0.known = Array(saved.dropFirst()) }
  }
}
