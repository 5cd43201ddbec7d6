import Synchronization

/// Counts work in flight; reached when all that entered has left.
package final class Barrier: Sendable {
  private struct State {
    var inFlight = 0
    var waiting: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())

  package init() {}

  /// One more piece of work is in flight.
  package func enter() { state.withLock { $0.inFlight += 1 } }

  /// One piece of work has ended. The last to leave runs what waits.
  package func leave() {
    let ready = state.withLock { state -> [@Sendable () -> Void] in
      precondition(state.inFlight > 0, "more work left a barrier than entered it")
      state.inFlight -= 1
      guard state.inFlight == 0 else { return [] }
      defer { state.waiting = [] }
      return state.waiting
    }
    for action in ready { action() }
  }

  package var isReached: Bool { state.withLock { $0.inFlight == 0 } }

  /// Runs `action` once nothing is in flight: at once, or on the thread of the last to leave.
  package func whenReached(_ action: @escaping @Sendable () -> Void) {
    let now = state.withLock { state -> Bool in
      if state.inFlight == 0 { return true }
      state.waiting.append(action)
      return false
    }
    if now { action() }
  }
}
