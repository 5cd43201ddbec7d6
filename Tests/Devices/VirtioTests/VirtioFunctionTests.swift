import Board
import Inspection
import Kit
import Memory
import Synchronization
import Testing
import Work

@testable import Virtio

/// VIRTIO 1.3 §2.1, §2.2, §3.1 and §4.2: the life of a device, over MMIO.
@Suite struct VirtioFunctionTests {
  @Test func `the first registers say what it is`() {
    let bench = Bench { Echo($0) }
    #expect(bench.registers.read(0) == 0x7472_6976)
    #expect(bench.registers.read(4) == 2)
    #expect(bench.registers.read(8) == 42)
    bench.registers.write(0, 0xac)
    #expect(bench.registers.read(0xb0) == 0xffff_ffff, "no shared memory")
    #expect(bench.registers.read(0x70, .byte) == 0xff, "registers are 32 bits wide")
  }

  // §2.1.1, §3.1.1
  @Test func `status bits come in their order and go only with a reset`() {
    let bench = Bench { Echo($0) }
    let registers: GuestMMIO = bench.registers
    for early: UInt8 in [2, 4, 8, 0x40] {
      registers.status = early
      #expect(registers.status == 0)
    }
    registers.status = 1
    registers.status = 3
    registers.status = 2
    #expect(registers.status == 3)
    registers.status = 0x0f
    #expect(registers.status == 3, "no features, so no version 1")
    registers.driverFeatures = GuestDriver.version1
    registers.status = 0x0b
    #expect(registers.status == 0x0b)
    registers.driverFeatures = 0
    registers.status = 0x0f
    #expect(registers.status == 0x0f)
    bench.loop.run()
    registers.status = 0
    #expect(registers.status != 0, "queues may be at work")
    bench.loop.run()
    #expect(registers.status == 0)
  }

  @Test func `features that were not offered are refused`() {
    let bench = Bench { Echo($0) }
    bench.registers.status = 1
    bench.registers.status = 3
    bench.registers.driverFeatures = GuestDriver.version1 | 1 << 50
    bench.registers.status = 0x0b
    #expect(bench.registers.status == 3)
    bench.registers.status = 0x83
    bench.registers.driverFeatures = GuestDriver.version1
    bench.registers.status = 0x8b
    #expect(bench.registers.status == 0x83, "a driver that gave up gets no further")
  }

  @Test func `queues are served from DRIVER_OK on`() {
    let bench = Bench { Echo($0) }
    #expect(bench.driver.negotiate(GuestDriver.version1))
    let queue = bench.driver.enable(0, size: 8)
    let data = bench.driver.allocate(64)
    _ = queue.add([.init(data, 8)])
    bench.registers.notify(queue: 0)
    bench.loop.run()
    #expect(queue.takeAll() == [])
    bench.registers.status |= GuestDriver.driverOK
    bench.loop.run()
    #expect(queue.takeAll().count == 1, "what was queued before is taken without another word")
  }

  @Test(arguments: Dialect.all)
  func `a reset is done when requests in flight have ended`(dialect: Dialect) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features))
    bench.device.holds.with { $0 = true }
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(64)
    for _ in 0..<3 { _ = queue.add([.init(data, 8), .init(data + 16, 8, writable: true)]) }
    queue.kick()
    bench.loop.run()
    bench.registers.status = 0
    bench.loop.run()
    #expect(bench.registers.status != 0)
    let ring = bench.driver.bytes(at: queue.deviceArea, count: 4)
    for _ in 0..<3 {
      #expect(bench.registers.status != 0)
      bench.device.finish()
      bench.loop.run()
    }
    #expect(bench.registers.status == 0)
    #expect(bench.driver.bytes(at: queue.deviceArea, count: 4) == ring, "nothing is given back")
    bench.device.holds.with { $0 = false }
    #expect(bench.begin(dialect.features))
    _ = bench.driver.queues[0].add([.init(data, 8)])
    bench.driver.queues[0].kick()
    bench.loop.run()
    #expect(bench.driver.queues[0].takeAll().count == 1)
  }

  @Test func `a driver that does not wait for the reset is served after it`() {
    let bench = Bench { Echo($0) }
    #expect(bench.begin())
    bench.device.holds.with { $0 = true }
    let data = bench.driver.allocate(64)
    _ = bench.driver.queues[0].add([.init(data, 8)])
    bench.driver.queues[0].kick()
    bench.loop.run()
    #expect(bench.begin(), "it negotiates while a request is in flight")
    _ = bench.driver.queues[0].add([.init(data, 8)])
    bench.driver.queues[0].kick()
    bench.loop.run()
    #expect(bench.driver.queues[0].takeAll() == [])
    bench.device.holds.with { $0 = false }
    bench.device.finish()
    bench.loop.run()
    #expect(bench.registers.status == 0x0f)
    #expect(bench.driver.queues[0].takeAll().count == 1)
  }

  // §2.6.1
  @Test(arguments: Dialect.all)
  func `one queue is reset while the others go on`(dialect: Dialect) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features))
    let data = bench.driver.allocate(64)
    bench.device.holds.with { $0 = true }
    _ = bench.driver.queues[0].add([.init(data, 8)])
    bench.driver.queues[0].kick()
    bench.loop.run()
    bench.registers.select(queue: 0)
    bench.registers.resetQueue()
    bench.loop.run()
    #expect(bench.registers.isQueueResetting)
    bench.device.holds.with { $0 = false }
    _ = bench.driver.queues[1].add([.init(data, 8)])
    bench.driver.queues[1].kick()
    bench.loop.run()
    #expect(bench.driver.queues[1].takeAll().count == 1)
    bench.registers.isQueueEnabled = true
    #expect(bench.registers.isQueueResetting, "not before its requests have ended")
    bench.device.finish()
    bench.loop.run()
    #expect(!bench.registers.isQueueResetting && !bench.registers.isQueueEnabled)
    let again = bench.driver.enable(0, size: 4)
    bench.loop.run()
    _ = again.add([.init(data, 8)])
    again.kick()
    bench.loop.run()
    #expect(again.takeAll().count == 1)
  }

  @Test(arguments: Dialect.all)
  func `at rest nothing is in flight, and a twin goes on where it stopped`(dialect: Dialect) throws
  {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(64)
    for _ in 0..<5 { _ = queue.add([.init(data, 8)]) }
    queue.kick()
    bench.loop.run()
    #expect(queue.takeAll().count == 5)
    bench.device.holds.with { $0 = true }
    for _ in 0..<2 { _ = queue.add([.init(data, 8)]) }
    queue.kick()
    bench.loop.run()
    #expect(throws: (any Error).self) { try bench.transport.save() }
    #expect(!bench.stop())
    _ = queue.add([.init(data, 8)])  // of this one nobody hears before the twin
    queue.kick()
    bench.loop.run()
    bench.device.finish(1)
    bench.device.finish(0)
    let saved = try bench.transport.save()
    #expect(queue.takeAll().count == 2)

    let loop = ManualLoop()
    let pins = RecordingController()
    let twin = VirtioMMIO(
      Echo(loop), interrupt: InterruptLine(to: pins, pin: 5), dma: DMA(bench.memory), loop: loop)
    try twin.restore(saved)
    #expect(pins.level(5), "an interrupt that pends still pends")
    bench.bus.unmap(0x1000..<0x1200)
    bench.bus.map(twin, at: 0x1000..<0x1200)
    twin.start()
    loop.run()
    #expect(queue.takeAll().count == 1)
    _ = queue.add([.init(data, 8)])
    queue.kick()
    loop.run()
    #expect(queue.takeAll().count == 1)
  }

  final class Zeroes: RandomSource {
    func bytes(count: Int) -> [UInt8] { .init(repeating: 0, count: count) }
  }

  @Test(arguments: Dialect.all)
  func `entropy fills what it is given`(dialect: Dialect) {
    let bench = Bench { _ in VirtioEntropy(source: HostRandomSource()) }
    #expect(bench.begin(dialect.features))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(8192)
    _ = queue.add([.init(data, 100, writable: true), .init(data + 200, 8000, writable: true)])
    queue.kick()
    bench.loop.run()
    #expect(queue.take()?.written == 4096)
    #expect(bench.driver.bytes(at: data, count: 100).contains { $0 != 0 })
    #expect(bench.driver.bytes(at: data + 100, count: 100).allSatisfy { $0 == 0 })
    _ = queue.add([.init(data, 8)])
    queue.kick()
    bench.loop.run()
    #expect(bench.registers.status & GuestDriver.needsReset != 0)
    #expect(bench.registers.takeInterruptStatus() & 2 != 0)
  }
}
