import Memory
package import SavedState
package import Shares
package import Work

/// What the file-sharing devices have in common: chains that hold a message to read and room for its answer.
///
/// A message goes to the share as it is taken, and its answer comes whenever the host has it, in any order. A message
/// of more than a share ever takes comes back without an answer.
package protocol ShareDevice: VirtioDevice, ShareCompletion where Saved == SavedShare {
  var share: any ShareService { get }
  var flight: LoopBound<ShareFlight> { get }
}

/// What a device that shares files keeps: what its client knows of the share.
package struct SavedShare: Codable, Sendable {
  var share: [UInt8]
}

/// The requests in flight, and the memory of this process that they take.
package struct ShareFlight {
  fileprivate var queues: [VirtQueue] = []
  /// Bytes of each request and of the room for its answer, by queue and slot.
  private var charges: [[Int]] = []
  private var bytes = 0
  /// Queues that wait until the others' requests take less.
  fileprivate var waiting: Set<Int> = []

  /// Bytes in flight beyond which no chain is taken. One that is taken takes twice `longestMessage` at most.
  private static let mostBytes = 16 << 20
  /// The longest message, and the longest answer: 1 MiB of data in either protocol, and what stands before it.
  static let longestMessage = 1 << 20 + 4096

  fileprivate var isFull: Bool { bytes >= Self.mostBytes }

  fileprivate mutating func begin(_ queues: [VirtQueue]) {
    guard self.queues.isEmpty else { return }
    self.queues = queues
    charges = queues.map { .init(repeating: 0, count: $0.slotCount) }
  }

  fileprivate mutating func add(_ tag: RequestTag, _ charge: Int) {
    charges[Int(tag.queue)][Int(tag.slot)] = charge
    bytes += charge
  }

  fileprivate mutating func remove(_ tag: RequestTag) {
    bytes -= charges[Int(tag.queue)][Int(tag.slot)]
    charges[Int(tag.queue)][Int(tag.slot)] = 0
  }
}

extension ShareDevice {
  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    flight.with { $0.begin(queues) }
  }

  package func service(_ queue: VirtQueue) {
    while hasRoom(for: queue), let chain = queue.pop() { take(chain, queue) }
  }

  private func hasRoom(for queue: VirtQueue) -> Bool {
    flight.with { flight in
      if flight.isFull { flight.waiting.insert(queue.index) }
      return !flight.isFull
    }
  }

  private func take(_ chain: consuming DescriptorChain, _ queue: VirtQueue) {
    let longest = UInt64(ShareFlight.longestMessage)
    let count = chain.readable.byteCount
    guard count <= longest, let bytes = try? queue.dma.bytes(of: chain.readable, count: Int(count))
    else {
      return queue.complete(chain, written: 0)
    }
    let room = Int(min(chain.writable.byteCount, longest))
    let tag = queue.hold(chain)
    flight.with { $0.add(tag, bytes.count + room) }
    share.submit(ShareRequest(bytes, room: room, tag: tag), self)
  }

  package func answered(_ tag: RequestTag, _ answer: [UInt8]) {
    let (queue, waiting) = flight.with { flight in
      flight.remove(tag)
      let waiting = flight.isFull ? [] : flight.waiting.map { flight.queues[$0] }
      if !flight.isFull { flight.waiting = [] }
      return (flight.queues[Int(tag.queue)], waiting)
    }
    var written = 0
    // After a reset the memory is the driver's again.
    if let (_, writable) = queue.buffers(of: tag) {
      written = (try? queue.dma.write(answer, to: writable)) ?? 0
    }
    queue.complete(tag, written: written)
    for queue in waiting { queue.serve(by: self) }
  }

  package func reset() { share.reset() }

  package func save() throws(SaveError) -> SavedShare {
    do throws(ShareError) {
      return SavedShare(share: try share.save())
    } catch {
      throw .failed("what the guest knows of a shared directory cannot be told: \(error)")
    }
  }

  package func restore(_ saved: SavedShare) throws(RestoreError) {
    do throws(ShareError) {
      try share.restore(saved.share)
    } catch {
      throw .refused(part: "shared directory", reason: "\(error)")
    }
  }
}
