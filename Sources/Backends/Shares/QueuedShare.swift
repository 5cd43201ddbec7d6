package import HostOS
import Synchronization
package import Work

/// A share whose requests wait for the host on a pool of threads; the answers come on one loop.
///
/// Many requests are in flight at once, and end in any order. How many, and of what size, is for its client's device to
/// bound.
package final class QueuedShare: ShareService {
  // Wiring: fixed for the life of the share.
  private let share: any Share
  private let pool: WorkerPool
  private let loop: any Loop
  // State.
  private let state = Mutex(State())

  private struct State {
    /// Requests that no thread has taken yet, by the number under which the pool knows them.
    var requests: [Pending?] = []
    var free: [Int] = []
    /// Requests to which the share has given no answer yet.
    var unanswered = 0
    /// The client went while some were unanswered; the last of them ends by having the share forget it.
    var mustReset = false
    /// Answers on their way to the loop.
    var answers: [Answer] = []
    /// The loop was told of them and has not looked yet.
    var isAnnounced = false
  }

  private struct Pending {
    let request: ShareRequest
    let completion: any ShareCompletion
  }

  private struct Answer {
    let tag: RequestTag
    let bytes: [UInt8]
    let completion: any ShareCompletion
  }

  /// Answers that a loop delivers in one go, so that its other work has its turn.
  private static let turn = 64

  /// - Parameter loop: where answers are delivered.
  package init(_ share: any Share, pool: WorkerPool, loop: any Loop) {
    self.share = share
    self.pool = pool
    self.loop = loop
  }
}

// MARK: - What a device asks

extension QueuedShare {
  package func submit(_ request: ShareRequest, _ completion: any ShareCompletion) {
    let pending = Pending(request: request, completion: completion)
    let item = state.withLock { state -> Int in
      state.unanswered += 1
      if let free = state.free.popLast() {
        state.requests[free] = pending
        return free
      }
      state.requests.append(pending)
      return state.requests.count - 1
    }
    pool.post(item, to: self)
  }

  package func reset() {
    let isIdle = state.withLock { state in
      state.mustReset = state.unanswered > 0
      return !state.mustReset
    }
    if isIdle { share.reset() }
  }

  package func save() throws(ShareError) -> [UInt8] { try share.save() }
  package func restore(_ saved: [UInt8]) throws(ShareError) { try share.restore(saved) }
}

// MARK: - On the pool, and back on the loop

extension QueuedShare: Worker {
  package func work(on item: Int) {
    let taken = state.withLock { state -> (Pending, isWanted: Bool)? in
      guard let pending = state.requests[item].take() else { return nil }
      state.free.append(item)
      return (pending, !state.mustReset)
    }
    guard let (pending, isWanted) = taken else { return }
    let request = pending.request
    let bytes = isWanted ? share.answer(request.bytes, room: request.room) : []
    let isLast = state.withLock { state in
      state.unanswered -= 1
      guard state.mustReset, state.unanswered == 0 else { return false }
      state.mustReset = false
      return true
    }
    // Before this request's answer is delivered, and so before the device has come to rest and begins anew.
    if isLast { share.reset() }
    let mustTell = state.withLock { state in
      state.answers.append(
        Answer(tag: request.tag, bytes: bytes, completion: pending.completion))
      defer { state.isAnnounced = true }
      return !state.isAnnounced
    }
    if mustTell { loop.post { self.deliver() } }
  }

  private func deliver() {
    let (answers, isMore) = state.withLock { state in
      let answers = Array(state.answers.prefix(Self.turn))
      state.answers.removeFirst(answers.count)
      state.isAnnounced = !state.answers.isEmpty
      return (answers, state.isAnnounced)
    }
    for answer in answers { answer.completion.answered(answer.tag, answer.bytes) }
    if isMore { loop.post { self.deliver() } }
  }
}
