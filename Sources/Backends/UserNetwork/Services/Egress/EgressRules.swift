import Synchronization
package import Work

/// Lets the guest reach what a list names, and nothing else.
///
/// A name on the list makes addresses reachable, but only those that a resolver gave for it, only at the ports of its
/// entry, and only for as long as the answer holds. An answer that names addresses of private networks is not believed
/// unless the list has them itself: whoever owns a public name could point it at what stands behind the host's
/// firewall. Connections outlive the answers that allowed them.
///
/// What the guest makes of an address is its own affair: a server shared by many names serves all of them.
package final class EgressRules: EgressPolicy {
  private let rules: [EgressRule]
  private let clock: any VMClock
  private let state = Mutex(State())

  private struct State {
    /// Addresses that answers gave, and until when each entry of the list allows them.
    var learned: [IPAddress: [Int: VMInstant]] = [:]
    var counters = Counters()
  }

  package struct Counters: Sendable, Equatable {
    package var allowed: UInt64 = 0
    package var forbidden: UInt64 = 0
    /// Names that are not on the list.
    package var refusedNames: UInt64 = 0
    /// Answers with addresses of private networks.
    package var rebindings: UInt64 = 0
  }

  package init(_ rules: [EgressRule], clock: any VMClock) {
    self.rules = rules
    self.clock = clock
  }

  package var statistics: Counters { state.withLock { $0.counters } }

  /// Addresses kept at once. Beyond that those that end first are forgotten.
  static let capacity = 4096
  /// Programs look up a name and connect a little later.
  static let shortestTTL: UInt32 = 60
  static let longestTTL: UInt32 = 86_400

  package func mayConnect(to endpoint: Endpoint, _ transport: Transport) -> Bool {
    let now = clock.now
    return state.withLock { state in
      let isAllowed =
        rules.contains { $0.matches(endpoint.address) && $0.matches(endpoint.port, transport) }
        || state.learned[endpoint.address]?.contains { index, end in
          end > now && rules[index].matches(endpoint.port, transport)
        } == true
      if isAllowed { state.counters.allowed += 1 } else { state.counters.forbidden += 1 }
      return isAllowed
    }
  }

  /// Whether the guest may ask for a name.
  package func mayResolve(_ name: DomainName) -> Bool {
    if rules.contains(where: { $0.matches(name) }) { return true }
    state.withLock { $0.counters.refusedNames += 1 }
    return false
  }

  /// Whether an answer may name an address.
  package func mayBelieve(_ address: IPAddress) -> Bool {
    if !address.isPrivate { return true }
    let isListed = rules.contains {
      if case .network = $0.target { $0.matches(address) } else { false }
    }
    if !isListed { state.withLock { $0.counters.rebindings += 1 } }
    return isListed
  }

  package func resolved(_ name: String, to addresses: [IPAddress], ttl: UInt32) {
    guard let name = DomainName(name) else { return }
    let allowing = rules.indices.filter { rules[$0].matches(name) }
    guard !allowing.isEmpty else { return }
    let now = clock.now
    let seconds = min(max(ttl, Self.shortestTTL), Self.longestTTL)
    let end = now.advanced(by: UInt64(seconds) * 1_000_000_000)
    state.withLock { state in
      for address in addresses.prefix(64) {
        if state.learned[address] == nil, state.learned.count >= Self.capacity {
          Self.makeRoom(&state, now)
        }
        for index in allowing {
          let before = state.learned[address]?[index]
          state.learned[address, default: [:]][index] = max(before ?? end, end)
        }
      }
    }
  }

  private static func makeRoom(_ state: inout State, _ now: VMInstant) {
    state.learned = state.learned.compactMapValues { entries in
      let living = entries.filter { $0.value > now }
      return living.isEmpty ? nil : living
    }
    guard state.learned.count > capacity / 4 * 3 else { return }
    // A quarter at once, so that not every answer has to look through all.
    let byEnd = state.learned.map { ($0.key, $0.value.values.max() ?? now) }.sorted { $0.1 < $1.1 }
    for (address, _) in byEnd.prefix(capacity / 4) { state.learned[address] = nil }
  }
}
