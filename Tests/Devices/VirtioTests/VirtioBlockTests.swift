import Bits
import Board
import Disks
import Kit
import Memory
import Synchronization
import Testing
import Work

@testable import Virtio

/// A block device, a disk behind it, and a driver that speaks its requests.
private struct BlockBench {
  let bench: Bench<VirtioBlock>
  let disk: TestDisk
  let area: UInt64

  init(
    _ disk: TestDisk = TestDisk(sectors: 1024), queues: Int = 1,
    whenFull: VirtioBlock.WhenFull = .report, ownsLoop: Bool = false,
    dialect: UInt64 = 0, own: UInt64 = .max
  ) {
    self.disk = disk
    bench = Bench {
      VirtioBlock(
        disk: disk, serial: "ROOST-0001", queues: queues, queueSize: 64, optimalSize: 65536,
        whenFull: whenFull, loop: $0, ownsLoop: ownsLoop)
    }
    #expect(bench.begin(dialect, device: own))
    area = bench.driver.allocate(1 << 16)
  }

  func header(_ type: UInt32, _ sector: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: type)
    bytes.append(littleEndian: 0 as UInt32)
    bytes.append(littleEndian: sector)
    return bytes
  }

  /// Queues a request whose parts lie `slot` places in: the header, what is written, room to read, the status.
  func send(
    _ type: UInt32, _ sector: UInt64 = 0, _ data: [UInt8] = [], room: Int = 0, slot: UInt64 = 0,
    queue: Int = 0
  ) {
    let base = area + slot * 0x4000
    bench.driver.put(header(type, sector) + data, at: base)
    bench.driver.put([0xee], at: base + 0x3fff)
    var buffers: [GuestQueue.Buffer] = [.init(base, 16)]
    if !data.isEmpty { buffers.append(.init(base + 16, data.count)) }
    if room > 0 { buffers.append(.init(base + 0x2000, room, writable: true)) }
    buffers.append(.init(base + 0x3fff, 1, writable: true))
    #expect(bench.driver.queues[queue].add(buffers) != nil)
    bench.driver.queues[queue].kick()
  }

  func status(slot: UInt64 = 0) -> UInt8 {
    bench.driver.bytes(at: area + slot * 0x4000 + 0x3fff, count: 1)[0]
  }

  func answer(_ count: Int, slot: UInt64 = 0) -> [UInt8] {
    bench.driver.bytes(at: area + slot * 0x4000 + 0x2000, count: count)
  }

  /// Sends a request and takes its answer: the status, and how much was written.
  func ask(_ type: UInt32, _ sector: UInt64 = 0, _ data: [UInt8] = [], room: Int = 0) -> (
    UInt8, UInt32?
  ) {
    send(type, sector, data, room: room)
    bench.loop.run()
    let used = bench.driver.queues[0].take()
    return (status(), used?.written)
  }

  func segment(_ sector: UInt64, _ count: UInt32, _ flags: UInt32 = 0) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: sector)
    bytes.append(littleEndian: count)
    bytes.append(littleEndian: flags)
    return bytes
  }

  func field<T: FixedWidthInteger>(_ type: T.Type, _ offset: Int) -> T? {
    bench.registers.configuration(0, count: 60).integer(type, littleEndianAt: offset)
  }
}

/// VIRTIO 1.3 §5.2.
@Suite struct VirtioBlockTests {
  @Test(arguments: Dialect.all)
  func `what is written is read again`(dialect: Dialect) {
    let bench = BlockBench(dialect: dialect.features)
    let data = (0..<1024).map { UInt8(truncatingIfNeeded: $0 * 7) }
    #expect(bench.ask(1, 10, data) == (0, 1))
    #expect(bench.ask(0, 10, room: 1024) == (0, 1025))
    #expect(bench.answer(1024) == data)
    #expect(bench.ask(0, 11, room: 512) == (0, 513))
    #expect(bench.answer(512) == Array(data[512...]))
    #expect(bench.disk.state.withLock { $0.commits } >= 3)
  }

  @Test func `a disk may wait for a request that comes alone, on a loop of the device's own`() {
    let bench = BlockBench(ownsLoop: true)
    bench.disk.state.withLock { $0.isSlow = true }
    bench.send(0, 0, room: 512)
    bench.bench.loop.run()
    #expect(bench.disk.state.withLock { $0.waits } == [1])
    // Two together are quicker side by side.
    bench.send(0, 1, room: 512, slot: 1)
    bench.send(0, 2, room: 512, slot: 2)
    bench.bench.loop.run()
    #expect(bench.disk.state.withLock { $0.waits } == [1])
    for _ in 0..<3 { bench.disk.finish() }
    bench.bench.loop.run()
    // So is one that has come while another was waited for.
    bench.disk.atCommit { bench.send(0, 4, room: 512, slot: 1) }
    bench.send(0, 3, room: 512)
    bench.bench.loop.run()
    #expect(bench.disk.state.withLock { ($0.waits, $0.waiting.count) } == ([1, 1], 2))

    let shared = BlockBench()
    #expect(shared.ask(0, 0, room: 512) == (0, 513))
    #expect(shared.disk.state.withLock { $0.waits.isEmpty })
  }

  // §5.2.4
  @Test func `the configuration describes the disk`() {
    let bench = BlockBench(
      TestDisk(sectors: 256, sectorSize: 4096, physicalBlockSize: 16384), queues: 3)
    #expect(bench.field(UInt64.self, 0) == 2048)
    #expect(bench.field(UInt32.self, 12) == 62)
    #expect(bench.field(UInt32.self, 20) == 4096)
    #expect(bench.field(UInt8.self, 24) == 2)
    #expect(bench.field(UInt16.self, 26) == 4)
    #expect(bench.field(UInt32.self, 28) == 16)
    #expect(bench.field(UInt16.self, 34) == 3)
    #expect(bench.field(UInt32.self, 36) == 512)
    #expect(bench.field(UInt32.self, 40) == 64)
    #expect(bench.field(UInt32.self, 44) == 64)
    #expect(bench.field(UInt32.self, 48) == 512)
    #expect(bench.field(UInt32.self, 52) == 64)
    #expect(bench.field(UInt8.self, 56) == 1)
  }

  @Test func `a disk of larger sectors takes only whole ones`() {
    let bench = BlockBench(TestDisk(sectors: 16, sectorSize: 4096))
    #expect(bench.ask(0, 8, room: 4096) == (0, 4097))
    #expect(bench.ask(0, 4, room: 4096).0 == 1)
    #expect(bench.ask(0, 8, room: 512).0 == 1)
  }

  @Test(arguments: [
    (UInt64(1024), 512), (UInt64.max, 512), (UInt64.max >> 9, 512), (1023, 1024), (0, 100),
  ])
  func `a range that is not on the disk is an error`(sector: UInt64, count: Int) {
    let bench = BlockBench()
    #expect(bench.ask(0, sector, room: count).0 == 1)
    #expect(bench.ask(1, sector, .init(repeating: 1, count: count)).0 == 1)
    #expect(bench.ask(0, 0, room: 512).0 == 0)
  }

  @Test func `unknown requests are unsupported, and data is not needed`() {
    let bench = BlockBench()
    #expect(bench.ask(99) == (2, 1))
    #expect(bench.ask(10, room: 64).0 == 2)
    #expect(bench.ask(0).0 == 1)
  }

  @Test func `the serial fills its field`() {
    let bench = BlockBench()
    #expect(bench.ask(8, room: 20) == (0, 20))
    #expect(bench.answer(20) == Array("ROOST-0001".utf8) + [UInt8](repeating: 0, count: 10))
  }

  // §5.2.6.2
  @Test func `writes wait for the medium unless the driver can flush`() {
    let block = [UInt8](repeating: 1, count: 512)
    let cached = BlockBench()
    #expect(cached.ask(1, 0, block).0 == 0)
    #expect(cached.ask(4).0 == 0)
    #expect(cached.disk.log == ["flush"])
    cached.bench.registers.setConfiguration([0], at: 32)
    #expect(cached.bench.registers.configuration(32, count: 1) == [0])
    #expect(cached.ask(1, 0, block).0 == 0)
    #expect(cached.disk.log == ["flush", "durable"])
    let simple = BlockBench(own: 0)
    #expect(simple.ask(1, 0, block).0 == 0)
    #expect(simple.disk.log == ["durable"])
  }

  @Test func `discard and zeroes go to the disk, within their limits`() {
    let bench = BlockBench()
    #expect(bench.ask(11, 0, bench.segment(8, 16)).0 == 0)
    #expect(bench.ask(13, 0, bench.segment(0, 8, 1)).0 == 0)
    #expect(bench.ask(13, 0, bench.segment(0, 8)).0 == 0)
    #expect(bench.disk.log == ["discard 8..<24", "zero 0..<8 unmap", "zero 0..<8"])
    #expect(bench.ask(11, 0, bench.segment(0, 8, 1)).0 == 2, "unmap is not discard's")
    #expect(bench.ask(13, 0, bench.segment(0, 8, 2)).0 == 2)
    #expect(bench.ask(11, 0, bench.segment(0, 65)).0 == 1)
    #expect(bench.ask(11, 0, bench.segment(0, 0)).0 == 1)
    #expect(bench.ask(11).0 == 2)
    #expect(bench.ask(11, 0, [1, 2, 3]).0 == 2)
    #expect(bench.ask(11, 0, bench.segment(.max, .max)).0 == 1)
    #expect(bench.disk.log.count == 3)
  }

  // §5.2.6
  @Test(arguments: Dialect.all)
  func `the segments of one request are done one after the other`(dialect: Dialect) {
    let bench = BlockBench(dialect: dialect.features)
    let segments = (0..<64).flatMap { bench.segment($0 * 8, 8) }
    #expect(bench.ask(11, 0, segments) == (0, 1))
    #expect(
      bench.ask(13, 0, bench.segment(9, 1, 1) + bench.segment(3, 2) + bench.segment(0, 1, 1))
        == (0, 1))
    let discards = (0..<64).map { "discard \($0 * 8)..<\($0 * 8 + 8)" }
    #expect(
      bench.disk.log == discards + ["zero 9..<10 unmap", "zero 3..<5", "zero 0..<1 unmap"])
  }

  @Test func `a request with a segment that is wrong does nothing`() {
    let bench = BlockBench()
    let right = bench.segment(0, 8)
    #expect(bench.ask(11, 0, (0..<65).flatMap { _ in right }).0 == 2, "more than were offered")
    #expect(bench.ask(11, 0, right + [0]).0 == 2)
    #expect(bench.ask(11, 0, right + bench.segment(8, 8, 1)).0 == 2)
    #expect(bench.ask(13, 0, right + bench.segment(8, 8, 3)).0 == 2)
    #expect(bench.ask(11, 0, right + bench.segment(8, 65)).0 == 1)
    #expect(bench.ask(11, 0, right + bench.segment(8, 0)).0 == 1)
    #expect(bench.ask(11, 0, right + bench.segment(.max, 1)).0 == 1)
    #expect(bench.disk.log == [])
  }

  @Test func `segments wait for a slow disk, and end with its error or the device`() {
    let bench = BlockBench()
    let three = bench.segment(0, 1) + bench.segment(1, 1) + bench.segment(2, 1)
    func goOn() {
      bench.disk.finish()
      bench.bench.loop.run()
    }
    bench.disk.state.withLock { $0.isSlow = true }
    bench.send(11, 0, three)
    bench.bench.loop.run()
    for _ in 0..<3 {
      #expect(bench.bench.driver.queues[0].takeAll() == [])
      goOn()
    }
    #expect(bench.bench.driver.queues[0].takeAll().count == 1 && bench.status() == 0)

    bench.send(11, 0, three)
    bench.bench.loop.run()
    goOn()
    bench.disk.state.withLock { $0.error = .host(operation: "discard", code: 5) }
    goOn()
    #expect(bench.bench.driver.queues[0].takeAll().count == 1 && bench.status() == 1)
    bench.disk.state.withLock { $0.error = nil }
    #expect(bench.disk.log.count == 4)

    bench.send(11, 0, three)
    bench.bench.loop.run()
    bench.bench.registers.status = 0
    bench.bench.loop.run()
    #expect(bench.bench.registers.status != 0)
    goOn()
    #expect(bench.bench.registers.status == 0, "a reset waits for the segment in flight alone")
    #expect(bench.disk.log.count == 5 && bench.disk.state.withLock { $0.waiting.isEmpty })
  }

  @Test func `a full disk goes on at the segment that found no room`() {
    let bench = BlockBench(whenFull: .wait {})
    bench.disk.state.withLock { $0.isSlow = true }
    bench.send(13, 0, bench.segment(0, 1) + bench.segment(1, 1))
    bench.bench.loop.run()
    bench.disk.finish()
    bench.bench.loop.run()
    bench.disk.state.withLock { $0.error = .noSpace }
    bench.disk.finish()
    bench.bench.loop.run()
    bench.disk.state.withLock {
      $0.error = nil
      $0.isSlow = false
    }
    #expect(bench.bench.driver.queues[0].takeAll() == [])
    bench.bench.device.retry()
    #expect(bench.bench.driver.queues[0].takeAll().count == 1 && bench.status() == 0)
    #expect(bench.disk.log == ["zero 0..<1", "zero 1..<2"])
  }

  @Test func `a read-only disk says so`() {
    let bench = BlockBench(TestDisk(sectors: 8, isReadOnly: true, limits: nil))
    #expect(bench.bench.registers.deviceFeatures & 1 << 5 != 0)
    #expect(bench.bench.registers.deviceFeatures & (3 << 13) == 0)
    #expect(bench.ask(1, 0, .init(repeating: 1, count: 512)).0 == 1)
    #expect(bench.ask(11, 0, bench.segment(0, 8)).0 == 2)
  }

  @Test func `errors of the disk reach the guest`() {
    let bench = BlockBench()
    for (error, status) in [
      (.host(operation: "read", code: 5), 1), (.noSpace, 1), (.unsupported, 2), (.damaged("x"), 1),
    ] as [(DiskError, UInt8)] {
      bench.disk.state.withLock { $0.error = error }
      #expect(bench.ask(0, 0, room: 512) == (status, 0))
    }
  }

  @Test func `a full disk may keep its requests until there is room`() {
    let told = Mutex(0)
    let bench = BlockBench(whenFull: .wait { told.withLock { $0 += 1 } })
    bench.disk.state.withLock { $0.error = .noSpace }
    bench.send(1, 0, .init(repeating: 1, count: 512))
    bench.send(1, 1, .init(repeating: 2, count: 512), slot: 1)
    bench.bench.loop.run()
    #expect(told.withLock { $0 } == 1)
    #expect(bench.bench.driver.queues[0].takeAll() == [])
    bench.bench.device.retry()
    #expect(told.withLock { $0 } == 2)
    bench.disk.state.withLock { $0.error = nil }
    bench.bench.device.retry()
    #expect(bench.bench.driver.queues[0].takeAll().count == 2)
    #expect(bench.status() == 0 && bench.status(slot: 1) == 0)
    bench.disk.state.withLock { $0.error = .noSpace }
    bench.send(1, 0, .init(repeating: 1, count: 512))
    bench.bench.loop.run()
    #expect(bench.bench.stop(), "a stop does not wait for room")
    #expect(bench.status() == 1)
  }

  @Test(arguments: Dialect.all)
  func `slow requests end in any order, on several queues`(dialect: Dialect) {
    let bench = BlockBench(queues: 2, dialect: dialect.features)
    bench.disk.state.withLock { $0.isSlow = true }
    for slot in 0..<4 as Range<UInt64> {
      bench.send(
        1, slot, .init(repeating: UInt8(slot), count: 512), slot: slot, queue: Int(slot % 2))
    }
    bench.bench.loop.run()
    for number in [3, 0, 1, 0] {
      bench.disk.finish(number)
      bench.bench.loop.run()
    }
    #expect(bench.bench.driver.queues[0].takeAll().count == 2)
    #expect(bench.bench.driver.queues[1].takeAll().count == 2)
    #expect((0..<4).allSatisfy { bench.status(slot: $0) == 0 })
  }

  @Test
  func
    `a read that ends after a reset leaves the guest's memory alone, but for what the host wrote`()
  {
    let bench = BlockBench()
    bench.disk.state.withLock { $0.isSlow = true }
    bench.send(0, 0, room: 512)
    bench.bench.loop.run()
    bench.bench.registers.status = 0
    bench.bench.loop.run()
    #expect(bench.bench.registers.status != 0)
    bench.disk.finish()
    bench.bench.loop.run()
    #expect(bench.bench.registers.status == 0)
    #expect(bench.status() == 0xee)
  }

  @Test func `a disk that grows says so`() {
    let bench = BlockBench()
    _ = bench.bench.registers.takeInterruptStatus()
    let generation = bench.bench.registers.read(0xfc)
    bench.disk.state.withLock { $0.bytes += [UInt8](repeating: 0, count: 512) }
    bench.bench.device.diskResized()
    #expect(bench.bench.registers.takeInterruptStatus() == 2)
    #expect(bench.field(UInt64.self, 0) == 1025)
    #expect(bench.bench.registers.read(0xfc) != generation)
  }

  @Test func `a request without status byte stops the queue`() {
    let bench = BlockBench()
    _ = bench.bench.driver.queues[0].add([.init(bench.area, 16)])
    bench.bench.driver.queues[0].kick()
    bench.bench.loop.run()
    #expect(bench.bench.registers.status & GuestDriver.needsReset != 0)
    #expect(bench.bench.begin())
    #expect(bench.ask(0, 0, room: 512) == (0, 513))
  }
}
