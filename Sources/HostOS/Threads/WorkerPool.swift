import Synchronization

/// Somebody whose work may block, and who tells one piece of it from another by a number.
package protocol Worker: AnyObject, Sendable {
  /// Does the piece that was posted as `item`; on a thread of the pool.
  func work(on item: Int)
}

/// A few threads for work that may block. Pieces begin in the order in which they were posted and end in any.
///
/// Threads are started as work demands them and sleep when there is none. One that takes a piece and sees another
/// waiting wakes the next: so work that blocks gets all threads, and work that does not is done by one or two.
package final class WorkerPool: Sendable {
  package let limit: Int
  private let name: String
  private let state: Mutex<State>
  private let sleepers: [Event]

  private struct State {
    var pieces = PieceQueue()
    /// The threads that sleep; the last to lie down is the first to be woken, with its caches warm.
    var asleep: [Int] = []
    /// How many were started, or are being started: the next one's number.
    var started = 1
    var threads: [Thread] = []
    /// A thread was woken, or started, and has not looked yet.
    var isWaking = false
    var isEnding = false
    /// The host would start no more.
    var isFull = false
  }

  /// - Parameter limit: threads at most; one at least is started at once.
  package init(name: String, limit: Int) throws(HostError) {
    precondition(limit > 0, "a pool of no threads")
    self.name = name
    self.limit = limit
    sleepers = (0..<limit).map { _ in Event() }
    state = Mutex(State())
    let first = try startThread(0)
    state.withLock { $0.threads.append(first) }
  }

  /// Has `worker` do a piece of work soon. From any thread; never waits.
  package func post(_ item: Int, to worker: any Worker) {
    let wake = state.withLock { state -> Wake? in
      precondition(!state.isEnding, "work for a pool that has ended")
      state.pieces.append(Piece(worker: worker, item: item))
      return nextToWake(&state)
    }
    carryOut(wake)
  }

  /// Ends the threads after what has been posted so far; returns when they have ended. Not from one of them.
  package func stop() {
    state.withLock { $0.isEnding = true }
    for sleeper in sleepers { sleeper.signal() }
    // A thread may have been starting another; when it has ended, the other is known.
    while true {
      let threads = state.withLock { state in
        defer { state.threads = [] }
        return state.threads
      }
      if threads.isEmpty { return }
      for thread in threads { thread.join() }
    }
  }
}

// MARK: - Who works, and who wakes whom

extension WorkerPool {
  private enum Wake { case sleeper(Int), newcomer(Int) }

  /// Whom to wake for a piece that waits. One at a time: whoever wakes finds the rest and wakes the next.
  private func nextToWake(_ state: inout State) -> Wake? {
    if state.isWaking || state.pieces.isEmpty { return nil }
    if let index = state.asleep.popLast() {
      state.isWaking = true
      return .sleeper(index)
    }
    guard state.started < limit, !state.isFull, !state.isEnding else { return nil }
    state.isWaking = true
    defer { state.started += 1 }
    return .newcomer(state.started)
  }

  private func carryOut(_ wake: Wake?) {
    switch wake {
    case nil: break
    case .sleeper(let index): sleepers[index].signal()
    case .newcomer(let index):
      let thread = try? startThread(index)
      state.withLock { state in
        if let thread {
          state.threads.append(thread)
        } else {
          state.isFull = true
          state.isWaking = false
        }
      }
    }
  }

  private func startThread(_ index: Int) throws(HostError) -> Thread {
    try Thread(name: "\(name) \(index)") { self.run(index) }
  }

  private func run(_ index: Int) {
    var wasWoken = index > 0
    while true {
      let (piece, wake, isEnded) = state.withLock { state -> (Piece?, Wake?, Bool) in
        if wasWoken { state.isWaking = false }
        guard let piece = state.pieces.popFirst() else {
          if state.isEnding { return (nil, nil, true) }
          state.asleep.append(index)
          return (nil, nil, false)
        }
        return (piece, nextToWake(&state), false)
      }
      wasWoken = false
      if isEnded { return }
      carryOut(wake)
      if let piece {
        piece.worker.work(on: piece.item)
      } else {
        sleepers[index].wait()
        wasWoken = true
      }
    }
  }
}

/// A piece of work that waits.
private struct Piece {
  let worker: any Worker
  let item: Int
}

/// Pieces in order: taken from the front of an array whose front is moved up now and then.
private struct PieceQueue {
  private var pieces: [Piece?] = []
  private var front = 0

  var isEmpty: Bool { front == pieces.count }

  mutating func append(_ piece: Piece) { pieces.append(piece) }

  mutating func popFirst() -> Piece? {
    guard front < pieces.count else { return nil }
    let piece = pieces[front].take()
    front += 1
    if front == pieces.count {
      pieces.removeAll(keepingCapacity: true)
      front = 0
    } else if front >= 1024, front * 2 > pieces.count {
      pieces.removeFirst(front)
      front = 0
    }
    return piece
  }
}
