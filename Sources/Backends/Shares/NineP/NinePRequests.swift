import HostOS

/// The requests that are being answered, for those who flush one: a flush is answered after what it flushes, so that
/// the tag is free then.
///
/// A flush never waits for a flush, so two cannot wait for each other.
struct NinePRequests {
  private var running: [UInt16: Int] = [:]
  private var waiting: [(tag: UInt16, event: Event)] = []

  mutating func begin(_ tag: UInt16) { running[tag, default: 0] += 1 }

  /// Answers whom to wake.
  mutating func end(_ tag: UInt16) -> [Event] {
    let count = (running[tag] ?? 1) - 1
    running[tag] = count > 0 ? count : nil
    guard count <= 0, !waiting.isEmpty else { return [] }
    let ready = waiting.filter { $0.tag == tag }.map(\.event)
    waiting.removeAll { $0.tag == tag }
    return ready
  }

  /// What to wait on until the request with `tag` is answered; `nil`: it is.
  mutating func wait(for tag: UInt16) -> Event? {
    guard running[tag] != nil else { return nil }
    let event = Event()
    waiting.append((tag, event))
    return event
  }
}
