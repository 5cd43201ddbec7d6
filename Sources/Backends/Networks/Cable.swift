import Synchronization

/// A cable in memory: what is sent at one end is received at the other.
///
/// Joins two machines of one process, and a device to a test. What the receiving end's user does not take unfinished is
/// finished here.
package struct Cable: Sendable {
  package let left: CableEnd
  package let right: CableEnd

  /// `depth`: how many frames may wait at an end before the other has no room to send.
  package init(maximumTransmissionUnit: Int = 1500, depth: Int = 256) {
    let (a, b) = (CableEnd.Inbox(), CableEnd.Inbox())
    left = CableEnd(a, to: b, maximumTransmissionUnit, depth)
    right = CableEnd(b, to: a, maximumTransmissionUnit, depth)
  }
}

/// One of the two ends of a cable.
package final class CableEnd: NetworkPort {
  /// What waits at an end, and who waits for it.
  fileprivate final class Inbox: Sendable {
    struct State {
      var frames: [Frame] = []
      /// How many of `frames` the user has taken.
      var taken = 0
      /// The other end was told that there is no room.
      var owesRoom = false
      /// What the user here finishes itself.
      var able: Offloads = []
      var statistics = PortStatistics()

      var waiting: Int { frames.count - taken }
    }
    let state = Mutex(State())
    let user = PortUser()
  }

  private let inbox: Inbox
  private let outbox: Inbox
  private let depth: Int
  package let maximumTransmissionUnit: Int

  fileprivate init(_ inbox: Inbox, to outbox: Inbox, _ maximumTransmissionUnit: Int, _ depth: Int) {
    self.inbox = inbox
    self.outbox = outbox
    self.depth = max(1, depth)
    self.maximumTransmissionUnit = min(65535, max(68, maximumTransmissionUnit))
  }

  package var offloads: Offloads { .all }
  package func accept(_ offloads: Offloads) { inbox.state.withLock { $0.able = offloads } }

  package func attach(_ user: any NetworkPortUser) {
    inbox.user.attach(user)
    if inbox.state.withLock({ $0.waiting > 0 }) { inbox.user.tell(.mayReceive) }
  }

  /// What this end handed to its user, and what was lost on the way to the user.
  package var statistics: PortStatistics { inbox.state.withLock { $0.statistics } }

  package func send(_ frames: [Frame]) -> Int {
    let (accepted, hasNew) = outbox.state.withLock { state in
      let before = state.frames.count
      for (index, frame) in frames.enumerated() {
        guard state.waiting < depth else {
          state.owesRoom = true
          return (index, state.frames.count > before)
        }
        let finished = frame.finished(maximum: maximumTransmissionUnit, able: state.able)
        if finished.isEmpty { state.statistics.dropped += 1 }
        state.frames += finished
      }
      return (frames.count, state.frames.count > before)
    }
    if hasNew { outbox.user.tell(.mayReceive) }
    return accepted
  }

  package func receive(upTo count: Int) -> [Frame] {
    let (part, hasRoom) = inbox.state.withLock { state in
      let part = Array(state.frames[state.taken...].prefix(max(0, count)))
      state.taken += part.count
      state.statistics.received += UInt64(part.count)
      if state.taken == state.frames.count {
        state.frames.removeAll(keepingCapacity: true)
        state.taken = 0
      } else if state.taken >= depth {
        state.frames.removeFirst(state.taken)
        state.taken = 0
      }
      guard state.owesRoom, state.waiting <= depth / 2 else { return (part, false) }
      state.owesRoom = false
      return (part, true)
    }
    if hasRoom { outbox.user.tell(.maySend) }
    return part
  }
}
