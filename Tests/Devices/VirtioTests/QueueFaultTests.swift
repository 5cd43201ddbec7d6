import Board
import Kit
import Memory
import Synchronization
import Testing
import Work

@testable import Virtio

/// Each rule that a driver may break, by itself; and the moment in which a wake-up could be lost.
@Suite struct QueueFaultTests {
  /// A descriptor as a test writes it.
  private struct Entry {
    var address: UInt64
    var length: UInt32 = 16
    var flags: UInt16 = 0
    var next: UInt16 = 0
  }

  private static let next: UInt16 = 1, write: UInt16 = 2, indirect: UInt16 = 4
  private static let data: UInt64 = 0x80000

  /// Writes a chain from descriptor 0 on, behind the driver's back, and makes it available.
  private func fault(_ dialect: Dialect, _ entries: [Entry], table: [Entry] = []) -> QueueFault? {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features, queueSize: 8, count: 1))
    let queue = bench.driver.queues[0]
    let isPacked = bench.driver.has(GuestDriver.packed)
    func put(_ entry: Entry, at place: UInt64, _ extra: UInt16) {
      let flags = entry.flags | extra
      try? bench.memory.store(entry.address, at: GPA(place))
      try? bench.memory.store(entry.length, at: GPA(place + 8))
      try? bench.memory.store(isPacked ? 0 : flags, at: GPA(place + 12))
      try? bench.memory.store(isPacked ? flags : entry.next, at: GPA(place + 14))
    }
    for (index, entry) in table.enumerated() {
      put(entry, at: Self.data + 0x100 + 16 * UInt64(index), 0)
    }
    for (index, entry) in entries.enumerated() {
      var entry = entry
      if entry.address == .max - 1 { entry.address = queue.deviceArea }
      put(entry, at: queue.descriptorArea + 16 * UInt64(index), isPacked ? 1 << 7 : 0)
    }
    if !isPacked { bench.driver.put([0, 0, 1, 0, 0, 0], at: queue.driverArea) }
    bench.registers.notify(queue: 0)
    bench.loop.run()
    let fault = bench.function.signals.registers.withLock { $0.queues[0].fault }
    #expect((fault != nil) == (bench.registers.status & GuestDriver.needsReset != 0))
    #expect(bench.stop() && queue.takeAll().isEmpty == (fault != nil))
    return fault
  }

  @Test(arguments: Dialect.all)
  func `a sound chain is served, also with buffers over each other`(dialect: Dialect) {
    #expect(fault(dialect, [Entry(address: Self.data)]) == nil)
    #expect(
      fault(
        dialect,
        [
          Entry(address: Self.data, flags: Self.next | Self.write, next: 1),
          Entry(address: Self.data + 8, flags: Self.write),
        ]) == nil)
    let table = [Entry(address: Self.data)]
    #expect(
      fault(dialect, [Entry(address: Self.data + 0x100, flags: Self.indirect)], table: table) == nil
    )
  }

  @Test(arguments: Dialect.all)
  func `a buffer lies in memory, and not over the ring`(dialect: Dialect) {
    for address: UInt64 in [16 << 20, (16 << 20) - 8, .max, .max - 15, 1 << 63] {
      #expect(fault(dialect, [Entry(address: address)]) == .badBuffer)
    }
    #expect(fault(dialect, [Entry(address: Self.data, length: 0)]) == .badBuffer)
    #expect(fault(dialect, [Entry(address: Self.data, length: .max)]) == .badBuffer)
    #expect(fault(dialect, [Entry(address: .max - 1, flags: Self.write)]) == .bufferOverRing)
    #expect(fault(dialect, [Entry(address: .max - 1)]) == nil, "to read it is merely odd")
  }

  // §2.7.4.2, §2.8.17
  @Test(arguments: Dialect.all)
  func `what is to be read comes first`(dialect: Dialect) {
    let chain = [
      Entry(address: Self.data, flags: Self.next | Self.write, next: 1), Entry(address: Self.data),
    ]
    #expect(fault(dialect, chain) == .readableAfterWritable)
  }

  @Test(arguments: Dialect.all)
  func `a chain ends`(dialect: Dialect) {
    let isPacked = dialect.features & GuestDriver.packed != 0
    let loop = (0..<8 as Range<UInt16>).map {
      Entry(address: Self.data, flags: Self.next, next: ($0 + 1) % 8)
    }
    #expect(fault(dialect, loop) == .chainTooLong)
    if !isPacked {
      #expect(fault(dialect, [Entry(address: Self.data, flags: Self.next, next: 8)]) == .badIndex)
      #expect(fault(dialect, [Entry(address: Self.data, flags: Self.next)]) == .chainTooLong)
    }
  }

  // §2.7.5.3, §2.8.19
  @Test(arguments: Dialect.all)
  func `a table is one, sound, and the last`(dialect: Dialect) {
    let isPacked = dialect.features & GuestDriver.packed != 0
    let place = Self.data + 0x100
    for length: UInt32 in [0, 8, 17, 16 * 17, .max] {
      let chain = [Entry(address: place, length: length, flags: Self.indirect)]
      #expect(fault(dialect, chain, table: [Entry(address: Self.data)]) == .badIndirectTable)
    }
    let chain = [Entry(address: place, flags: Self.indirect)]
    #expect(
      fault(dialect, chain, table: [Entry(address: place, flags: Self.indirect)])
        == .badIndirectTable)
    let continued = [
      Entry(address: place, flags: Self.indirect | Self.next, next: 1), Entry(address: Self.data),
    ]
    #expect(fault(dialect, continued, table: [Entry(address: Self.data)]) == .badIndirectTable)
    #expect(
      fault(dialect, [Entry(address: 1 << 40, flags: Self.indirect)]) == .ringOutOfReach)
    if !isPacked {
      for (target, expected) in [(0, .chainTooLong), (1, .badIndex)] as [(UInt16, QueueFault)] {
        let table = [Entry(address: Self.data, flags: Self.next, next: target)]
        #expect(fault(dialect, chain, table: table) == expected)
      }
    }
  }

  /// Lets something happen just before the device writes to a place.
  final class Ambush: DMATranslation {
    struct Trap {
      var place: UInt64?
      var spring: (() -> Void)?
    }
    // On the test's own thread only.
    nonisolated(unsafe) var trap = Trap()

    func translate(_ range: GPARange, writable: Bool) throws(MemoryFault) -> [GPARange] {
      if writable, range.start.rawValue == trap.place, let spring = trap.spring {
        trap.spring = nil
        spring()
      }
      return [range]
    }
  }

  // §2.7.10, §2.8.21.3.1
  @Test(arguments: Dialect.all)
  func `a chain that comes while the device goes to sleep is not overlooked`(dialect: Dialect)
    throws
  {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let loop = ManualLoop()
    let ambush = Ambush()
    let transport = VirtioMMIO(
      Echo(loop), interrupt: InterruptLine(to: RecordingController(), pin: 1),
      dma: DMA(memory, translation: ambush), loop: loop)
    let bus = IOBus(wideAccess: .refuse)
    bus.map(transport, at: 0..<0x200)
    let driver = GuestDriver(GuestMMIO(bus, at: 0), memory: memory)
    transport.start()
    #expect(driver.negotiate(GuestDriver.version1 | dialect.features))
    driver.begin(queueSize: 8)
    loop.run()
    let queue = driver.queues[0]
    let isPacked = driver.has(GuestDriver.packed)
    let usesEvent = driver.has(GuestDriver.eventIndex)
    // Where the device says that it listens again.
    ambush.trap.place =
      isPacked
      ? queue.deviceArea + 2
      : usesEvent ? queue.deviceArea + 4 + 8 * UInt64(queue.size) : queue.deviceArea
    let data = driver.allocate(64)
    for _ in 0..<40 {
      _ = queue.add([.init(data, 8)])
      queue.kick()
      // But for a split ring with the event index the device first says that it does not listen: then it is not asleep yet.
      let times = Mutex(usesEvent && !isPacked ? 1 : 2)
      func arm() {
        ambush.trap.spring = {
          if times.withLock({
            $0 -= 1; return $0
          }) > 0 {
            return arm()
          }
          _ = queue.add([.init(data, 8)])
          queue.kick()
        }
      }
      arm()
      loop.run()
      #expect(queue.takeAll().count == 2)
    }
  }
}
