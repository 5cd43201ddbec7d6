import Disks
import HostOS
import Kit
import Memory
import Synchronization
import Testing
import Work

/// Hears a disk's answers on a loop that the test turns, or on one of the host's.
final class Hearer: DiskCompletion {
  let loop: any Loop
  private let heard = Mutex<[(tag: RequestTag, answer: DiskAnswer)]>([])
  private let came = Event()

  init(_ loop: any Loop) { self.loop = loop }

  func completed(_ tag: RequestTag, _ answer: DiskAnswer) {
    heard.withLock { $0.append((tag, answer)) }
    came.signal()
  }

  var answers: [(tag: RequestTag, answer: DiskAnswer)] { heard.withLock { $0 } }

  /// Waits until so many answers have come; of a loop of the host's.
  func wait(for count: Int) { while answers.count < count { came.wait() } }
}

/// An image whose flushes, and writes to its first cluster, wait until the test lets them go.
final class SlowImage: DiskImage {
  let beneath: any DiskImage
  let mayWrite: Event?
  let mayFlush = Event()
  let isFlushing = Event()
  let flushes = Atomic<Int>(0)

  init(over beneath: any DiskImage, mayWrite: Event? = nil) {
    self.beneath = beneath
    self.mayWrite = mayWrite
  }

  var size: UInt64 { beneath.size }
  var isReadOnly: Bool { beneath.isReadOnly }
  var alignment: Int { beneath.alignment }
  var clusterSize: Int { beneath.clusterSize }
  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try beneath.read(into: buffers, at: offset)
  }
  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    if offset < UInt64(clusterSize), let mayWrite {
      mayWrite.wait()
      mayWrite.signal()
    }
    try beneath.write(buffers, at: offset)
  }
  func flush() throws(DiskError) {
    isFlushing.signal()
    mayFlush.wait()
    flushes.add(1, ordering: .sequentiallyConsistent)
    try beneath.flush()
  }
  func discard(_ range: Range<UInt64>) throws(DiskError) { try beneath.discard(range) }
  func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try beneath.writeZeroes(range, mayUnmap: mayUnmap)
  }
  func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try beneath.extent(at: offset)
  }
}

final class QueuedDiskTests {
  let folder: TemporaryFolder
  let pool: WorkerPool
  let loop: EventLoop
  let image: RawImage

  init() throws {
    folder = try TemporaryFolder()
    pool = try WorkerPool(name: "disk", limit: 4)
    loop = try EventLoop(name: "disks")
    let path = folder.file("disk.img")
    try RawImage.create(path, size: 256 << 10)
    image = try RawImage.open(path, writable: true)
  }

  deinit {
    pool.stop()
    loop.stop()
  }

  static func tag(_ slot: UInt16) -> RequestTag { RequestTag(queue: 3, slot: slot, generation: 9) }

  /// Does a request and waits for its answer, wherever it comes.
  func answer(
    _ disk: QueuedDisk, _ operation: DiskRequest.Operation, _ sectors: Range<UInt64> = 0..<0
  ) -> DiskAnswer {
    let hearer = Hearer(loop)
    let request = DiskRequest(operation, sectors: sectors, tag: Self.tag(1))
    if let answer = disk.submit(request, hearer) { return answer }
    disk.commit()
    hearer.wait(for: 1)
    #expect(hearer.answers.map(\.tag) == [Self.tag(1)])
    return hearer.answers[0].answer
  }

  @Test func `what was written is read, in every way there is`() throws {
    let disk = QueuedDisk(image, pool: pool)
    #expect(disk.sectorCount == 512)
    let buffer = HostBuffer(count: 1024)
    for (index, durable) in [false, true].enumerated() {
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index + 1))
      let sectors = UInt64(index) * 2..<UInt64(index) * 2 + 2
      try answer(disk, .write(buffer.buffers, durable: durable), sectors).get()
    }
    try answer(disk, .flush).get()
    let whole = HostBuffer(count: 2048)
    try answer(disk, .read(whole.buffers), 0..<4).get()
    #expect(whole.bytes.elementsEqual((0..<2048).map { $0 < 1024 ? 1 : 2 }))
    try answer(disk, .writeZeroes(mayUnmap: false), 1..<2).get()
    try answer(disk, .discard, 2..<4).get()
    try answer(disk, .read(whole.buffers), 0..<4).get()
    #expect(whole.bytes.elementsEqual((0..<2048).map { $0 < 512 ? 1 : 0 }))
  }

  @Test func `what lies in the page cache is answered at once`() throws {
    let disk = QueuedDisk(image, pool: pool)
    let hearer = Hearer(ManualLoop())
    try image.write(HostBuffer(count: 4096).buffers, at: 0)
    let request = DiskRequest(
      .read(HostBuffer(count: 4096).buffers), sectors: 0..<8, tag: Self.tag(1))
    // A host that cannot tell answers later, and so does one that has just dropped the page.
    if let answer = disk.submit(request, hearer) { try answer.get() }
    #expect(hearer.answers.isEmpty)
  }

  @Test func `a read into guest memory counts as written there`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    memory.dirtyPages.isEnabled = true
    let disk = QueuedDisk(image, pool: pool)
    let range = try #require(GPARange(start: GPA(8192), count: 512))
    try answer(disk, .read(memory.buffers([range], writable: true)), 0..<1).get()
    #expect(memory.dirtyPages.collect() == [2])
  }

  @Test func `requests that the disk does not have are refused at once`() throws {
    let disk = QueuedDisk(image, pool: pool)
    let hearer = Hearer(ManualLoop())
    let sector = HostBuffer(count: 512).buffers
    let limit = try #require(disk.writeZeroes).maximum
    let refused: [(DiskRequest.Operation, Range<UInt64>)] = [
      (.read(sector), 512..<513), (.read(sector), 511..<513), (.read(sector), 0..<2),
      (.read(sector), 0..<0), (.read(sector), .max - 1..<UInt64.max),
      (.read(sector), 0..<UInt64.max),
      (.write(sector, durable: false), 512..<513), (.write(sector, durable: true), 0..<2),
      (.discard, 0..<513), (.discard, 0..<UInt64.max),
      (.writeZeroes(mayUnmap: true), 1 << 55..<1 << 56),
      (.writeZeroes(mayUnmap: false), 0..<limit + 1),
    ]
    for (operation, sectors) in refused {
      let answer = disk.submit(DiskRequest(operation, sectors: sectors, tag: Self.tag(0)), hearer)
      #expect(answer?.error == .outOfRange, "\(operation) \(sectors)")
    }
    #expect(disk.inFlight.isReached)
    #expect(answer(disk, .flush, 1 << 63..<UInt64.max).error == nil)
  }

  @Test func `a disk that is not to be written says so`() throws {
    let disk = QueuedDisk(image, isReadOnly: true, pool: pool)
    #expect(disk.discard == nil && disk.writeZeroes == nil && disk.isReadOnly)
    let sector = HostBuffer(count: 512).buffers
    #expect(answer(disk, .write(sector, durable: false), 0..<1).error == .readOnly)
    #expect(answer(disk, .discard, 0..<1).error == .readOnly)
    #expect(answer(disk, .writeZeroes(mayUnmap: true), 0..<1).error == .readOnly)
    #expect(answer(disk, .read(sector), 0..<1).error == nil)
  }

  @Test func `sectors may be longer than the image's, whose rest is out of reach`() throws {
    let path = folder.file("odd.img")
    try RawImage.create(path, size: 4096 * 3 + 512)
    let disk = QueuedDisk(try RawImage.open(path, writable: true), sectorSize: 4096, pool: pool)
    #expect(disk.sectorCount == 3)
    #expect(answer(disk, .read(HostBuffer(count: 4096).buffers), 2..<3).error == nil)
    #expect(answer(disk, .read(HostBuffer(count: 4096).buffers), 3..<4).error == .outOfRange)
  }

  @Test func `errors of the image reach whoever asked`() throws {
    let faulty = FaultyImage(over: image)
    let disk = QueuedDisk(faulty, pool: pool)
    let sector = HostBuffer(count: 512).buffers
    let broken = DiskError.host(operation: "read", code: 5)
    faulty.fail(.read, with: broken)
    faulty.fail(.write, after: 1, count: 1, with: .noSpace)
    faulty.fail(.flush, with: broken)
    #expect(answer(disk, .read(sector), 0..<1).error == broken)
    #expect(answer(disk, .write(sector, durable: false), 0..<1).error == nil)
    #expect(answer(disk, .write(sector, durable: false), 0..<1).error == .noSpace)
    #expect(answer(disk, .write(sector, durable: false), 0..<1).error == nil)
    #expect(answer(disk, .write(sector, durable: true), 0..<1).error == broken)
    #expect(answer(disk, .flush).error == broken)
    faulty.mend()
    #expect(answer(disk, .read(sector), 0..<1).error == nil)
  }

  @Test func `a flush is not answered before it is done, and holds nobody up`() throws {
    let slow = SlowImage(over: image)
    let disk = QueuedDisk(slow, pool: pool)
    let flushes = Hearer(loop)
    // More than the pool has threads.
    for slot in 0..<8 {
      let request = DiskRequest(.flush, sectors: 0..<0, tag: Self.tag(UInt16(slot)))
      #expect(disk.submit(request, flushes) == nil)
    }
    slow.isFlushing.wait()
    #expect(
      answer(disk, .write(HostBuffer(count: 512).buffers, durable: false), 0..<1).error == nil)
    #expect(flushes.answers.isEmpty)
    #expect(!disk.inFlight.isReached)
    for count in 1...8 {
      slow.mayFlush.signal()
      flushes.wait(for: count)
      #expect(slow.flushes.load(ordering: .sequentiallyConsistent) == count)
    }
    #expect(flushes.answers.map(\.tag.slot) == Array(0..<8))
  }

  @Test func `writes to a cluster wait for the one that a thread makes, and hold no other thread`()
    throws
  {
    let slow = SlowImage(over: image, mayWrite: Event())
    let disk = QueuedDisk(slow, pool: pool)
    let hearer = Hearer(loop)
    let buffers = (0..<8).map { slot in
      let buffer = HostBuffer(count: 512)
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(slot + 1))
      return buffer
    }
    // More than the pool has threads, in one cluster of 4 KiB; the last reaches into the next cluster too.
    for slot in 0..<7 {
      let write = DiskRequest.Operation.write(buffers[slot].buffers, durable: false)
      let sector = UInt64(slot)
      #expect(
        disk.submit(
          DiskRequest(write, sectors: sector..<sector + 1, tag: Self.tag(UInt16(slot))), hearer)
          == nil)
    }
    let across = DiskRequest(
      .write(HostBuffer(count: 1024).buffers, durable: false), sectors: 7..<9, tag: Self.tag(7))
    #expect(disk.submit(across, hearer) == nil)
    disk.commit()
    let elsewhere = answer(disk, .write(buffers[7].buffers, durable: false), 16..<17)
    #expect(elsewhere.error == nil)
    #expect(hearer.answers.isEmpty)
    #expect(!disk.inFlight.isReached)
    slow.mayWrite?.signal()
    hearer.wait(for: 8)
    #expect(hearer.answers.allSatisfy { $0.answer.error == nil })
    #expect(Set(hearer.answers.map(\.tag.slot)) == Set(0..<8))
    let whole = HostBuffer(count: 8 * 512)
    try answer(disk, .read(whole.buffers), 0..<8).get()
    for slot in 0..<8 {
      #expect(whole.bytes[slot * 512] == (slot < 7 ? UInt8(slot + 1) : 0))
    }
  }

  /// The pool's only thread is held in the first cluster while the writes to the second are submitted.
  private func writeBehind(
    _ slow: SlowImage, _ sectors: [Range<UInt64>]
  ) throws -> [(tag: RequestTag, answer: DiskAnswer)] {
    let narrow = try WorkerPool(name: "narrow", limit: 1)
    defer { narrow.stop() }
    let disk = QueuedDisk(slow, pool: narrow)
    let hearer = Hearer(loop)
    for (slot, sectors) in ([0..<1] + sectors).enumerated() {
      let buffer = HostBuffer(count: sectors.count * 512)
      buffer.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(slot))
      let request = DiskRequest(
        .write(buffer.buffers, durable: false), sectors: sectors, tag: Self.tag(UInt16(slot)))
      #expect(disk.submit(request, hearer) == nil)
    }
    disk.commit()
    slow.mayWrite?.signal()
    hearer.wait(for: sectors.count + 1)
    let rest = Event()
    disk.inFlight.whenReached { rest.signal() }
    rest.wait()
    #expect(Set(hearer.answers.map(\.tag.slot)) == Set(0..<UInt16(sectors.count + 1)))
    return hearer.answers
  }

  @Test func `writes that wait one behind the other are made as one`() throws {
    let recording = try RecordingImage(over: image)
    let slow = SlowImage(over: recording, mayWrite: Event())
    let answers = try writeBehind(slow, [8..<9, 10..<12, 9..<10, 14..<15, 12..<13])
    #expect(answers.allSatisfy { $0.answer.error == nil })
    // The one held, the four that touch, and the one apart.
    let writes = recording.events.filter { if case .write = $0 { true } else { false } }
    #expect(writes.count == 3)
    let whole = HostBuffer(count: 8 * 512)
    try image.read(into: whole.buffers, at: 8 * 512)
    let expected: [UInt8] = [1, 3, 2, 2, 5, 0, 4, 0]
    #expect(expected.indices.allSatisfy { whole.bytes[$0 * 512 + 511] == expected[$0] })
  }

  @Test func `writes that fail as one are made one by one`() throws {
    let faulty = FaultyImage(over: image)
    let sectors: [Range<UInt64>] = [8..<9, 9..<10, 10..<11]
    // The first is the one held, the second the three as one.
    faulty.fail(.write, after: 1, count: 1, with: .noSpace)
    let mended = try writeBehind(SlowImage(over: faulty, mayWrite: Event()), sectors)
    #expect(mended.allSatisfy { $0.answer.error == nil })
    faulty.fail(.write, after: 1, with: .noSpace)
    let answers = try writeBehind(SlowImage(over: faulty, mayWrite: Event()), sectors)
    #expect(answers.filter { $0.answer.error == .noSpace }.map(\.tag.slot).sorted() == [1, 2, 3])
  }

  @Test func `each flush that is answered covers every write answered before it`() throws {
    let recording = try RecordingImage(over: image)
    let disk = QueuedDisk(recording, pool: pool)
    let hearer = Hearer(loop)
    var written = 0
    for round in 1...20 {
      for slot in 0..<16 {
        let buffer = HostBuffer(count: 512)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(round))
        let request = DiskRequest(
          .write(buffer.buffers, durable: false), sectors: UInt64(slot)..<UInt64(slot) + 1,
          tag: Self.tag(UInt16(slot)))
        if disk.submit(request, hearer) == nil { written += 1 }
      }
      disk.commit()
      hearer.wait(for: written)
      try answer(disk, .flush).get()
    }
    recording.replay { content, flushes in
      #expect(content[..<(16 * 512)].allSatisfy { $0 == UInt8(flushes) }, "flush \(flushes)")
    }
    #expect(recording.flushes == 20)
  }

  @Test func `rest is reached when the last answer was delivered`() throws {
    let manual = ManualLoop()
    let hearer = Hearer(manual)
    let slow = SlowImage(over: image)
    let disk = QueuedDisk(slow, pool: pool)
    #expect(disk.submit(DiskRequest(.flush, sectors: 0..<0, tag: Self.tag(1)), hearer) == nil)
    slow.isFlushing.wait()
    #expect(!disk.inFlight.isReached)
    slow.mayFlush.signal()
    while hearer.answers.isEmpty {
      #expect(!disk.inFlight.isReached)
      manual.run()
    }
    #expect(disk.inFlight.isReached)
  }

  @Test func `a thousand answers leave a loop its other work`() throws {
    let manual = ManualLoop()
    let hearer = Hearer(manual)
    let disk = QueuedDisk(image, pool: pool)
    let count = 1000
    for slot in 0..<count {
      let request = DiskRequest(
        .write(HostBuffer(count: 512).buffers, durable: true), sectors: 0..<1,
        tag: Self.tag(UInt16(slot)))
      #expect(disk.submit(request, hearer) == nil)
    }
    // Each turn of the loop is a share of them, and what others post has its place between.
    while hearer.answers.count < count { manual.run() }
    #expect(Set(hearer.answers.map(\.tag.slot)).count == count)
    #expect(disk.inFlight.isReached)
  }
}

extension Result {
  var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}
