import Board
import Kit
import Memory
import PCI
import Virtio
import Work

/// What stands behind a virtio device, in a script's hands.
struct VirtioBackend {
  let device: any VirtioDevice
  /// Something happens on the device's other side.
  let stir: (inout Script) -> Void
  /// All that was held up on the other side ends.
  let finish: () -> Void
  /// What a driver has the device read.
  let message: (inout Script) -> [UInt8]

  init(
    _ device: any VirtioDevice, message: @escaping (inout Script) -> [UInt8] = { $0.piece() },
    stir: @escaping (inout Script) -> Void = { _ in }, finish: @escaping () -> Void = {}
  ) {
    self.device = device
    self.message = message
    self.stir = stir
    self.finish = finish
  }
}

/// A virtio device on a small board, reached by one of the transports, and a driver for it.
final class VirtioRig {
  enum Carrier: CaseIterable { case mmio, pci, transitional }

  let memory: GuestMemory
  let loop = ManualLoop()
  let bus = IOBus(wideAccess: .refuse)
  let ports = IOBus(wideAccess: .split)
  let backend: VirtioBackend
  let driver: GuestDriver
  let component: any Component
  /// Where the registers are, for whoever writes beside what a driver would.
  let registers: [Range<UInt64>]
  let configuration: ConfigurationSpace?
  private let root: PCIRoot

  static let memorySize: UInt64 = 1 << 20

  init(_ carrier: Carrier, _ make: (ManualLoop) -> VirtioBackend) {
    guard let memory = try? GuestMemory([.init(start: GPA(0), count: Self.memorySize)]) else {
      fatalError("The host gives no memory.")
    }
    self.memory = memory
    backend = make(loop)
    let pins = SilentPins()
    root = PCIRoot(ports: ports, registers: bus, messages: pins, interrupts: pins)
    if carrier == .mmio {
      let transport = VirtioMMIO(
        backend.device, interrupt: InterruptLine(to: pins, pin: 5), dma: DMA(memory), loop: loop)
      bus.map(transport, at: 0x1000..<0x1200)
      driver = GuestDriver(GuestMMIO(bus, at: 0x1000), memory: memory, from: 0x8000)
      component = transport
      configuration = nil
      registers = [0x1000..<0x1200]
    } else {
      let isTransitional = carrier == .transitional
      let pci = VirtioPCI(
        backend.device, memory: memory, express: .endpoint, isTransitional: isTransitional,
        loop: loop)
      let space = pci.configuration
      root.bus.plug(space, device: 1)
      let guest = GuestPCI(
        bus: bus, base: 0x8_0000_0000, bar: isTransitional ? 1 : 0,
        read: { space.readConfiguration($0) },
        write: { space.writeConfiguration($0, mask: .max, $1) })
      driver = GuestDriver(guest, memory: memory, from: 0x8000)
      component = pci
      configuration = space
      registers = bus.map.map(\.range)
    }
    component.start()
    loop.run()
  }

  /// Takes everything apart that keeps each other.
  func unplug() {
    driver.forgetQueues()
    if configuration != nil { root.bus.unplug(device: 1) }
  }

  /// Comes to rest, as the machine does.
  func stop() {
    let rest = Barrier()
    component.stop(rest)
    loop.run()
    backend.finish()
    loop.run()
    require(rest.isReached, "with all work done, a device comes to rest")
  }

  func start() {
    component.start()
    loop.run()
  }
}

/// Interrupts that nobody hears.
final class SilentPins: InterruptController, MSITarget {
  func set(_ pin: UInt32, asserted: Bool) {}
  func signal(_ message: MSI, from requester: UInt16) {}
}
