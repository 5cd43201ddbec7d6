/// A signal that the host sends to a process.
package enum Signal: Sendable, CaseIterable {
  case hangUp, interrupt, quit, terminate, user1, user2, resumed
}

/// Signals of the process, answered on a loop. At most one source at a time in a process.
package final class SignalSource: Sendable {
  private let source: HandleSource

  /// Catches `signals` for the rest of the process's life and runs `answer` on the loop for each.
  package init(
    _ signals: [Signal], on loop: EventLoop, _ answer: @escaping @Sendable (Signal) -> Void
  ) throws(HostError) {
    let pipe = try Self.catchSignals(signals)
    source = try loop.watch(pipe.handle, for: .readable) { _ in
      for signal in Self.take(pipe) { answer(signal) }
    }
  }

  /// Leaves the source's signals to nobody; they are lost from now on.
  package func cancel() { source.cancel() }
}
