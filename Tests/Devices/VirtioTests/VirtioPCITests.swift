import Bits
import Board
import Kit
import Memory
import PCI
import Testing
import Work

@testable import Virtio

/// VIRTIO 1.3 §4.1.
@Suite struct VirtioPCITests {
  @Test func `the function says what it is, and where its structures are`() {
    let bench = Bench({ VirtioBlock(disk: TestDisk(sectors: 8), loop: $0) }, over: .pci)
    let space = bench.pci.configuration
    #expect(space.readConfiguration(0) == 0x1042_1af4)
    #expect(space.readConfiguration(8) == 0x0100_0001)
    #expect(Set(bench.guestPCI.structures.keys).isSuperset(of: [1, 2, 3, 4]))
    #expect(bench.guestPCI.read(0x12, .word) == 1)
    #expect(bench.guestPCI.configuration(0, count: 2) == [8, 0])
  }

  @Test(arguments: Dialect.all)
  func `buffers go both ways, with the pin`(dialect: Dialect) {
    let bench = Bench({ Echo($0) }, over: .pci)
    #expect(bench.begin(dialect.features))
    let queue = bench.driver.queues[1]
    let data = bench.driver.allocate(64)
    bench.driver.put([1, 2, 3], at: data)
    _ = queue.add([.init(data, 3), .init(data + 16, 3, writable: true)])
    queue.kick()
    bench.loop.run()
    #expect(queue.take()?.written == 3)
    #expect(bench.driver.bytes(at: data + 16, count: 3) == [1, 2, 3])
    #expect(bench.interrupted)
    #expect(bench.guestPCI.takeInterruptStatus() == 1)
    #expect(!bench.interrupted)
  }

  @Test func `with MSI-X each queue has its message`() {
    let bench = Bench({ Echo($0) }, over: .pci)
    #expect(bench.driver.negotiate())
    bench.guestPCI.useMessages(queues: 2)
    bench.driver.begin()
    bench.loop.run()
    let data = bench.driver.allocate(64)
    for index in [1, 0] {
      _ = bench.driver.queues[index].add([.init(data, 8)])
      bench.driver.queues[index].kick()
      bench.loop.run()
    }
    bench.function.signals.configurationChanged()
    #expect(bench.messages.messages.map(\.data) == [0x42, 0x41, 0x40])
    #expect(!bench.interrupted)
    bench.guestPCI.write(99, 0x10, .word)
    #expect(bench.guestPCI.read(0x10, .word) == 0xffff, "there is no such vector")
  }

  @Test func `registers are accessed whole`() {
    let bench = Bench({ Echo($0) }, over: .pci)
    #expect(bench.guestPCI.read(0x14, .doubleword) == 0xffff_ffff)
    bench.guestPCI.write(0x1122_3344_5566_7788, 0x20, .quadword)
    #expect(bench.guestPCI.read(0x20, .quadword) == 0x1122_3344_5566_7788)
    bench.guestPCI.write(0xaabb_ccdd, 0x24, .doubleword)
    #expect(bench.guestPCI.read(0x20, .quadword) == 0xaabb_ccdd_5566_7788 as UInt64)
    #expect(bench.guestPCI.read(0x24, .doubleword) == 0xaabb_ccdd)
  }

  // §4.1.4.9
  @Test func `the window in configuration space reaches the structures`() {
    let bench = Bench({ Echo($0) }, over: .pci)
    let space = bench.pci.configuration
    let window = bench.guestPCI.window
    func access(_ offset: UInt32, _ length: UInt32, bar: UInt32 = 0) {
      space.writeConfiguration(bar, mask: 0xff, window + 4)
      space.writeConfiguration(offset, mask: .max, window + 8)
      space.writeConfiguration(length, mask: .max, window + 12)
    }
    access(0x12, 2)
    #expect(space.readConfiguration(window + 16) == 2)
    access(0x14, 1)
    space.writeConfiguration(1, mask: .max, window + 16)
    #expect(bench.guestPCI.status == 1)
    #expect(space.readConfiguration(window + 16) == 1)
    for (offset, length, bar) in [(0x12, 3, 0), (0x13, 2, 0), (0x7ff0_0000, 4, 0), (0x14, 1, 3)]
      as [(UInt32, UInt32, UInt32)]
    {
      access(offset, length, bar: bar)
      #expect(space.readConfiguration(window + 16) == 0)
      space.writeConfiguration(0, mask: .max, window + 16)
    }
    #expect(bench.guestPCI.status == 1)
  }

  @Test func `a function-level reset is a reset of the device`() {
    let bench = Bench({ Echo($0) }, over: .pci)
    #expect(bench.begin())
    bench.device.holds.with { $0 = true }
    let data = bench.driver.allocate(64)
    _ = bench.driver.queues[0].add([.init(data, 8)])
    bench.driver.queues[0].kick()
    bench.loop.run()
    let space = bench.pci.configuration
    var pointer = UInt16(space.readConfiguration(0x34) & 0xff)
    while space.readConfiguration(pointer) & 0xff != 0x10 {
      pointer = UInt16(space.readConfiguration(pointer) >> 8 & 0xff)
    }
    space.writeConfiguration(1 << 15, mask: 0xffff, pointer + 8)
    #expect(!space.busMaster.isOpen)
    bench.loop.run()
    bench.device.finish()
    space.writeConfiguration(0, mask: .max, 0x10)
    space.writeConfiguration(8, mask: .max, 0x14)
    bench.guestPCI.open()
    #expect(bench.guestPCI.status == 0)
    bench.device.holds.with { $0 = false }
    #expect(bench.begin())
  }

  @Test func `doorbells are where the notify structure is`() {
    let bench = Bench({ Echo($0) }, over: .pci)
    #expect(bench.begin())
    let rung = bench.bus.map.flatMap { mapping in
      mapping.device.doorbells(in: mapping.region).map {
        (address: mapping.range.lowerBound + $0.offset, place: $0)
      }
    }
    #expect(rung.map(\.address) == [0x8_0000_1000, 0x8_0000_1004])
    #expect(rung.allSatisfy { $0.place.width == nil && $0.place.value == nil })
    let data = bench.driver.allocate(64)
    _ = bench.driver.queues[1].add([.init(data, 8)])
    rung[1].place.doorbell.ring()
    bench.loop.run()
    #expect(bench.driver.queues[1].takeAll().count == 1)
  }

  // §3.1.2, §4.1.4.10
  @Test func `a transitional device serves a legacy driver`() {
    let bench = Bench(
      { VirtioBlock(disk: TestDisk(sectors: 64), queueSize: 64, loop: $0) }, over: .pci,
      isTransitional: true)
    let space = bench.pci.configuration
    #expect(space.readConfiguration(0) == 0x1001_1af4)
    #expect(space.readConfiguration(0x2c) == 0x0002_1af4)
    space.writeConfiguration(0xc000, mask: .max, 0x10)
    var view = BusView(bench.ports)
    #expect(view.read(0xc00c, .word) == 64)
    #expect(view.read(0xc014, .doubleword) == 64, "capacity, behind the registers")
    view.write(1, 0xc012, .byte)
    view.write(3, 0xc012, .byte)
    let offered = view.read(0xc000, .doubleword)
    #expect(offered & 1 << 9 != 0)
    view.write(1 << 9, 0xc004, .doubleword)
    view.write(0, 0xc00e, .word)
    view.write(0x40, 0xc008, .doubleword)
    view.write(7, 0xc012, .byte)
    bench.loop.run()
    // Head 0: header, 512 bytes, status. The used ring is on the next page.
    let ring: UInt64 = 0x40000, data: UInt64 = 0x50000
    var descriptors: [UInt8] = []
    for (address, count, flags, next) in [
      (data, 16, 1, 1), (data + 0x200, 512, 3, 2), (data + 0x100, 1, 2, 0),
    ] as [(UInt64, UInt32, UInt16, UInt16)] {
      descriptors.append(littleEndian: address)
      descriptors.append(littleEndian: count)
      descriptors.append(littleEndian: flags)
      descriptors.append(littleEndian: next)
    }
    bench.driver.put(descriptors, at: ring)
    bench.driver.put([0xff], at: data + 0x100)
    bench.driver.put([0, 0, 1, 0, 0, 0], at: ring + 16 * 64)
    view.write(0, 0xc010, .word)
    bench.loop.run()
    #expect(bench.driver.bytes(at: data + 0x100, count: 1) == [0])
    #expect(bench.driver.bytes(at: ring + 0x1000, count: 4) == [0, 0, 1, 0])
    #expect(view.read(0xc013, .byte) == 1)
    view.write(0, 0xc012, .byte)
    bench.loop.run()
    #expect(view.read(0xc012, .byte) == 0)
    #expect(bench.begin(), "and then a modern one")
  }

  @Test(arguments: [false, true])
  func `it keeps the contract of components`(isTransitional: Bool) throws {
    let loop = ManualLoop()
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let disk = TestDisk(sectors: 64)
    let broken = ComponentContract.violations(
      of: {
        VirtioPCI(
          VirtioBlock(disk: disk, queueSize: 8, loop: loop), memory: memory,
          isTransitional: isTransitional, loop: loop)
      },
      plug: { device, bus in
        let root = PCIRoot(
          ports: IOBus(wideAccess: .split), registers: bus, messages: RecordingMSITarget(),
          interrupts: RecordingController())
        root.bus.plug(device.configuration, device: 1)
        for (bar, value) in [(0, 0x1000), (1, 0x10_0000)] as [(UInt16, UInt32)] {
          device.configuration.writeConfiguration(value, mask: .max, 0x10 + 4 * bar)
        }
        device.configuration.writeConfiguration(3, mask: .max, 4)
        // The MSI-X table is large, and has tests of its own.
        for mapping in bus.map where mapping.range.count >= 4096 { bus.unmap(mapping.range) }
      }, wideAccess: .refuse,
      disturb: { device in
        device.configuration.writeConfiguration(0xe000_0000, mask: .max, 0x10)
        device.function.writeStatus(1)
      },
      settle: { loop.run() })
    #expect(broken == [])
  }
}
