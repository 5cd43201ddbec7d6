import HostOS
import Memory
import Synchronization
import Work

/// Transfers past the page cache that the host makes alone, through a ring: no thread waits for them, and many that are
/// handed over together reach the storage as one.
///
/// A thread that would only wait for a lone transfer makes it itself: from the storage's interrupt on, the host is then
/// quicker by a tenth to a fifth of the whole time than by way of a ring and a loop to be woken.
final class DirectTransfers: Sendable {
  struct Transfer: Sendable {
    let request: DiskRequest
    let completion: any DiskCompletion
    let place: HostPlace
    let vectors: TransferVectors
    let count: Int
  }

  /// Where transfers end.
  let loop: any Loop
  private let line: TransferLine
  /// Rung by the host; the line must not know it.
  private let bell: any Doorbell

  /// - Parameter answer: hears once of each transfer, and whether it moved all its bytes. If not, whoever may wait does it
  ///   again, and finds out why.
  /// - Throws: where the host has no rings.
  init(
    on loop: any Loop, _ answer: @escaping @Sendable (Transfer, _ isDone: Bool) -> Void
  ) throws(HostError) {
    let line = TransferLine(answer)
    self.loop = loop
    self.line = line
    bell = loop.makeDoorbell { [unowned loop] in line.takeEnded(on: loop) }
    guard let handle = bell.hostHandle else {
      throw HostError("make a ring for direct transfers: the loop has no handle", code: 0)
    }
    line.open(try TransferRing(entries: TransferLine.limit, ringing: handle))
  }

  /// Puts a transfer in line; `false`: there are too many.
  func add(_ transfer: Transfer) -> Bool { line.add(transfer) }
  /// Hands over what is in line; `mayWait` as in `Disk.commit`.
  func submit(mayWait: Bool) { line.submit(mayWait: mayWait) }
}

private final class TransferLine: Sendable {
  typealias Transfer = DirectTransfers.Transfer
  private let answer: @Sendable (Transfer, _ isDone: Bool) -> Void
  private let state = Mutex(State())

  private struct State {
    var ring: TransferRing?
    /// Those under way, by tag.
    var transfers: [Transfer?] = []
    var free: [Int] = []
    /// Tags of those that were added and not handed over, in order.
    var inLine: [Int] = []
    /// Answers are being given: what they lead to is handed over together, when they have been given.
    var isAnswering = false
    /// Whoever handed over last may wait.
    var mayWait = false

    /// The only transfer there is, taken out, if whoever handed it over may wait for it.
    mutating func takeLone() -> Transfer? {
      guard mayWait, inLine.count == 1, transfers.count - free.count == 1 else { return nil }
      return remove(inLine.removeLast())
    }

    mutating func remove(_ tag: Int) -> Transfer? {
      guard transfers.indices.contains(tag) else { return nil }
      defer { free.append(tag) }
      return transfers[tag].take()
    }
  }

  /// Transfers under way at most; the host keeps word of twice as many.
  static let limit = 256

  init(_ answer: @escaping @Sendable (Transfer, _ isDone: Bool) -> Void) { self.answer = answer }

  func open(_ ring: TransferRing) { state.withLock { $0.ring = ring } }

  func add(_ transfer: Transfer) -> Bool {
    state.withLock { state in
      guard state.ring != nil else { return false }
      let tag: Int
      if let free = state.free.popLast() {
        tag = free
        state.transfers[tag] = transfer
      } else {
        guard state.transfers.count < Self.limit else { return false }
        tag = state.transfers.count
        state.transfers.append(transfer)
      }
      state.inLine.append(tag)
      return true
    }
  }

  /// Hands over what is in line, and what the answers to a transfer made here lead to, but not for ever: the loop has
  /// other work.
  func submit(mayWait: Bool) {
    var patience = Self.limit
    var next = state.withLock { state -> Next in
      state.mayWait = mayWait
      return state.isAnswering ? Next() : nextToHandOver(&state, patience)
    }
    while true {
      for transfer in next.refused { answer(transfer, false) }
      guard let lone = next.lone else { return }
      // Others hand over beside a transfer that is waited for: it is not answered yet.
      let isDone = lone.isMadeHere()
      state.withLock { $0.isAnswering = true }
      answer(lone, isDone)
      patience -= 1
      next = state.withLock { state in
        state.isAnswering = false
        return nextToHandOver(&state, patience)
      }
    }
  }

  /// What follows on handing over.
  private struct Next {
    /// A transfer to make here.
    var lone: Transfer?
    /// Those that the host would not take.
    var refused: [Transfer] = []
  }

  private func nextToHandOver(_ state: inout State, _ patience: Int) -> Next {
    if patience > 0, let lone = state.takeLone() { return Next(lone: lone) }
    return Next(refused: submit(&state))
  }

  /// Answers those that the host would not take.
  private func submit(_ state: inout State) -> [Transfer] {
    guard let ring = state.ring, !state.inLine.isEmpty else { return [] }
    defer { state.inLine.removeAll(keepingCapacity: true) }
    // A ring that is full takes none of the rest either: who is left stands at the end.
    let added = state.inLine.prefix { state.transfers[$0]?.isAdded(to: ring, as: $0) == true }
    let left = state.inLine.count - added.count + ring.submit()
    return state.inLine.suffix(left).compactMap { state.remove($0) }
  }

  /// Answers what has ended, and hands over what that leads to; on the loop. Much of it may have ended by then, so it
  /// looks again before it goes back to where the host would have to wake it, but not for ever: the loop has other
  /// work.
  func takeEnded(on loop: any Loop) {
    state.withLock { state in
      state.isAnswering = true
      state.ring?.setRinging(false)
    }
    var patience = Self.limit
    while true {
      // What another thread has put in line meanwhile goes with it: that one's `submit` did nothing.
      let (next, ended) = state.withLock { state -> (Next, [(Transfer, Bool)]) in
        let next = nextToHandOver(&state, patience)
        return (next, next.lone == nil ? nextEnded(&state) : [])
      }
      for transfer in next.refused { answer(transfer, false) }
      if let lone = next.lone {
        answer(lone, lone.isMadeHere())
        patience -= 1
      } else if ended.isEmpty {
        return
      }
      for (transfer, isDone) in ended { answer(transfer, isDone) }
      patience -= ended.count
      if patience <= 0 { return loop.post { self.takeEnded(on: loop) } }
    }
  }

  /// None: from now on the host rings when there are some.
  private func nextEnded(_ state: inout State) -> [(Transfer, Bool)] {
    guard let ring = state.ring else { return [] }
    var ended = takeAll(ring, &state)
    guard ended.isEmpty else { return ended }
    ring.setRinging(true)
    ended = takeAll(ring, &state)
    if ended.isEmpty { state.isAnswering = false } else { ring.setRinging(false) }
    return ended
  }

  private func takeAll(_ ring: TransferRing, _ state: inout State) -> [(Transfer, Bool)] {
    var ended: [(Transfer, Bool)] = []
    while let (tag, count) = ring.take() {
      if let transfer = state.remove(Int(truncatingIfNeeded: tag)) {
        ended.append((transfer, count == transfer.count))
      }
    }
    return ended
  }
}

extension DirectTransfers.Transfer {
  private var isWrite: Bool { if case .write = request.operation { true } else { false } }

  fileprivate func isAdded(to ring: TransferRing, as tag: Int) -> Bool {
    ring.add(place.file, isWrite: isWrite, vectors, at: place.offset, tag: UInt64(tag))
  }

  /// Makes the transfer in this call; whether it moved all its bytes.
  fileprivate func isMadeHere() -> Bool {
    vectors.transfer(place.file, isWrite: isWrite, at: place.offset) == count
  }
}
