import Board
import Kit
import Memory
import SavedState
import Shares
import Synchronization
import Testing
import Work

@testable import Virtio

/// A device that shares files, the share behind it, and a driver that sends it messages.
private struct ShareBench<Device: ShareDevice> {
  let bench: Bench<Device>
  let share: TestShare
  let area: UInt64

  init(dialect: UInt64 = 0, _ make: (TestShare, ManualLoop) -> Device) {
    var share: TestShare?
    bench = Bench { loop in
      let made = TestShare(loop)
      share = made
      return make(made, loop)
    }
    self.share = share!
    #expect(bench.begin(dialect))
    area = bench.driver.allocate(1 << 20)
  }

  /// Queues a message, with room for its answer.
  func send(_ message: [UInt8], room: Int, queue: Int = 0, slot: UInt64 = 0) {
    let base = area + slot * 0x2000
    bench.driver.put(message, at: base)
    var buffers: [GuestQueue.Buffer] = []
    // Cut in two, as drivers cut headers from what follows.
    if message.count > 1 { buffers.append(.init(base, 1)) }
    buffers.append(.init(base + UInt64(min(1, message.count - 1)), max(1, message.count - 1)))
    if room > 0 { buffers.append(.init(base + 0x1000, room, writable: true)) }
    #expect(bench.driver.queues[queue].add(buffers) != nil)
    bench.driver.queues[queue].kick()
    bench.loop.run()
  }

  func answer(_ count: Int, slot: UInt64 = 0) -> [UInt8] {
    bench.driver.bytes(at: area + slot * 0x2000 + 0x1000, count: count)
  }
}

extension ShareBench<VirtioFileSystem> {
  init(queues: Int = 1, dialect: UInt64 = 0) {
    self.init(dialect: dialect) {
      VirtioFileSystem(tag: "home", share: $0, requestQueues: queues, queueSize: 64, loop: $1)
    }
  }
}

/// VIRTIO 1.3 §5.11.
@Suite struct VirtioFileSystemTests {
  // §5.11.4
  @Test func `the configuration has the tag and the number of request queues`() {
    let bench = ShareBench<VirtioFileSystem>(queues: 3)
    let bytes = bench.bench.registers.configuration(0, count: 40)
    #expect(bytes == Array("home".utf8) + [UInt8](repeating: 0, count: 32) + [3, 0, 0, 0])
    #expect(bench.bench.driver.queues.count == 4)
  }

  @Test(arguments: Dialect.all)
  func `messages on every queue are answered`(dialect: Dialect) {
    let bench = ShareBench<VirtioFileSystem>(queues: 2, dialect: dialect.features)
    for queue in 0..<3 {
      bench.send([1, 2, 3], room: 16, queue: queue)
      #expect(bench.bench.driver.queues[queue].takeAll().map(\.written) == [3])
      #expect(bench.answer(4) == [3, 2, 1, 0])
    }
  }

  @Test func `a message without an answer comes back empty`() {
    let bench = ShareBench<VirtioFileSystem>()
    bench.send([0, 1], room: 0)
    bench.send([0, 2], room: 8, slot: 1)
    bench.send([5, 6], room: 0, slot: 2)
    #expect(bench.bench.driver.queues[0].takeAll().map(\.written) == [0, 0, 0])
  }

  @Test(arguments: Dialect.all)
  func `answers come in any order, each to its own message`(dialect: Dialect) {
    let bench = ShareBench<VirtioFileSystem>(queues: 2, dialect: dialect.features)
    bench.share.state.withLock { $0.isSlow = true }
    for slot in 0..<6 as Range<UInt64> {
      bench.send([UInt8(slot) + 1, 9], room: 2, queue: 1 + Int(slot % 2), slot: slot)
    }
    for number in [5, 0, 2, 1, 1, 0] {
      bench.share.finish(number)
      bench.bench.loop.run()
    }
    #expect(bench.bench.driver.queues[1].takeAll().count == 3)
    #expect(bench.bench.driver.queues[2].takeAll().count == 3)
    for slot in 0..<6 as Range<UInt64> {
      #expect(bench.answer(2, slot: slot) == [9, UInt8(slot) + 1])
    }
  }

  @Test func `a message longer than any is not copied, and comes back empty`() {
    let bench = ShareBench<VirtioFileSystem>()
    let longest = ShareFlight.longestMessage
    for count in [longest, longest + 1, 8 << 20] {
      let queue = bench.bench.driver.queues[1]
      #expect(queue.add([.init(0x1000, count), .init(bench.area, 8, writable: true)]) != nil)
      queue.kick()
      bench.bench.loop.run()
      #expect(queue.takeAll().count == 1)
    }
    #expect(bench.share.state.withLock { $0.sizes } == [longest])
  }

  @Test func `messages in flight take so much memory and no more`() {
    let bench = ShareBench<VirtioFileSystem>()
    bench.share.state.withLock { $0.isSlow = true }
    let queue = bench.bench.driver.queues[1]
    for _ in 0..<32 { #expect(queue.add([.init(0x1000, 1 << 20)]) != nil) }
    queue.kick()
    bench.bench.loop.run()
    #expect(bench.share.inFlight == 16)
    // The other queue waits, too.
    bench.send([1, 2], room: 2, queue: 0)
    #expect(bench.share.inFlight == 16)
    bench.share.finish()
    bench.bench.loop.run()
    #expect((16...17).contains(bench.share.inFlight), "one ended, and others took its place")
    while bench.share.inFlight > 0 {
      bench.share.finish()
      bench.bench.loop.run()
    }
    #expect(queue.takeAll().count == 32)
    #expect(bench.bench.driver.queues[0].takeAll().count == 1)
  }

  @Test func `a reset waits for what is in flight, and its answer is not written`() {
    let bench = ShareBench<VirtioFileSystem>()
    bench.share.state.withLock { $0.isSlow = true }
    bench.send([1, 2], room: 2, queue: 1)
    let resets = bench.share.state.withLock { $0.resets }
    bench.bench.registers.status = 0
    bench.bench.loop.run()
    #expect(bench.bench.registers.status != 0)
    #expect(bench.share.state.withLock { $0.resets } == resets + 1, "the client is gone")
    bench.share.finish()
    bench.bench.loop.run()
    #expect(bench.bench.registers.status == 0)
    #expect(bench.answer(2) == [0, 0])
    bench.share.state.withLock { $0.isSlow = false }
    #expect(bench.bench.begin())
    bench.send([1, 2], room: 2, queue: 1)
    #expect(bench.bench.driver.queues[1].takeAll().count == 1)
  }

  @Test func `the machine rests when the last answer has come, and goes on afterwards`() {
    let bench = ShareBench<VirtioFileSystem>()
    bench.share.state.withLock { $0.isSlow = true }
    bench.send([1, 2], room: 2, queue: 1)
    #expect(!bench.bench.stop())
    #expect(throws: SaveError.self) { try bench.bench.transport.savedPart(named: "fs") }
    bench.share.finish()
    bench.bench.loop.run()
    #expect(bench.answer(2) == [2, 1], "it was answered all the same")
    #expect(throws: Never.self) { try bench.bench.transport.savedPart(named: "fs") }
    bench.bench.start()
    bench.share.state.withLock { $0.isSlow = false }
    bench.send([3, 4], room: 2, queue: 1, slot: 1)
    #expect(bench.answer(2, slot: 1) == [4, 3])
  }

  @Test func `what the client knows of the share is saved, and restored`() throws {
    let bench = ShareBench<VirtioFileSystem>()
    bench.send([9, 8, 7], room: 3)
    #expect(bench.bench.stop())
    let saved = try bench.bench.transport.savedPart(named: "fs")
    let loop = ManualLoop()
    let share = TestShare(loop)
    let twin = VirtioMMIO(
      VirtioFileSystem(tag: "home", share: share, queueSize: 64, loop: loop),
      interrupt: InterruptLine(to: RecordingController(), pin: 4),
      dma: DMA(bench.bench.memory), loop: loop)
    try twin.restore(from: saved)
    #expect(share.state.withLock { $0.known } == [9, 8, 7])
    bench.share.state.withLock { $0.failure = .host(operation: "find the file", code: 5) }
    #expect(throws: SaveError.self) { try bench.bench.transport.savedPart(named: "fs") }
  }

  @Test(arguments: 0..<8 as Range<UInt64>)
  func `whatever a driver offers, each chain comes back or the queue says that it broke`(
    seed: UInt64
  ) {
    var chance = Chance(seed: seed)
    let bench = ShareBench<VirtioFileSystem>(
      queues: 2, dialect: Dialect.all[Int(seed % 4)].features)
    for _ in 0..<200 {
      let queue = bench.bench.driver.queues[Int(chance.number(below: 3))]
      let isWild = chance.number(below: 50) == 0
      let readable = (0..<chance.number(below: 3)).map { _ in
        GuestQueue.Buffer(
          isWild ? chance.value() : chance.number(below: 8 << 20),
          Int(1 + chance.number(below: isWild ? .max >> 33 : 1 << 20)))
      }
      let writable = (0..<chance.number(below: 3)).map { _ in
        GuestQueue.Buffer(
          (8 << 20) + chance.number(below: 4 << 20), 1 + Int(chance.number(below: 1 << 20)),
          writable: true)
      }
      bench.share.state.withLock { $0.isSlow = chance.number(below: 2) == 0 }
      _ = queue.add(readable + writable, indirect: chance.number(below: 2) == 0)
      queue.kick()
      bench.bench.loop.run()
      while chance.number(below: 2) == 0, bench.share.inFlight > 0 {
        bench.share.finish(Int(chance.number(below: UInt64(bench.share.inFlight))))
        bench.bench.loop.run()
      }
      _ = queue.takeAll()
      if chance.number(below: 20) == 0 || bench.bench.registers.status & GuestDriver.needsReset != 0
      {
        bench.bench.registers.status = 0
        bench.bench.loop.run()
        while bench.share.inFlight > 0 { bench.share.finish() }
        bench.bench.loop.run()
        #expect(bench.bench.registers.status == 0)
        // The rings of the next life lie in the same memory again.
        bench.bench.driver.free = 13 << 20
        #expect(bench.bench.begin(Dialect.all[Int(chance.number(below: 4))].features))
      }
    }
    bench.share.state.withLock { $0.isSlow = false }
    while bench.share.inFlight > 0 { bench.share.finish() }
    bench.bench.loop.run()
    for queue in bench.bench.driver.queues { _ = queue.takeAll() }
    let isBroken = bench.bench.registers.status & GuestDriver.needsReset != 0
    #expect(isBroken || bench.bench.driver.queues.allSatisfy { $0.inFlight == 0 })
  }
}

/// Linux `include/uapi/linux/virtio_9p.h`.
@Suite struct VirtioNinePTests {
  private func bench(_ dialect: UInt64 = 0) -> ShareBench<VirtioNineP> {
    ShareBench(dialect: dialect) { VirtioNineP(tag: "spool", share: $0, loop: $1) }
  }

  @Test func `the configuration has the tag behind its length`() {
    let bench = bench()
    #expect(bench.bench.registers.deviceFeatures & 1 == 1)
    #expect(bench.bench.registers.configuration(0, count: 7) == [5, 0] + Array("spool".utf8))
    #expect(bench.bench.driver.queues.count == 1)
  }

  @Test(arguments: Dialect.all)
  func `messages are answered`(dialect: Dialect) {
    let bench = bench(dialect.features)
    bench.send([1, 2, 3, 4], room: 3)
    #expect(bench.bench.driver.queues[0].takeAll().map(\.written) == [3])
    #expect(bench.answer(4) == [4, 3, 2, 0])
  }
}
