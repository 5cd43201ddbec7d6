/// When connections are to be looked at next: a binary heap that knows where each is in it.
///
/// A deadline that moves later, as a retransmission timer does with every acknowledgment, is not moved in the heap:
/// its old place only causes one look too early.
struct DeadlineQueue {
  private var entries: [(deadline: UInt64, flow: TCPFlow)] = []

  var first: UInt64? { entries.first?.deadline }
  var count: Int { entries.count }

  /// Has the flow looked at by its deadline; `UInt64.max`: not at all.
  mutating func schedule(_ flow: TCPFlow) {
    if let place = flow.place {
      guard flow.deadline < entries[place].deadline else { return }
      entries[place].deadline = flow.deadline
      rise(place)
    } else if flow.deadline != .max {
      entries.append((flow.deadline, flow))
      flow.place = entries.count - 1
      rise(entries.count - 1)
    }
  }

  mutating func remove(_ flow: TCPFlow) {
    guard let place = flow.place else { return }
    let last = entries.count - 1
    exchange(place, last)
    entries.removeLast()
    flow.place = nil
    guard place < last else { return }
    sink(place)
    rise(place)
  }

  /// Takes a flow whose deadline, perhaps an old one, has come.
  mutating func takeDue(_ now: UInt64) -> TCPFlow? {
    guard let first = entries.first, first.deadline <= now else { return nil }
    remove(first.flow)
    return first.flow
  }

  private mutating func exchange(_ a: Int, _ b: Int) {
    guard a != b else { return }
    entries.swapAt(a, b)
    entries[a].flow.place = a
    entries[b].flow.place = b
  }

  private mutating func rise(_ place: Int) {
    var place = place
    while place > 0, entries[place].deadline < entries[(place - 1) / 2].deadline {
      exchange(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private mutating func sink(_ place: Int) {
    var place = place
    while true {
      var least = place
      let children = 2 * place + 1..<min(2 * place + 3, max(entries.count, 2 * place + 1))
      for child in children where entries[child].deadline < entries[least].deadline {
        least = child
      }
      if least == place { return }
      exchange(place, least)
      place = least
    }
  }
}
