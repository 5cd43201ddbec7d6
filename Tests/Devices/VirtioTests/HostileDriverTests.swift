import Board
import Disks
import Inspection
import Kit
import Memory
import Networks
import Streams
import Synchronization
import Testing
import Work

@testable import Virtio

/// R16 and R17: whatever a driver does, nothing traps or hangs, the device comes to rest, and after a reset it works.
@Suite struct HostileDriverTests {
  @Test(arguments: Dialect.all, Carrier.allCases)
  func `after each of 300 offences the device comes to rest, and works after a reset`(
    dialect: Dialect, carrier: Carrier
  ) {
    let bench = Bench({ Echo($0, sizes: [8, 16]) }, over: carrier)
    var hostile = HostileDriver(bench.driver, bench.loop, seed: 11)
    var needed = 0
    for number in 0..<310 {
      bench.driver.free = 0x10000
      #expect(bench.begin(dialect.features))
      let holds = number % 3 == 0
      bench.device.holds.with { $0 = holds }
      let offence = HostileDriver.Offence.allCases[number % HostileDriver.Offence.allCases.count]
      hostile.commit(offence)
      if bench.driver.transport.status & GuestDriver.needsReset != 0 { needed += 1 }
      bench.device.holds.with { $0 = false }
      while bench.device.held.with({ !$0.isEmpty }) { bench.device.finish() }
      #expect(bench.stop(), "\(offence): it does not come to rest")
      bench.start()
      #expect(bench.reset(), "\(offence): a reset does not end")
      bench.driver.free = 0x100000
      #expect(bench.begin(dialect.features), "\(offence): no features")
      let data = bench.driver.allocate(64)
      for queue in bench.driver.queues {
        bench.driver.put([UInt8(truncatingIfNeeded: number), 2, 3], at: data)
        _ = queue.add([.init(data, 3), .init(data + 16, 3, writable: true)])
        queue.kick()
        bench.loop.run()
        #expect(queue.take()?.written == 3, "\(offence): it does not work any more")
        #expect(bench.driver.bytes(at: data + 16, count: 1) == [UInt8(truncatingIfNeeded: number)])
      }
      #expect(bench.reset())
    }
    #expect(needed > 100, "most offences are noticed")
  }

  /// Requests of chance, in chains of chance, to every queue of every device.
  private func live<Device: VirtioDevice>(
    _ seed: UInt64, _ dialect: Dialect, _ carrier: Carrier, _ make: (ManualLoop) -> Device,
    _ stir: (inout Chance) -> Void
  ) {
    let bench = Bench(make, over: carrier)
    var chance = Chance(seed: seed)
    for _ in 0..<20 {
      bench.driver.free = 0x10000
      #expect(bench.begin(dialect.features, queueSize: 16))
      let area = bench.driver.allocate(1 << 16)
      for _ in 0..<40 {
        let queue = bench.driver.queues[
          Int(chance.number(below: UInt64(bench.driver.queues.count)))]
        // Small numbers first: commands, types and sectors that mean something.
        var bytes = (0..<64).map { _ in UInt8(truncatingIfNeeded: chance.number(below: 6)) }
        for _ in 0..<8 {
          bytes[Int(chance.number(below: 64))] = UInt8(truncatingIfNeeded: chance.next())
        }
        let place = area + chance.number(below: 1 << 15)
        bench.driver.put(bytes, at: place)
        var buffers: [GuestQueue.Buffer] = []
        for index in 0..<chance.number(below: 4) {
          buffers.append(.init(place + index * 16, 1 + Int(chance.number(below: 64))))
        }
        for index in 0..<chance.number(below: 3) {
          let count = [1, 2, 16, 512, 2048][Int(chance.number(below: 5))]
          buffers.append(.init(area + 0x8000 + index * 0x1000, count, writable: true))
        }
        _ = queue.add(buffers, indirect: chance.number(below: 2) == 0)
        queue.kick()
        bench.driver.transport.setConfiguration(
          [UInt8(truncatingIfNeeded: chance.next())], at: Int(chance.number(below: 64)))
        stir(&chance)
        if chance.number(below: 3) == 0 { bench.loop.run() }
        if chance.number(below: 4) == 0 { _ = queue.takeAll() }
      }
      #expect(bench.stop())
      bench.start()
      #expect(bench.reset())
    }
  }

  @Test(arguments: Dialect.all, Carrier.allCases)
  func `a block device lives through any request`(dialect: Dialect, carrier: Carrier) {
    for seed in 0..<5 as Range<UInt64> {
      let disk = TestDisk(sectors: 64)
      live(seed, dialect, carrier, { VirtioBlock(disk: disk, queues: 2, loop: $0) }) { _ in }
    }
  }

  @Test(arguments: Dialect.all, Carrier.allCases)
  func `persistent memory lives through any request`(dialect: Dialect, carrier: Carrier) {
    let range = GPARange(start: GPA(1 << 32), count: 2 << 20)!
    for seed in 0..<5 as Range<UInt64> {
      let disk = TestDisk(sectors: 64)
      live(seed, dialect, carrier, { VirtioPersistentMemory(range, flushing: disk, loop: $0) }) {
        chance in
        let fails = chance.number(below: 8) == 0
        disk.state.withLock { $0.error = fails ? .host(operation: "flush", code: 5) : nil }
      }
    }
  }

  @Test(arguments: Dialect.all, Carrier.allCases)
  func `a network device lives through any frame and command`(dialect: Dialect, carrier: Carrier) {
    for seed in 0..<5 as Range<UInt64> {
      let ports = [TestPort(), TestPort()]
      live(
        seed, dialect, carrier,
        { VirtioNetwork(ports: ports, address: [2, 0, 0, 0, 0, 1], loop: $0) }
      ) { chance in
        let count = Int(chance.number(below: 3000))
        ports[Int(chance.number(below: 2))].deliver([.init(.init(repeating: 7, count: count))])
        ports[0].setRoom(Int(chance.number(below: 9)))
      }
    }
  }

  @Test(arguments: Dialect.all, Carrier.allCases)
  func `a console lives through any message`(dialect: Dialect, carrier: Carrier) {
    for seed in 0..<5 as Range<UInt64> {
      let streams = [RecordingStream(), RecordingStream()]
      live(
        seed, dialect, carrier,
        {
          VirtioConsole(
            ports: [.init(streams[0], isConsole: true), .init(streams[1], name: "x")], loop: $0)
        }
      ) { chance in
        streams[1].deliver(.init(repeating: 1, count: Int(chance.number(below: 100))))
        streams[0].setRoom(Int(chance.number(below: 100)))
      }
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `registers live through anything`(seed: UInt64) throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let loop = ManualLoop()
    var mmio = RandomLife(
      seed: seed, clock: ManualClock(),
      of: {
        VirtioMMIO(
          Echo(loop), interrupt: InterruptLine(to: RecordingController(), pin: 1), dma: DMA(memory),
          loop: loop)
      }, plug: { $1.map($0, at: 0..<0x200) }, wideAccess: .refuse,
      events: [Self.begin, { _, _ in loop.run() }],
      rest: { device in
        let rest = Barrier()
        device.stop(rest)
        loop.run()
        return rest.isReached
      })
    #expect(mmio.live(steps: 4000) == [])
  }

  private static func begin(_ transport: VirtioMMIO, _ number: UInt64) {
    let function = transport.function
    function.writeStatus(0)
    function.writeStatus(1)
    function.writeStatus(3)
    function.write { registers in
      registers.driverFeatureSelect = 1
      registers.writeDriverFeatures(number & 1 == 0 ? 1 : 5)
      return .nothing
    }
    function.writeStatus(0xb)
    function.write { registers in
      registers.queueSelect = UInt16(truncatingIfNeeded: number >> 8 & 1)
      registers.setUpQueue { $0.driverArea = 0x4000 }
      registers.setUpQueue { $0.deviceArea = 0x8000 }
      return registers.enableQueue()
    }
    function.writeStatus(0xf)
  }
}
