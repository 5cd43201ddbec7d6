import CKVM
import Synchronization
import Work

/// How far the host's time-stamp counter is ahead of the guest's time, which stands still with the machine.
///
/// A processor's counter is the guest's time in ticks plus what the guest has added. KVM makes it from the host's
/// counter plus an offset, so the offset has to change whenever time has stood still. It changes by the same
/// amount for all processors of a machine: their counters stay as far apart as they were, to the tick.
final class TimeKeeper: Sendable {
  private struct State {
    /// For which start of the clock `lead` was measured.
    var starts: UInt64 = 0
    var lead: UInt64 = 0
    /// The lead when a processor last left the guest, and for which start of the clock that is.
    var latest: (starts: UInt64, lead: UInt64)?
  }

  let clock: any VMClock
  let ticks: Oscillator
  private let state = Mutex(State())

  init(_ clock: any VMClock, frequency: UInt64) {
    self.clock = clock
    ticks = Oscillator(frequency: frequency)
  }

  /// The guest's time, in ticks.
  var guestTicks: UInt64 { ticks.ticks(at: clock.now) }

  /// The lead since the clock was last started: the same for whoever asks.
  func lead(since starts: UInt64) -> UInt64 {
    state.withLock { state in
      if state.starts != starts {
        state.starts = starts
        state.lead = measure()
      }
      return state.lead
    }
  }

  /// A processor has left the guest while time still passes.
  func noteLeaving() {
    let starts = clock.starts
    let lead = measure()
    state.withLock { $0.latest = (starts, lead) }
  }

  /// The lead when a processor last left the guest after that start of the clock; before one has, that with which
  /// they entered it.
  func lead(atEndOf starts: UInt64) -> UInt64 {
    state.withLock { state in
      if let latest = state.latest, latest.starts == starts { return latest.lead }
      return state.starts == starts ? state.lead : measure()
    }
  }

  /// Reads both clocks as close together as can be.
  private func measure() -> UInt64 {
    var best: (span: UInt64, lead: UInt64) = (.max, 0)
    for _ in 0..<4 {
      let before = kvm_host_tsc()
      let guest = guestTicks
      let span = kvm_host_tsc() &- before
      if span < best.span { best = (span, before &+ span / 2 &- guest) }
    }
    return best.lead
  }
}
