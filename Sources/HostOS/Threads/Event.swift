import Synchronization

/// Something that one thread waits for and another signals. A signal lets one wait pass, now or later;
/// signals that nobody waited for are one signal.
@safe package final class Event: @unchecked Sendable {
  // Sendable although it holds a raw pointer: what it points to is an atomic that lives as long.
  private let state: UnsafeMutablePointer<Atomic<UInt32>>

  /// The values of `state`.
  private enum State {
    static let clear: UInt32 = 0
    static let signalled: UInt32 = 1
    /// Clear, and somebody may sleep.
    static let awaited: UInt32 = 2
  }

  package init() {
    state = .allocate(capacity: 1)
    state.initialize(to: Atomic(State.clear))
  }

  deinit {
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Lets one wait pass. A system call only if somebody may sleep.
  package func signal() {
    if state.pointee.exchange(State.signalled, ordering: .acquiringAndReleasing) == State.awaited {
      Futex.wakeOne(state)
    }
  }

  /// Takes back a signal that nobody has waited for yet.
  package func clear() {
    _ = state.pointee.compareExchange(
      expected: State.signalled, desired: State.clear, ordering: .acquiringAndReleasing)
  }

  /// Waits for a signal until `deadline`; `nil`: for as long as it takes. Answers whether one came.
  @discardableResult
  package func wait(until deadline: HostInstant? = nil) -> Bool {
    if state.pointee.compareExchange(
      expected: State.signalled, desired: State.clear, ordering: .acquiringAndReleasing
    ).exchanged {
      return true
    }
    // From here on the state stays `awaited` when a signal is taken: others may sleep too.
    while state.pointee.exchange(State.awaited, ordering: .acquiringAndReleasing)
      != State.signalled
    {
      if Futex.sleep(while: state, is: State.awaited, until: deadline) == .timedOut {
        return state.pointee.exchange(State.awaited, ordering: .acquiringAndReleasing)
          == State.signalled
      }
    }
    return true
  }
}
