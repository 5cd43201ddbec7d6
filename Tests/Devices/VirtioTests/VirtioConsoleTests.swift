import Bits
import Board
import Kit
import Memory
import Synchronization
import Testing
import Work

@testable import Virtio

private struct ConsoleBench {
  let streams: [RecordingStream]
  let bench: Bench<VirtioConsole>
  let area: UInt64

  /// A plain console, or one console and a named port for each name.
  init(names: [String] = [], dialect: UInt64 = 0, over carrier: Carrier = .mmio) {
    let streams = (0...names.count).map { _ in RecordingStream() }
    self.streams = streams
    bench = Bench(
      { loop in
        VirtioConsole(
          ports: [.init(streams[0], isConsole: true)]
            + names.indices.map { .init(streams[$0 + 1], name: names[$0]) }, queueSize: 16,
          loop: loop)
      }, over: carrier)
    #expect(bench.begin(dialect))
    area = bench.driver.allocate(1 << 16)
  }

  func write(_ bytes: [UInt8], queue: Int = 1) {
    let place = bench.driver.allocate(bytes.count)
    bench.driver.put(bytes, at: place)
    _ = bench.driver.queues[queue].add([.init(place, bytes.count)])
    bench.driver.queues[queue].kick()
    bench.loop.run()
  }

  /// Offers a buffer and answers what is in it when it comes back.
  func read(_ size: Int, queue: Int = 0) -> [UInt8]? {
    _ = bench.driver.queues[queue].add([.init(area, size, writable: true)])
    bench.driver.queues[queue].kick()
    bench.loop.run()
    return bench.driver.queues[queue].take().map {
      bench.driver.bytes(at: area, count: Int($0.written))
    }
  }

  func command(_ event: UInt16, _ value: UInt16, port: UInt32) {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: port)
    bytes.append(littleEndian: event)
    bytes.append(littleEndian: value)
    write(bytes, queue: 3)
    _ = bench.driver.queues[3].takeAll()
  }
}

/// VIRTIO 1.3 §5.3.
@Suite struct VirtioConsoleTests {
  @Test(arguments: Dialect.all, Carrier.allCases)
  func `bytes go both ways`(dialect: Dialect, carrier: Carrier) {
    let bench = ConsoleBench(dialect: dialect.features, over: carrier)
    bench.write(Array("login: ".utf8))
    #expect(bench.streams[0].sent == Array("login: ".utf8))
    bench.streams[0].deliver(Array("root".utf8))
    #expect(bench.read(2) == Array("ro".utf8))
    #expect(bench.read(20) == Array("ot".utf8))
    #expect(bench.read(20) == nil)
    bench.streams[0].deliver([10])
    bench.bench.loop.run()
    #expect(bench.bench.driver.queues[0].take()?.written == 1)
  }

  @Test(arguments: Dialect.all)
  func `what the stream does not take is sent once, also after a save`(dialect: Dialect) throws {
    let bench = ConsoleBench(dialect: dialect.features)
    bench.streams[0].setRoom(3)
    bench.write(Array(0..<10))
    bench.write(Array(10..<20))
    #expect(bench.streams[0].sent == [0, 1, 2])
    #expect(bench.bench.stop())
    let saved = try bench.bench.transport.save()
    let loop = ManualLoop()
    let twin = VirtioMMIO(
      VirtioConsole(ports: [.init(bench.streams[0], isConsole: true)], queueSize: 16, loop: loop),
      interrupt: InterruptLine(to: RecordingController(), pin: 1), dma: DMA(bench.bench.memory),
      loop: loop)
    try twin.restore(saved)
    twin.start()
    bench.streams[0].setRoom(4)
    loop.run()
    bench.streams[0].setRoom(100)
    loop.run()
    #expect(bench.streams[0].sent == Array(0..<20))
    #expect(bench.bench.driver.queues[1].takeAll().count == 2)
  }

  @Test func `the terminal's size is in the configuration`() {
    let bench = ConsoleBench()
    bench.bench.device.setSize(columns: 132, rows: 43)
    #expect(bench.bench.registers.takeInterruptStatus() & 2 != 0)
    #expect(bench.bench.registers.configuration(0, count: 4) == [132, 0, 43, 0])
    bench.bench.registers.setConfiguration([0x21], at: 8)
    #expect(bench.streams[0].sent == [0x21], "a character in an emergency")
  }

  // §5.3.6.2
  @Test func `ports are introduced, opened and closed`() {
    let bench = ConsoleBench(names: ["org.roost.agent"])
    #expect(bench.bench.registers.configuration(4, count: 4) == [2, 0, 0, 0])
    bench.bench.device.setSize(columns: 80, rows: 25)
    bench.command(0, 1, port: 0)
    #expect(bench.read(64, queue: 2) == [0, 0, 0, 0, 1, 0, 0, 0])
    #expect(bench.read(64, queue: 2) == [1, 0, 0, 0, 1, 0, 0, 0])
    bench.command(3, 1, port: 0)
    #expect(bench.read(64, queue: 2) == [0, 0, 0, 0, 4, 0, 1, 0])
    #expect(bench.read(64, queue: 2) == [0, 0, 0, 0, 5, 0, 0, 0, 80, 0, 25, 0])
    #expect(bench.read(64, queue: 2) == [0, 0, 0, 0, 6, 0, 1, 0])
    bench.command(3, 1, port: 1)
    #expect(bench.read(64, queue: 2) == [1, 0, 0, 0, 7, 0, 1, 0] + Array("org.roost.agent".utf8))
    #expect(bench.read(64, queue: 2) == [1, 0, 0, 0, 6, 0, 1, 0])
    bench.streams[1].deliver([5])
    #expect(bench.read(8, queue: 4) == nil, "nobody has it open")
    bench.command(6, 1, port: 1)
    #expect(bench.bench.driver.queues[4].take()?.written == 1)
    bench.write([9], queue: 5)
    #expect(bench.streams[1].sent == [9])
    bench.bench.device.setOpen(false, port: 1)
    #expect(bench.read(64, queue: 2) == [1, 0, 0, 0, 6, 0, 0, 0])
    bench.write([10], queue: 5)
    #expect(bench.streams[1].sent == [9], "there is nobody to hear it")
    #expect(bench.bench.driver.queues[5].takeAll().count == 2)
  }

  @Test func `a driver that only talks is heard as far as there is room for answers`() {
    let bench = ConsoleBench(names: ["a", "b", "c"])
    for _ in 0..<200 { bench.command(0, 1, port: 0) }
    let state = bench.bench.device.state.withLock { $0 }
    #expect(state.messages.count < 300)
    var count = 0
    while bench.read(64, queue: 2) != nil { count += 1 }
    #expect(count >= 256)
    bench.command(3, 1, port: 99)
    bench.command(99, 1, port: 0)
    bench.command(6, 7, port: 1)
    #expect(bench.read(64, queue: 2) == nil)
  }
}
