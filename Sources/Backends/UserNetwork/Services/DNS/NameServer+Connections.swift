package import HostOS
import Synchronization
import Work

// MARK: - The guest's connections

extension NameServer: StreamService {
  package var streamPorts: [UInt16] { ports }

  /// Connections that may be open at once.
  static let mostConnections = 32
  /// Nanoseconds without a byte after which a connection ends (RFC 7766 §6.2.3): longer than an answer takes.
  static let idle: UInt64 = 20_000_000_000

  package func accept(
    from guest: Endpoint, at: Endpoint, _ ready: @escaping @Sendable (Readiness) -> Void
  ) -> (any HostConnection)? {
    guard makeRoom() else {
      counters.withLock { $0.connectionsRefused += 1 }
      return nil
    }
    counters.withLock { $0.connections += 1 }
    let connection = DNSConnection(to: self, clock: clock, ready)
    state.with { $0.connections.append(connection) }
    setAlarm()
    return connection
  }

  /// Ends the connection that has been idle longest and waits for nothing, if there are too many.
  private func makeRoom() -> Bool {
    let connections = state.with { $0.connections }
    guard connections.count >= Self.mostConnections else { return true }
    let idle = connections.filter { $0.unanswered == 0 }.min { $0.lastUsed < $1.lastUsed }
    idle?.end()
    return idle != nil
  }

  func endIdleConnections() {
    let now = clock.now
    for connection in state.with({ $0.connections }) where connection.deadline <= now {
      connection.end()
    }
  }

  /// The connection is over, and nobody waits for its answers.
  func forget(_ connection: DNSConnection) {
    let channels = state.with { state in
      state.connections.removeAll { $0 === connection }
      let own = state.waiting.filter { $0.value.client.is(connection) }
      for identifier in own.keys { state.forget(identifier) }
      return own
    }
    if !channels.isEmpty { setAlarm() }
  }
}

extension NameServer.Client {
  fileprivate func `is`(_ connection: DNSConnection) -> Bool {
    if case .stream(let other) = self { other === connection } else { false }
  }
}
