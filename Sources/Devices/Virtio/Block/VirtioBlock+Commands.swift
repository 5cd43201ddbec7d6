import Bits
package import Disks
import Memory
package import Work

// VIRTIO 1.3 §5.2.6 "Device Operation": a header to read, data either way, and a byte to write the status to.

extension VirtioBlock {
  /// The unit of sector numbers, whatever the disk's.
  static let unit = 512
  static let serialLength = 20
  /// Ranges that one request may discard or zero: what Linux gathers while it trims a file system is mostly fewer.
  static let segmentLimit = 64
  private static let headerLength = 16
  private static let segmentLength = 16

  private enum RequestType {
    static let read: UInt32 = 0
    static let write: UInt32 = 1
    static let flush: UInt32 = 4
    static let identify: UInt32 = 8
    static let discard: UInt32 = 11
    static let writeZeroes: UInt32 = 13
  }

  enum Status: UInt8 {
    case ok = 0
    case inputOutputError = 1
    case unsupported = 2

    init(_ answer: DiskAnswer) {
      switch answer {
      case .success: self = .ok
      case .failure(.unsupported): self = .unsupported
      case .failure: self = .inputOutputError
      }
    }
  }

  /// A request that the disk has.
  struct Pending {
    /// What the disk is asked for now.
    var request: DiskRequest
    /// What it is asked for when it has done that: the further segments of a discard or of zeroes.
    var rest: ArraySlice<DiskRequest>
    let status: GPA
    /// Bytes that the guest has in its buffers if all goes well.
    let dataCount: Int
  }

  /// The requests in flight, by queue and slot, and those that wait for room.
  struct Flight {
    var queues: [VirtQueue] = []
    private var pending: [[Pending?]] = []
    var waiting: [RequestTag] = []

    mutating func begin(_ queues: [VirtQueue]) {
      guard self.queues.isEmpty else { return }
      self.queues = queues
      pending = queues.map { .init(repeating: nil, count: $0.slotCount) }
    }

    subscript(tag: RequestTag) -> Pending? {
      get { pending[Int(tag.queue)][Int(tag.slot)] }
      set { pending[Int(tag.queue)][Int(tag.slot)] = newValue }
    }
  }

  // MARK: Taking a request

  func take(_ chain: consuming DescriptorChain, _ queue: VirtQueue, isCached: Bool) {
    let writable = chain.writable.byteCount
    guard let last = chain.writable.last, chain.readable.byteCount >= UInt64(Self.headerLength)
    else {
      return queue.refuse(chain, "a block request without header or status")
    }
    let status = GPA(last.start.rawValue + (last.count - 1))
    let data = writable - 1
    do throws(Refusal) {
      let header = try Header(chain.readable, queue.dma)
      let work: [Work]
      switch header.type {
      case RequestType.read:
        let buffers = try buffers(chain.writable.slice(from: 0, count: data), true, queue.dma)
        work = [(.read(buffers), try sectors(from: header.sector, bytes: data))]
      case RequestType.write:
        let count = chain.readable.byteCount - UInt64(Self.headerLength)
        let ranges = chain.readable.slice(from: UInt64(Self.headerLength), count: count)
        let buffers = try buffers(ranges, false, queue.dma)
        work = [
          (.write(buffers, durable: !isCached), try sectors(from: header.sector, bytes: count))
        ]
      case RequestType.flush: work = [(.flush, 0..<0)]
      case RequestType.identify:
        return identify(chain, queue, status, room: data)
      case RequestType.discard:
        work = try segments(chain.readable, queue.dma, disk.discard, flags: 0) { _ in .discard }
      case RequestType.writeZeroes:
        work = try segments(chain.readable, queue.dma, disk.writeZeroes, flags: 1) {
          .writeZeroes(mayUnmap: $0 & 1 == 1)
        }
      default: throw Refusal(.unsupported)
      }
      let tag = queue.hold(chain)
      let requests = work.map { DiskRequest($0, sectors: $1, tag: tag) }
      submit(
        Pending(
          request: requests[0], rest: requests.dropFirst(), status: status, dataCount: Int(data)))
    } catch {
      finish(queue, status, error.status)
      queue.complete(chain, written: data == 0 ? 1 : 0)
    }
  }

  /// Asks the disk for a request, and for those that follow it as long as it answers them at once.
  private func submit(_ pending: Pending) {
    var pending = pending
    let tag = pending.request.tag
    while true {
      flight.with { [pending] in $0[tag] = pending }
      guard let answer = disk.submit(pending.request, self) else { return }
      guard let next = next(after: answer, tag) else { return settle(tag, answer) }
      pending = next
    }
  }

  /// What follows the request that was answered; `nil`: nothing, or nothing any more.
  private func next(after answer: DiskAnswer, _ tag: RequestTag) -> Pending? {
    guard case .success = answer else { return nil }
    return flight.with { flight in
      // After a reset the driver wants no more of it.
      guard var pending = flight[tag], let request = pending.rest.popFirst(),
        flight.queues[Int(tag.queue)].buffers(of: tag) != nil
      else { return nil }
      pending.request = request
      return pending
    }
  }

  private func identify(
    _ chain: consuming DescriptorChain, _ queue: VirtQueue, _ status: GPA, room: UInt64
  ) {
    let id = serial + [UInt8](repeating: 0, count: Self.serialLength - serial.count)
    let bytes = Array(id.prefix(Int(min(room, UInt64(id.count)))))
    let written = try? queue.dma.write(bytes, to: chain.writable)
    let isDone = written == bytes.count
    finish(queue, status, isDone ? .ok : .inputOutputError)
    queue.complete(chain, written: isDone ? bytes.count : 0)
  }

  // MARK: Parts of a request

  /// Why a request goes no further than this.
  private struct Refusal: Error {
    let status: Status
    init(_ status: Status) { self.status = status }
  }

  private struct Header {
    let type: UInt32
    let sector: UInt64

    /// As it lies in memory.
    private struct Raw: BitwiseCopyable {
      let type: UInt32
      let reserved: UInt32
      let sector: UInt64
    }

    init(_ ranges: [GPARange], _ dma: DMA) throws(Refusal) {
      // Nearly every driver lays it in one piece.
      if ranges[0].count >= UInt64(VirtioBlock.headerLength) {
        guard let raw = try? dma.load(Raw.self, at: ranges[0].start) else {
          throw Refusal(.inputOutputError)
        }
        type = raw.type
        sector = raw.sector
        return
      }
      let bytes = try VirtioBlock.copy(ranges, 0, VirtioBlock.headerLength, dma)
      guard let type = bytes.integer(UInt32.self, littleEndianAt: 0),
        let sector = bytes.integer(UInt64.self, littleEndianAt: 8)
      else { throw Refusal(.inputOutputError) }
      self.type = type
      self.sector = sector
    }
  }

  private typealias Work = (DiskRequest.Operation, Range<UInt64>)

  /// What a discard or a request for zeroes asks for: VIRTIO 1.3 §5.2.6, struct virtio_blk_discard_write_zeroes, once
  /// for each segment. A segment that is wrong makes the whole request so, and nothing of it is done.
  ///
  /// - Parameter flags: those that have a meaning here.
  private func segments(
    _ ranges: [GPARange], _ dma: DMA, _ limits: RangeLimits?, flags: UInt32,
    _ operation: (UInt32) -> DiskRequest.Operation
  ) throws(Refusal) -> [Work] {
    let header = UInt64(Self.headerLength)
    let (count, rest) = (ranges.byteCount - header)
      .quotientAndRemainder(dividingBy: UInt64(Self.segmentLength))
    guard let limits, rest == 0, 1...UInt64(Self.segmentLimit) ~= count else {
      throw Refusal(.unsupported)
    }
    let bytes = try Self.copy(ranges, header, Int(count) * Self.segmentLength, dma)
    var work: [Work] = []
    for place in stride(from: 0, to: bytes.count, by: Self.segmentLength) {
      guard let sector = bytes.integer(UInt64.self, littleEndianAt: place),
        let count = bytes.integer(UInt32.self, littleEndianAt: place + 8),
        let flagged = bytes.integer(UInt32.self, littleEndianAt: place + 12)
      else { throw Refusal(.inputOutputError) }
      guard flagged & ~flags == 0 else { throw Refusal(.unsupported) }
      let sectors = try sectors(from: sector, bytes: UInt64(count) * UInt64(Self.unit))
      guard UInt64(sectors.count) <= limits.maximum else { throw Refusal(.inputOutputError) }
      work.append((operation(flagged), sectors))
    }
    return work
  }

  private static func copy(
    _ ranges: [GPARange], _ offset: UInt64, _ count: Int, _ dma: DMA
  ) throws(Refusal) -> [UInt8] {
    do throws(MemoryFault) {
      return try dma.bytes(of: ranges, from: offset, count: count)
    } catch {
      throw Refusal(.inputOutputError)
    }
  }

  private func buffers(
    _ ranges: [GPARange], _ isWritable: Bool, _ dma: DMA
  ) throws(Refusal) -> GuestBuffers {
    do throws(MemoryFault) {
      return try dma.buffers(ranges, writable: isWritable)
    } catch {
      throw Refusal(.inputOutputError)
    }
  }

  /// The disk's sectors that a run of bytes from a sector of 512 bytes on covers. Whether they exist is the disk's to
  /// say.
  private func sectors(from sector: UInt64, bytes: UInt64) throws(Refusal) -> Range<UInt64> {
    let perSector = UInt64(disk.sectorSize / Self.unit)
    guard sector % perSector == 0, bytes % UInt64(disk.sectorSize) == 0, bytes > 0 else {
      throw Refusal(.inputOutputError)
    }
    let first = sector / perSector
    let (end, overflow) = first.addingReportingOverflow(bytes / UInt64(disk.sectorSize))
    guard !overflow else { throw Refusal(.inputOutputError) }
    return first..<end
  }

  // MARK: Ending a request

  private func finish(_ queue: VirtQueue, _ place: GPA, _ status: Status) {
    // Memory that was there when the chain was taken; if it is out of reach now, the driver asked for that.
    try? queue.dma.store(status.rawValue, at: place)
  }

  private func end(_ tag: RequestTag, _ status: Status) {
    guard
      let (queue, pending) = flight.with({ flight -> (VirtQueue, Pending)? in
        guard let pending = flight[tag] else { return nil }
        flight[tag] = nil
        return (flight.queues[Int(tag.queue)], pending)
      })
    else { return }
    if case .read(let buffers) = pending.request.operation { buffers.noteWritten() }
    // After a reset the memory is the driver's again.
    if queue.buffers(of: tag) != nil {
      finish(queue, pending.status, status)
    }
    let written = status == .ok ? pending.dataCount + 1 : pending.dataCount == 0 ? 1 : 0
    queue.complete(tag, written: written)
  }

  // MARK: Waiting for room

  /// Tries again what found the host's storage full. On the loop.
  package func retry() {
    let waiting = flight.with { flight in
      defer { flight.waiting = [] }
      return flight.waiting.compactMap { flight[$0] }
    }
    for pending in waiting { submit(pending) }
    disk.commit()
  }

  /// Ends the wait, of all requests or of one queue's.
  func giveUpWaiting(queue: Int? = nil) {
    let waiting = flight.with { flight in
      let ending = flight.waiting.filter { queue == nil || Int($0.queue) == queue }
      flight.waiting.removeAll { queue == nil || Int($0.queue) == queue }
      return ending
    }
    for tag in waiting { end(tag, .inputOutputError) }
  }
}

extension VirtioBlock: DiskCompletion {
  package func completed(_ tag: RequestTag, _ answer: DiskAnswer) {
    guard let next = next(after: answer, tag) else { return settle(tag, answer) }
    submit(next)
    disk.commit()
  }

  /// Ends a request, or has it wait.
  private func settle(_ tag: RequestTag, _ answer: DiskAnswer) {
    if case .failure(.noSpace) = answer, case .wait(let tell) = whenFull,
      flight.with({ $0.queues[Int(tag.queue)].buffers(of: tag) != nil })
    {
      let isFirst = flight.with { flight in
        flight.waiting.append(tag)
        return flight.waiting.count == 1
      }
      if isFirst { tell() }
      return
    }
    end(tag, Status(answer))
  }
}
