import Disks
import HostOS
import Kit
import Memory
import Synchronization
import Testing
import Work

/// Disks past the page cache, whose transfers the host makes alone where it can.
final class DirectTransfersTests: Sendable {
  enum Format: CaseIterable { case raw, qcow2 }

  let folder: TemporaryFolder
  let pool: WorkerPool
  let loop: EventLoop
  static let size = 1 << 20
  static let block = 4096

  init() throws {
    folder = try TemporaryFolder()
    pool = try WorkerPool(name: "disk", limit: 4)
    loop = try EventLoop(name: "disks")
  }

  deinit {
    pool.stop()
    loop.stop()
  }

  /// A file system in memory may have no way past the page cache: then the page cache is what is tested.
  private func open(_ path: String, _ format: ImageFormat) throws -> any DiskImage {
    do throws(ImageError) {
      return try ImageOpener(format: format, writable: true, cache: .direct).open(path)
    } catch {
      return try ImageOpener(format: format, writable: true, cache: .writeback).open(path)
    }
  }

  fileprivate func image(_ format: Format) throws -> any DiskImage {
    let path = folder.file("disk")
    switch format {
    case .raw:
      try RawImage.create(path, size: UInt64(Self.size))
      return try open(path, .raw)
    case .qcow2:
      let file = try StorageFile.open(path, [.writable, .new])
      _ = try QCOW2Image.create(QCOW2Options(size: UInt64(Self.size)), in: HostImageFile(file))
      return try open(path, .qcow2)
    }
  }

  /// Has as many requests as there are under way at once, and hands out what the answers are.
  private func answers(_ disk: QueuedDisk, _ requests: [DiskRequest]) -> [DiskAnswer?] {
    let hearer = Hearer(loop)
    var answers = [DiskAnswer?](repeating: nil, count: requests.count)
    var waiting = 0
    for request in requests {
      answers[Int(request.tag.slot)] = disk.submit(request, hearer)
      if answers[Int(request.tag.slot)] == nil { waiting += 1 }
    }
    disk.commit()
    hearer.wait(for: waiting)
    for heard in hearer.answers {
      #expect(answers[Int(heard.tag.slot)] == nil, "answered twice")
      answers[Int(heard.tag.slot)] = heard.answer
    }
    return answers
  }

  /// Not the suite's own: whoever asks on the loop must not keep the suite, whose end stops the loop.
  fileprivate static func request(
    _ slot: Int, _ operation: DiskRequest.Operation, at offset: Int, _ count: Int
  ) -> DiskRequest {
    let sector = UInt64(offset / 512)
    return DiskRequest(
      operation, sectors: sector..<sector + UInt64(count / 512),
      tag: QueuedDiskTests.tag(UInt16(slot)))
  }

  /// More at once than a ring holds, in one piece and in many, each block written once in a round.
  @Test(arguments: Format.allCases)
  func `what was written is read, however many requests there are`(_ format: Format) throws {
    let disk = QueuedDisk(try image(format), pool: pool)
    var chance = Chance(seed: 7)
    var model = [UInt8](repeating: 0, count: Self.size)
    for round in 1...6 {
      // Not all begin and end where direct transfers must.
      let unit = round % 3 == 0 ? 512 : Self.block
      var requests: [DiskRequest] = []
      var at = 0
      while at < Self.size {
        let count = min(unit * (1 + Int(chance.number(below: round == 1 ? 1 : 7))), Self.size - at)
        let list = Scattered(count: count, unit: unit, &chance)
        list.bytes = (0..<count).map { _ in UInt8(chance.number(below: 256)) }
        if round > 1, chance.number(below: 4) == 0 {
          at += count
          continue
        }
        model.replaceSubrange(at..<at + count, with: list.bytes)
        requests.append(
          Self.request(requests.count, .write(list.buffers, durable: false), at: at, count))
        at += count
      }
      for answer in answers(disk, requests) { try #require(answer).get() }

      let reads = stride(from: 0, to: Self.size, by: Self.block).map { start in
        (start, Scattered(count: Self.block, unit: Self.block, &chance))
      }
      let answers = answers(
        disk,
        reads.enumerated().map { Self.request($0, .read($1.1.buffers), at: $1.0, Self.block) })
      for answer in answers { try #require(answer).get() }
      for (start, list) in reads {
        #expect(list.bytes.elementsEqual(model[start..<start + Self.block]), "at \(start)")
      }
    }
    try disk.image.flush()
  }

  @Test func `what a file has lost reads as zeroes, and a write makes it longer`() throws {
    let disk = QueuedDisk(try image(.raw), pool: pool)
    try StorageFile.open(folder.file("disk"), .writable).resize(to: 4 * UInt64(Self.block))
    let buffers = (0..<8).map { _ in
      let buffer = HostBuffer(count: Self.block)
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: 9)
      return buffer
    }
    func requests(_ operation: (GuestBuffers) -> DiskRequest.Operation) -> [DiskRequest] {
      buffers.enumerated().map {
        Self.request($0, operation($1.buffers), at: $0 * Self.block, Self.block)
      }
    }
    for answer in answers(disk, requests { .read($0) }) { try #require(answer).get() }
    #expect(buffers.allSatisfy { $0.bytes.allSatisfy { $0 == 0 } })
    buffers[7].bytes.initializeMemory(as: UInt8.self, repeating: 5)
    for answer in answers(disk, requests { .write($0, durable: false) }) {
      try #require(answer).get()
    }
    for answer in answers(disk, requests { .read($0) }) { try #require(answer).get() }
    withExtendedLifetime(buffers) { #expect(buffers[7].bytes.allSatisfy { $0 == 5 }) }
  }

  @Test func `at rest no transfer is under way`() throws {
    let disk = QueuedDisk(try image(.raw), pool: pool)
    let hearer = Hearer(loop)
    let buffers = (0..<64).map { _ in HostBuffer(count: Self.block) }
    var answered = 0
    for (slot, buffer) in buffers.enumerated() {
      let request = Self.request(slot, .read(buffer.buffers), at: slot * Self.block, Self.block)
      if disk.submit(request, hearer) != nil { answered += 1 }
    }
    disk.commit()
    let rest = Event()
    disk.inFlight.whenReached { rest.signal() }
    rest.wait()
    #expect(hearer.answers.count + answered == buffers.count)
  }
}

extension DirectTransfersTests {
  /// Several threads that put in line and hand over while the loop answers: each hears of its own, in time.
  @Test func `threads that submit beside the loop are all answered`() throws {
    let disk = QueuedDisk(try image(.raw), pool: pool)
    let hearers = (0..<4).map { _ in Hearer(loop) }
    let rounds = 400
    let threads = try hearers.enumerated().map { index, hearer in
      try Thread(name: "submits") {
        let buffer = HostBuffer(count: Self.block)
        var answered = 0
        for round in 0..<rounds {
          let place = (round * 4 + index) % (Self.size / Self.block) * Self.block
          let request = Self.request(round, .read(buffer.buffers), at: place, Self.block)
          if disk.submit(request, hearer) == nil { answered += 1 }
          disk.commit()
          let deadline = HostClock.now.advanced(by: 30_000_000_000)
          while hearer.answers.count < answered {
            guard HostClock.now < deadline else {
              Issue.record("a request was left in line")
              return
            }
            Thread.sleep(until: HostClock.now.advanced(by: 50_000))
          }
        }
      }
    }
    for thread in threads { thread.join() }
  }
}

/// Asks for block after block, each when it hears of the one before, and allows the disk to wait.
private final class Chain: DiskCompletion {
  let loop: any Loop
  private let disk: QueuedDisk
  private let request: @Sendable (Int) -> DiskRequest
  private let state = Mutex((next: 0, failures: 0, depth: 0, deepest: 0))
  private let count: Int
  private let ended = Event()

  init(
    _ count: Int, _ disk: QueuedDisk, _ loop: any Loop,
    _ request: @escaping @Sendable (Int) -> DiskRequest
  ) {
    (self.count, self.disk, self.loop, self.request) = (count, disk, loop, request)
  }

  func run() -> (failures: Int, deepest: Int) {
    loop.post { self.proceed() }
    ended.wait()
    return state.withLock { ($0.failures, $0.deepest) }
  }

  func completed(_ tag: RequestTag, _ answer: DiskAnswer) {
    if case .failure = answer { state.withLock { $0.failures += 1 } }
    proceed()
  }

  private func proceed() {
    let next = state.withLock { state -> Int in
      state.next += 1
      state.depth += 1
      state.deepest = max(state.deepest, state.depth)
      return state.next
    }
    defer { state.withLock { $0.depth -= 1 } }
    guard next <= count else { return ended.signal() }
    if disk.submit(request(next - 1), self) != nil {
      // Where the host has no way past the page cache.
      loop.post { self.proceed() }
    }
    disk.commit(mayWait: true)
  }
}

extension DirectTransfersTests {
  /// More than the patience of a loop, so that some go through the ring.
  @Test(arguments: Format.allCases)
  func `lone requests that may be waited for are all answered, and do not nest`(_ format: Format)
    throws
  {
    let disk = QueuedDisk(try image(format), pool: pool)
    let blocks = Self.size / Self.block
    let buffers = (0..<blocks).map { index in
      let buffer = HostBuffer(count: Self.block)
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index % 251))
      return buffer
    }
    for _ in 0..<3 {
      let written = Chain(blocks, disk, loop) { index in
        Self.request(
          index, .write(buffers[index].buffers, durable: false), at: index * Self.block, Self.block)
      }.run()
      #expect(written.failures == 0)
      #expect(written.deepest <= 3)
    }
    let room = HostBuffer(count: Self.block)
    let wrong = Mutex(0)
    let read = Chain(blocks, disk, loop) { index in
      if index > 0, !room.bytes.allSatisfy({ $0 == UInt8((index - 1) % 251) }) {
        wrong.withLock { $0 += 1 }
      }
      return Self.request(index, .read(room.buffers), at: index * Self.block, Self.block)
    }.run()
    #expect(read.failures == 0)
    #expect(wrong.withLock { $0 } == 0)
  }

  @Test func `a lone request is answered before the call that may wait returns`() throws {
    let disk = QueuedDisk(try image(.raw), pool: pool)
    let hearer = Hearer(loop)
    let buffer = HostBuffer(count: Self.block)
    let done = Event()
    let heard = Mutex<Bool?>(nil)
    loop.post {
      let answer = disk.submit(Self.request(0, .read(buffer.buffers), at: 0, Self.block), hearer)
      disk.commit(mayWait: true)
      heard.withLock { $0 = answer != nil || hearer.answers.count == 1 }
      done.signal()
    }
    done.wait()
    #expect(heard.withLock { $0 } == true)
  }
}
