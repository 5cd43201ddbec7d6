import Board
import Kit
import Memory
import PCI
import Testing
import Work

@testable import Virtio

/// Every device, whatever carries it, keeps the contract of components and lives through chance.
@Suite struct DeviceLifeTests {
  enum Kind: Sendable, CaseIterable {
    case entropy, block, network, console, fileSystem, nineP, socket, balloon, pmem

    func make(_ loop: any Loop) -> any VirtioDevice {
      switch self {
      case .entropy: VirtioEntropy(source: VirtioFunctionTests.Zeroes())
      case .block: VirtioBlock(disk: TestDisk(sectors: 16), queues: 2, queueSize: 8, loop: loop)
      case .network:
        VirtioNetwork(
          ports: [TestPort(), TestPort()], address: [2, 0, 0, 0, 0, 1], queueSize: 8, loop: loop)
      case .console:
        VirtioConsole(
          ports: [.init(RecordingStream(), isConsole: true), .init(RecordingStream(), name: "x")],
          queueSize: 8, loop: loop)
      case .fileSystem:
        VirtioFileSystem(tag: "t", share: TestShare(loop), queueSize: 8, loop: loop)
      case .nineP: VirtioNineP(tag: "t", share: TestShare(loop), queueSize: 8, loop: loop)
      case .socket: VirtioSocket(guestCID: 3, host: TestVsockHost(loop), queueSize: 8)
      case .balloon: VirtioBalloon(loop: loop)
      case .pmem:
        VirtioPersistentMemory(
          GPARange(start: GPA(1 << 32), count: 2 << 20)!, flushing: TestDisk(sectors: 16),
          loop: loop)
      }
    }
  }

  /// Negotiates and makes the driver ready, with the queues that a random number says.
  private func begin(_ function: VirtioFunction, _ number: UInt64, _ loop: ManualLoop) {
    for status: UInt8 in [0, 1, 3] { function.writeStatus(status) }
    function.write { registers in
      let dialect = [0, GuestDriver.packed, GuestDriver.eventIndex][Int(number % 3)]
      // Without VLANs to filter, whose table is long.
      let features = registers.offered.rawValue & 0xf7_ffff | GuestDriver.version1 | dialect
      for half in 0..<2 as Range<UInt32> {
        registers.driverFeatureSelect = half
        registers.writeDriverFeatures(UInt32(truncatingIfNeeded: features >> (32 * UInt64(half))))
      }
      return .nothing
    }
    function.writeStatus(0xb)
    for queue in 0..<6 as Range<UInt64> where number >> (8 + queue) & 1 == 0 {
      function.write { registers in
        registers.queueSelect = UInt16(queue)
        registers.setUpQueue { register in
          register.descriptorArea = queue * 0x4000
          register.driverArea = queue * 0x4000 + 0x1000
          register.deviceArea = queue * 0x4000 + 0x2000
        }
        return registers.enableQueue()
      }
    }
    function.writeStatus(0xf)
  }

  private func plug(_ device: VirtioPCI, _ bus: IOBus) {
    let root = PCIRoot(
      ports: IOBus(wideAccess: .split), registers: bus, messages: RecordingMSITarget(),
      interrupts: RecordingController())
    root.bus.plug(device.configuration, device: 1)
    device.configuration.writeConfiguration(0x10_0000, mask: .max, 0x10)
    device.configuration.writeConfiguration(6, mask: .max, 4)
    // The MSI-X table is large, and has tests of its own.
    for mapping in bus.map where mapping.range.count >= 4096 { bus.unmap(mapping.range) }
  }

  private func rest<Device: Component>(_ loop: ManualLoop) -> (Device) -> Bool {
    { device in
      let rest = Barrier()
      device.stop(rest)
      loop.run()
      return rest.isReached
    }
  }

  @Test(arguments: Kind.allCases)
  func `over MMIO it keeps the contract of components`(kind: Kind) throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let loop = ManualLoop()
    let broken = ComponentContract.violations(
      of: {
        VirtioMMIO(
          kind.make(loop), interrupt: InterruptLine(to: RecordingController(), pin: 4),
          dma: DMA(memory), loop: loop)
      },
      plug: { $1.map($0, at: 0..<0x200) }, wideAccess: .refuse,
      disturb: { begin($0.function, 0, loop) }, settle: { loop.run() })
    #expect(broken == [])
  }

  @Test(arguments: Kind.allCases)
  func `over PCI it keeps the contract of components`(kind: Kind) throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let loop = ManualLoop()
    let broken = ComponentContract.violations(
      of: { VirtioPCI(kind.make(loop), memory: memory, loop: loop) },
      plug: plug, wideAccess: .refuse,
      disturb: { device in
        plug(device, IOBus(wideAccess: .refuse))
        begin(device.function, 0, loop)
      }, settle: { loop.run() })
    #expect(broken == [])
  }

  @Test(arguments: Kind.allCases, [1, 2] as [UInt64])
  func `it lives through anything`(kind: Kind, seed: UInt64) throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 1 << 20)])
    let loop = ManualLoop()
    var chance = Chance(seed: seed)
    for page in 0..<24 as Range<UInt64> {
      try memory.write(
        (0..<4096).map { _ in UInt8(truncatingIfNeeded: chance.next()) }, at: GPA(page << 12))
    }
    var mmio = RandomLife(
      seed: seed, clock: ManualClock(),
      of: {
        VirtioMMIO(
          kind.make(loop), interrupt: InterruptLine(to: RecordingController(), pin: 4),
          dma: DMA(memory), loop: loop)
      }, plug: { $1.map($0, at: 0..<0x200) }, wideAccess: .refuse,
      events: [{ begin($0.function, $1, loop) }, { _, _ in loop.run() }], rest: rest(loop))
    #expect(mmio.live(steps: 2000) == [])
    var pci = RandomLife(
      seed: seed, clock: ManualClock(),
      of: { VirtioPCI(kind.make(loop), memory: memory, loop: loop) }, plug: plug,
      wideAccess: .refuse,
      events: [{ begin($0.function, $1, loop) }, { _, _ in loop.run() }], rest: rest(loop))
    #expect(pci.live(steps: 2000) == [])
  }
}
