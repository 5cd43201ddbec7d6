package import HostOS
import Memory
import Synchronization
package import Work

/// A disk made of an image: requests that need no waiting are answered at once, all others on a pool of threads.
///
/// Many requests are in flight at once, in no order. A flush covers what was answered before it was submitted, and
/// waits for nothing else. One flush at a time: those that come meanwhile wait without a thread. So do writes to
/// clusters that a thread is writing to: it makes those that follow on it together with its own, and may be giving the
/// clusters storage, and then the rest needs no thread.
package final class QueuedDisk: Disk {
  // Wiring: fixed for the life of the disk.
  package let image: any DiskImage
  package let sectorSize: Int
  package let sectorCount: UInt64
  package let isReadOnly: Bool
  package let physicalBlockSize: Int
  package let discard: RangeLimits?
  package let writeZeroes: RangeLimits?
  /// Holds the requests whose answers are yet to be delivered; at rest, no request touches memory or the image.
  package let inFlight = Barrier()
  private let pool: WorkerPool

  // State.
  private let state = Mutex(State())

  private struct State {
    /// Requests in flight, by the number under which the pool knows them.
    var requests: [Pending?] = []
    var free: [Int] = []
    var mailboxes: [CompletionMailbox] = []
    var isFlushing = false
    var waitingFlushes: [Int] = []
    var direct = Direct.untried
  }

  /// Transfers that the host makes alone.
  private enum Direct {
    case untried, impossible
    case ready(DirectTransfers)
  }

  /// A request, and who hears of its answer.
  private struct Asked {
    let request: DiskRequest
    let completion: any DiskCompletion
  }

  private struct Pending {
    let asked: Asked
    /// Of a write: where it goes, and the writes that are submitted again when it has ended.
    let clusters: Range<UInt64>
    var followers: [Asked] = []

    /// Takes the followers that go on where this one ends, one behind the other, as far as one call of the host takes
    /// them.
    mutating func takeGathered() -> [Asked] {
      var gathered: [Asked] = []
      var end = asked.request.sectors.upperBound
      var parts = asked.request.written.count
      while let next = followers.firstIndex(where: { $0.request.sectors.lowerBound == end }) {
        parts += followers[next].request.written.count
        if parts > QueuedDisk.mostParts { break }
        end = followers[next].request.sectors.upperBound
        gathered.append(followers.remove(at: next))
      }
      return gathered
    }
  }

  /// - Parameters:
  ///   - sectorSize: a power of two from 512 on. What the image has beyond the last whole sector is out of reach.
  ///   - offersDiscard: whether the guest may give storage back.
  package init(
    _ image: any DiskImage, sectorSize: Int = 512, isReadOnly: Bool = false,
    offersDiscard: Bool = true, pool: WorkerPool
  ) {
    precondition(
      sectorSize >= 512 && sectorSize & (sectorSize - 1) == 0, "a sector of an odd size")
    precondition(sectorSize % image.alignment == 0, "a sector that the image cannot read alone")
    self.image = image
    self.sectorSize = sectorSize
    self.pool = pool
    self.isReadOnly = isReadOnly || image.isReadOnly
    sectorCount = image.size / UInt64(sectorSize)
    // Guests align to it, and make nothing of blocks longer than a page.
    physicalBlockSize = max(sectorSize, min(image.clusterSize, 4096))
    let limits = RangeLimits(
      maximum: Self.longestRange / UInt64(sectorSize),
      granularity: UInt64(max(1, image.clusterSize / sectorSize)))
    discard = self.isReadOnly || !offersDiscard ? nil : limits
    writeZeroes = self.isReadOnly ? nil : limits
  }

  /// Bytes that one request may discard or zero: where the host has no quick way, it writes them.
  private static let longestRange: UInt64 = 1 << 30
}

// MARK: - What a controller asks

extension QueuedDisk {
  package func submit(_ request: DiskRequest, _ completion: any DiskCompletion) -> DiskAnswer? {
    submit(request, completion, mayFollow: true)
  }

  private func submit(
    _ request: DiskRequest, _ completion: any DiskCompletion, mayFollow: Bool
  ) -> DiskAnswer? {
    do throws(DiskError) {
      let range = try check(request)
      if try transferDirectly(request, range, completion) { return nil }
      if try doAtOnce(request, range) { return .success(()) }
    } catch {
      return .failure(error)
    }
    inFlight.enter()
    enqueue(request, completion, mayFollow: mayFollow)
    return nil
  }

  /// Hands the host the direct transfers that were submitted; all else is on its way already.
  package func commit(mayWait: Bool) {
    if case .ready(let transfers) = state.withLock({ $0.direct }) {
      transfers.submit(mayWait: mayWait)
    }
  }

  /// The bytes a request is about, if it is one that this disk takes.
  private func check(_ request: DiskRequest) throws(DiskError) -> Range<UInt64> {
    if case .flush = request.operation { return 0..<0 }
    let sectors = request.sectors
    guard sectors.upperBound <= sectorCount else { throw .outOfRange }
    let size = UInt64(sectorSize)
    // At most the image's size, which is a number of bytes.
    let range = sectors.lowerBound * size..<sectors.upperBound * size
    switch request.operation {
    case .read(let buffers): guard buffers.count == range.length else { throw .outOfRange }
    case .write(let buffers, _):
      if isReadOnly { throw .readOnly }
      guard buffers.count == range.length else { throw .outOfRange }
    case .discard: try check(sectors, discard)
    case .writeZeroes: try check(sectors, writeZeroes)
    case .flush: break
    }
    return range
  }

  private func check(_ sectors: Range<UInt64>, _ limits: RangeLimits?) throws(DiskError) {
    if isReadOnly { throw .readOnly }
    guard let limits else { throw .unsupported }
    guard sectors.length <= limits.maximum else { throw .outOfRange }
  }

  /// Does what needs no waiting; `false`: it does.
  private func doAtOnce(_ request: DiskRequest, _ range: Range<UInt64>) throws(DiskError) -> Bool {
    switch request.operation {
    case .read(let buffers):
      guard try image.readAtOnce(into: buffers, at: range.lowerBound) else { return false }
      buffers.noteWritten()
      return true
    case .write(let buffers, durable: false):
      return try image.writeAtOnce(buffers, at: range.lowerBound)
    case .write, .flush, .discard, .writeZeroes: return false
    }
  }
}

// MARK: - What the host does alone

extension QueuedDisk {
  /// Has the host begin a transfer at the next `commit`; `false`: it needs more than that.
  private func transferDirectly(
    _ request: DiskRequest, _ range: Range<UInt64>, _ completion: any DiskCompletion
  ) throws(DiskError) -> Bool {
    let direction: TransferDirection
    let buffers: GuestBuffers
    switch request.operation {
    case .read(let list): (direction, buffers) = (.read, list)
    case .write(let list, durable: false): (direction, buffers) = (.write, list)
    case .write, .flush, .discard, .writeZeroes: return false
    }
    guard buffers.count > 0, buffers.parts.count <= Self.mostParts,
      let place = try image.place(to: direction, buffers, at: range.lowerBound)
    else { return false }
    inFlight.enter()
    let transfer = DirectTransfers.Transfer(
      request: request, completion: completion, place: place,
      vectors: TransferVectors(buffers.parts), count: buffers.count)
    if directTransfers(on: completion.loop)?.add(transfer) == true { return true }
    inFlight.leave()
    place.leave()
    return false
  }

  /// What one of the host's calls takes: IOV_MAX.
  fileprivate static let mostParts = 1024

  /// `nil`: the host has no such way, or it leads to another loop.
  private func directTransfers(on loop: any Loop) -> DirectTransfers? {
    state.withLock { state in
      if case .untried = state.direct {
        let made = try? DirectTransfers(on: loop) { [weak self] in self?.end($0, isDone: $1) }
        state.direct = made.map { .ready($0) } ?? .impossible
      }
      guard case .ready(let transfers) = state.direct, transfers.loop === loop else { return nil }
      return transfers
    }
  }

  private func end(_ transfer: DirectTransfers.Transfer, isDone: Bool) {
    transfer.place.leave()
    if isDone {
      if case .read(let buffers) = transfer.request.operation { buffers.noteWritten() }
      transfer.completion.completed(transfer.request.tag, .success(()))
      inFlight.leave()
    } else {
      enqueue(transfer.request, transfer.completion, mayFollow: false)
    }
  }
}

// MARK: - What takes time

extension QueuedDisk: Worker {
  /// - Parameter mayFollow: whether a write may wait for another. Each does so once, or it might for ever.
  private func enqueue(
    _ request: DiskRequest, _ completion: any DiskCompletion, mayFollow: Bool
  ) {
    let asked = Asked(request: request, completion: completion)
    let clusters = writtenClusters(request)
    let item = state.withLock { state -> Int? in
      if mayFollow, !clusters.isEmpty,
        let leader = state.requests.firstIndex(where: { $0?.clusters.overlaps(clusters) == true })
      {
        state.requests[leader]!.followers.append(asked)
        return nil
      }
      let pending = Pending(asked: asked, clusters: clusters)
      let item: Int
      if let free = state.free.popLast() {
        item = free
        state.requests[item] = pending
      } else {
        item = state.requests.count
        state.requests.append(pending)
      }
      guard case .flush = request.operation else { return item }
      if state.isFlushing {
        state.waitingFlushes.append(item)
        return nil
      }
      state.isFlushing = true
      return item
    }
    if let item { pool.post(item, to: self) }
  }

  /// None for anything but a write: it waits for no other, and none for it.
  private func writtenClusters(_ request: DiskRequest) -> Range<UInt64> {
    guard !request.written.isEmpty, !request.sectors.isEmpty else { return 0..<0 }
    let sectors = UInt64(max(1, image.clusterSize / sectorSize))
    let last = (request.sectors.upperBound - 1) / sectors
    return request.sectors.lowerBound / sectors..<last + 1
  }

  package func work(on item: Int) {
    let (first, gathered) = state.withLock { state -> (Asked, [Asked]) in
      (state.requests[item]!.asked, state.requests[item]!.takeGathered())
    }
    let isGathered = write(first, with: gathered)
    let answer = isGathered ? .success(()) : perform(first.request)
    let followers = state.withLock { state -> [Asked] in
      state.free.append(item)
      return state.requests[item].take()!.followers
    }
    if case .flush = first.request.operation { startNextFlush() }
    submitAgain((isGathered ? [] : gathered) + followers)
    put(answer, to: first)
    if isGathered { for other in gathered { put(answer, to: other) } }
  }

  /// Makes several writes as one; `false`: there is one only, or none may have been made.
  private func write(_ first: Asked, with others: [Asked]) -> Bool {
    if others.isEmpty { return false }
    // Those that ask keep their memory.
    defer { withExtendedLifetime((first, others)) {} }
    let parts = ([first] + others).flatMap(\.request.written)
    let offset = first.request.sectors.lowerBound * UInt64(sectorSize)
    do throws(DiskError) {
      try image.write(GuestBuffers(parts: parts, owner: self), at: offset)
    } catch {
      return false
    }
    return true
  }

  /// Has whoever asked hear of the answer, on its loop.
  private func put(_ answer: DiskAnswer, to asked: Asked) {
    let loop = asked.completion.loop
    let mailbox = state.withLock { state -> CompletionMailbox in
      if let mailbox = state.mailboxes.first(where: { $0.loop === loop }) { return mailbox }
      let mailbox = CompletionMailbox(loop, inFlight: inFlight)
      state.mailboxes.append(mailbox)
      return mailbox
    }
    mailbox.put(asked.completion, asked.request.tag, answer)
  }

  private func submitAgain(_ followers: [Asked]) {
    var rest = followers[...]
    while let loop = rest.first?.completion.loop {
      let here = rest.prefix { $0.completion.loop === loop }.prefix(Self.share)
      loop.post { [self] in
        for follower in here { submitAgain(follower) }
        commit()
      }
      rest = rest[here.endIndex...]
    }
  }

  private func submitAgain(_ follower: Asked) {
    if let answer = submit(follower.request, follower.completion, mayFollow: false) {
      follower.completion.completed(follower.request.tag, answer)
    }
    inFlight.leave()
  }

  /// Writes that are submitted in one go: a loop has other work.
  private static let share = 64

  private func perform(_ request: DiskRequest) -> DiskAnswer {
    do throws(DiskError) {
      let range = try check(request)
      switch request.operation {
      case .read(let buffers):
        // A read that fails may have filled a part.
        defer { buffers.noteWritten() }
        try image.read(into: buffers, at: range.lowerBound)
      case .write(let buffers, durable: false): try image.write(buffers, at: range.lowerBound)
      case .write(let buffers, durable: true):
        try image.writeDurably(buffers, at: range.lowerBound)
      case .flush: try image.flush()
      case .discard: try image.discard(range)
      case .writeZeroes(let mayUnmap): try image.writeZeroes(range, mayUnmap: mayUnmap)
      }
      return .success(())
    } catch {
      return .failure(error)
    }
  }

  private func startNextFlush() {
    let next = state.withLock { state -> Int? in
      if state.waitingFlushes.isEmpty {
        state.isFlushing = false
        return nil
      }
      return state.waitingFlushes.removeFirst()
    }
    if let next { pool.post(next, to: self) }
  }
}

extension DiskRequest {
  /// The pieces of memory of a write that need not be durable; none of anything else.
  fileprivate var written: [UnsafeMutableRawBufferPointer] {
    if case .write(let buffers, durable: false) = operation { buffers.parts } else { [] }
  }
}
