import Bits
import Board
import Disks
import Kit
import Memory
import SavedState
import Synchronization
import Testing
import Work

@testable import Virtio

/// Persistent memory over a disk of the test's, and a driver that asks for flushes.
private struct PersistentMemoryBench {
  let disk: TestDisk
  let bench: Bench<VirtioPersistentMemory>
  let area: UInt64
  static let range = GPARange(start: GPA(0x1_4000_0000), count: 64 << 20)!

  init(_ dialect: UInt64 = 0, isReadOnly: Bool = false) {
    let disk = TestDisk(sectors: 8, isReadOnly: isReadOnly)
    self.disk = disk
    bench = Bench { VirtioPersistentMemory(Self.range, flushing: disk, loop: $0) }
    #expect(bench.begin(dialect))
    area = bench.driver.allocate(4096)
  }

  /// Asks for something, in the place of that number.
  func ask(_ type: UInt32 = 0, _ number: UInt64 = 0, room: Int = 4) {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: type)
    let place = area + number * 64
    bench.driver.put(bytes + [0x55, 0x55, 0x55, 0x55], at: place)
    #expect(
      bench.driver.queues[0].add([.init(place, 4), .init(place + 4, room, writable: true)]) != nil)
    bench.driver.queues[0].kick()
    bench.loop.run()
  }

  func answer(_ number: UInt64 = 0) -> [UInt8] {
    bench.driver.bytes(at: area + number * 64 + 4, count: 4)
  }

  var used: [Int] { bench.driver.queues[0].takeAll().map { Int($0.written) } }
}

/// VIRTIO 1.3 §5.19.
@Suite struct VirtioPersistentMemoryTests {
  private static let done: [UInt8] = [0, 0, 0, 0]
  private static let failed: [UInt8] = [0xff, 0xff, 0xff, 0xff]
  private static let unanswered: [UInt8] = [0x55, 0x55, 0x55, 0x55]

  // §5.19.4, §5.19.5.1: the range is an absolute address, as the shared memory region is not offered.
  @Test func `the driver finds the memory by its address and size`() {
    let bench = PersistentMemoryBench()
    #expect(
      bench.bench.registers.configuration(0, count: 16)
        == [0, 0, 0, 0x40, 1, 0, 0, 0] + [0, 0, 0, 4, 0, 0, 0, 0])
    bench.bench.registers.setConfiguration([UInt8](repeating: 0xff, count: 16), at: 0)
    #expect(bench.bench.registers.configuration(0, count: 4) == [0, 0, 0, 0x40])
    #expect(bench.bench.device.profile.features.rawValue == 0)
  }

  // §5.19.7.1
  @Test(arguments: Dialect.all)
  func `a flush is answered when the host has made all durable`(dialect: Dialect) {
    let bench = PersistentMemoryBench(dialect.features)
    bench.ask()
    #expect(bench.used == [4] && bench.answer() == Self.done && bench.disk.log == ["flush"])
    bench.disk.state.withLock { $0.isSlow = true }
    bench.ask(0, 1)
    bench.ask(0, 2)
    #expect(bench.used == [] && bench.answer(1) == Self.unanswered)
    bench.disk.finish(1)
    bench.bench.loop.run()
    #expect(bench.used == [4] && bench.answer(1) == Self.unanswered)
    #expect(bench.answer(2) == Self.done)
    bench.disk.finish()
    bench.bench.loop.run()
    #expect(bench.used == [4] && bench.answer(1) == Self.done)
  }

  // §5.19.7.3: "-1" for failure.
  @Test func `a flush that fails says so, and so does one of what cannot be written`() {
    let bench = PersistentMemoryBench()
    bench.disk.state.withLock { $0.error = .host(operation: "flush", code: 5) }
    bench.ask()
    #expect(bench.used == [4] && bench.answer() == Self.failed)
    let fixed = PersistentMemoryBench(isReadOnly: true)
    fixed.ask()
    #expect(fixed.used == [4] && fixed.answer() == Self.failed && fixed.disk.log == [])
  }

  @Test func `what is no flush fails, and what is no request stops the queue`() {
    let bench = PersistentMemoryBench()
    for type in [1, 0x100, UInt32.max] { bench.ask(type) }
    #expect(bench.used == [4, 4, 4] && bench.answer() == Self.failed && bench.disk.log == [])
    bench.ask(0, 1, room: 3)
    #expect(bench.bench.registers.status & GuestDriver.needsReset != 0)
    #expect(bench.bench.reset() && bench.bench.begin())
    bench.ask(0, 2)
    #expect(bench.answer(2) == Self.done)
  }

  @Test func `a flush from before a reset writes nowhere, and the reset waits for it`() {
    let bench = PersistentMemoryBench()
    bench.disk.state.withLock { $0.isSlow = true }
    bench.ask()
    #expect(!bench.bench.reset())
    bench.disk.finish()
    bench.bench.loop.run()
    #expect(bench.bench.driver.transport.status == 0)
    #expect(bench.answer() == Self.unanswered)
    bench.disk.state.withLock { $0.isSlow = false }
    #expect(bench.bench.begin())
    bench.ask(0, 1)
    #expect(bench.answer(1) == Self.done)
  }

  @Test func `a stop waits for flushes, and what is saved is where the memory is`() throws {
    let bench = PersistentMemoryBench()
    bench.disk.state.withLock { $0.isSlow = true }
    bench.ask()
    #expect(!bench.bench.stop())
    bench.disk.finish()
    bench.bench.loop.run()
    #expect(bench.answer() == Self.done)
    let saved = bench.bench.device.save()
    let loop = ManualLoop()
    let twin = VirtioPersistentMemory(
      PersistentMemoryBench.range, flushing: bench.disk, loop: loop)
    try twin.restore(saved)
    for range in [
      GPARange(start: GPA(0x1_4000_0000), count: 32 << 20)!,
      GPARange(start: GPA(0x1_8000_0000), count: 64 << 20)!,
    ] {
      let other = VirtioPersistentMemory(range, flushing: bench.disk, loop: loop)
      #expect(throws: RestoreError.self) { try other.restore(saved) }
    }
  }
}
