import Bits
import Board
import Kit
import Memory
import SavedState
import Testing
import Work

@testable import Virtio

/// A balloon, and a driver that puts pages into it.
private struct BalloonBench {
  let bench: Bench<VirtioBalloon>
  let area: UInt64
  /// Pages full of ones, that the driver does without.
  static let spare: UInt64 = 8 << 20

  init(_ dialect: UInt64 = 0, own: UInt64 = .max) {
    bench = Bench { VirtioBalloon(loop: $0) }
    #expect(bench.begin(dialect, device: own, queueSize: 16))
    area = bench.driver.allocate(1 << 17)
    try? bench.memory.fill(1, at: GPA(Self.spare), count: 1 << 20)
  }

  /// Offers a list of page numbers; answers whether it came back.
  func send(_ pages: [UInt64], queue: Int = 0) -> Bool {
    var bytes: [UInt8] = []
    for page in pages { bytes.append(littleEndian: UInt32(truncatingIfNeeded: page)) }
    return send(bytes, queue: queue)
  }

  func send(_ bytes: [UInt8], queue: Int) -> Bool {
    bench.driver.put(bytes, at: area)
    #expect(bench.driver.queues[queue].add([.init(area, bytes.count)]) != nil)
    return kick(queue).count == 1
  }

  func kick(_ queue: Int) -> [GuestQueue.Used] {
    bench.driver.queues[queue].kick()
    bench.loop.run()
    return bench.driver.queues[queue].takeAll()
  }

  /// Which of the spare pages, by number, read as zero.
  var given: [UInt64] {
    (0..<256).filter {
      bench.driver.bytes(at: Self.spare + $0 * 4096, count: 4096).allSatisfy { $0 == 0 }
    }
  }

  func entry(_ tag: UInt16, _ value: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: tag)
    bytes.append(littleEndian: value)
    return bytes
  }
}

/// VIRTIO 1.3 §5.5.
@Suite struct VirtioBalloonTests {
  @Test func `the driver hears of a target, and says how far it is`() {
    let bench = BalloonBench()
    let device = bench.bench.device
    #expect(bench.bench.registers.configuration(0, count: 8) == .init(repeating: 0, count: 8))
    _ = bench.bench.registers.takeInterruptStatus()
    device.setTarget(pages: 0x12345)
    #expect(bench.bench.registers.takeInterruptStatus() == 2)
    #expect(bench.bench.registers.configuration(0, count: 4) == [0x45, 0x23, 1, 0])
    device.setTarget(pages: 0x12345)
    #expect(bench.bench.registers.takeInterruptStatus() == 0, "it was no news")
    bench.bench.registers.setConfiguration([0xff, 0xff, 0xff, 0xff, 0x10, 0x20, 0, 0], at: 0)
    #expect(device.target == 0x12345)
    #expect(device.actual == 0x2010)
    bench.bench.registers.write(0xdead_beef, 0x104)
    #expect(device.actual == 0xdead_beef)
  }

  @Test(arguments: Dialect.all)
  func `pages in the balloon are the host's, and come back as zeroes`(dialect: Dialect) {
    let bench = BalloonBench(dialect.features)
    let first = BalloonBench.spare >> 12
    #expect(bench.send([first + 9, first + 1, first + 2, first + 1, first]))
    #expect(bench.given == [0, 1, 2, 9])
    #expect(bench.send([first + 1], queue: 1))
    bench.bench.driver.put([5], at: BalloonBench.spare + 4096)
    #expect(bench.given == [0, 2, 9])
  }

  @Test func `pages that are no memory are ignored`() {
    let bench = BalloonBench()
    let first = BalloonBench.spare >> 12
    #expect(bench.send([UInt64(UInt32.max), 1 << 20, first + 3, 4096, 0x7fff_ffff]))
    #expect(bench.given == [3])
    #expect(bench.send([1, 2, 3, 4, 5] as [UInt8], queue: 0), "an odd list")
    #expect(bench.send([UInt8](repeating: 0xff, count: 65536), queue: 0))
    #expect(bench.bench.registers.status & GuestDriver.needsReset == 0)
  }

  @Test func `a list of too many pages stops the queue`() {
    let bench = BalloonBench()
    #expect(!bench.send([UInt8](repeating: 0, count: 65540), queue: 0))
    #expect(bench.bench.registers.status & GuestDriver.needsReset != 0)
  }

  // §5.5.6.7, at whichever number the driver looks for the queue.
  @Test(arguments: [(UInt64.max, 4), (.max, 3), (1 << 5, 2), (1 << 5, 3), (1 << 5, 4)])
  func `free pages are the host's until they are used`(own: UInt64, queue: Int) {
    let bench = BalloonBench(own: own)
    let pages: [GuestQueue.Buffer] = [
      .init(BalloonBench.spare, 8192, writable: true),
      .init(BalloonBench.spare + 0x8000, 4096, writable: true),
    ]
    #expect(bench.bench.driver.queues[queue].add(pages) != nil)
    #expect(bench.kick(queue).map(\.written) == [0])
    #expect(bench.given == [0, 1, 8])
  }

  @Test(arguments: Dialect.all)
  func `the guest says how its memory stands, whenever it is asked`(dialect: Dialect) {
    let bench = BalloonBench(dialect.features)
    let device = bench.bench.device
    #expect(!bench.send(bench.entry(4, 1000) + bench.entry(5, 4000) + [9, 0], queue: 2))
    #expect(device.statistics[.free] == 1000)
    #expect(device.statistics[.total] == 4000)
    #expect(device.statistics[.available] == nil)
    device.requestStatistics()
    bench.bench.loop.run()
    #expect(bench.bench.driver.queues[2].takeAll().count == 1, "the buffer is the driver's again")
    #expect(!bench.send(bench.entry(4, 900), queue: 2))
    #expect(device.statistics[.free] == 900)
    #expect(device.statistics[.total] == nil)
    #expect(bench.bench.stop(), "nothing is in flight")
    bench.bench.start()
    device.requestStatistics()
    bench.bench.loop.run()
    #expect(bench.bench.driver.queues[2].takeAll().count == 1)
  }

  @Test func `a reset empties the balloon, and the target stays`() {
    let bench = BalloonBench()
    bench.bench.device.setTarget(pages: 10)
    bench.bench.registers.setConfiguration([7, 0, 0, 0], at: 4)
    #expect(bench.bench.reset())
    #expect(bench.bench.device.target == 10)
    #expect(bench.bench.device.actual == 0)
  }

  @Test(arguments: 0..<4 as Range<UInt64>)
  func `whatever a driver lists, it harms nobody`(seed: UInt64) {
    var chance = Chance(seed: seed)
    let bench = BalloonBench(Dialect.all[Int(seed)].features)
    for _ in 0..<500 {
      let queue = Int(chance.number(below: 5))
      let buffers = (0..<1 + chance.number(below: 3)).map { _ in
        let isWritable = chance.number(below: 2) == 0
        // Its own rings lie below the spare pages.
        let place =
          isWritable ? BalloonBench.spare + chance.number(below: 4 << 20) : bench.area
        return GuestQueue.Buffer(
          place, 1 + Int(chance.number(below: isWritable ? 1 << 22 : 4096)), writable: isWritable)
      }
      let pages = (0..<1024).map { _ in
        var page = UInt32(truncatingIfNeeded: chance.value())
        if chance.number(below: 2) == 0 { page |= 2048 }
        // Not those of the rings: a driver that gives them away has none.
        return page < 2048 ? page | 2048 : page
      }
      var bytes: [UInt8] = []
      for page in pages { bytes.append(littleEndian: page) }
      bench.bench.driver.put(bytes, at: bench.area)
      _ = bench.bench.driver.queues[queue].add(buffers.sorted { !$0.isWritable && $1.isWritable })
      _ = bench.kick(queue)
      if bench.bench.registers.status & GuestDriver.needsReset != 0 {
        #expect(bench.bench.reset())
        bench.bench.driver.free = 4 << 20
        #expect(bench.bench.begin(queueSize: 16))
      }
    }
    #expect(bench.bench.reset())
  }
}
