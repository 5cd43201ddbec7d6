import Board
import Inspection
import Kit
import Memory
import PCI
import Testing
import Work

@testable import Virtio

/// The four ways in which a driver may speak to a device, as far as rings go.
struct Dialect: Sendable, CustomTestStringConvertible {
  let features: UInt64
  let name: String
  var testDescription: String { name }

  static let all: [Dialect] = [
    Dialect(features: 0, name: "split"),
    Dialect(features: GuestDriver.eventIndex, name: "split, event index"),
    Dialect(features: GuestDriver.packed, name: "packed"),
    Dialect(features: GuestDriver.packed | GuestDriver.eventIndex, name: "packed, event index"),
  ]
}

/// What carries a device.
enum Carrier: Sendable, CaseIterable { case mmio, pci }

/// A device behind its registers on a board of test instruments, and a driver for it.
final class Bench<Device: VirtioDevice> {
  let memory: GuestMemory
  let loop = ManualLoop()
  let pins = RecordingController()
  let messages = RecordingMSITarget()
  let bus = IOBus(wideAccess: .refuse)
  let ports = IOBus(wideAccess: .split)
  let device: Device
  let function: VirtioFunction
  let driver: GuestDriver
  // One of the two.
  private(set) var transport: VirtioMMIO!
  private(set) var pci: VirtioPCI!
  /// The registers of MMIO.
  private(set) var registers: GuestMMIO!
  private(set) var guestPCI: GuestPCI!
  private let component: any Component
  private let root: PCIRoot

  static var memorySize: UInt64 { 16 << 20 }

  /// - Parameter rings: features for the queues besides the usual, such as order of return.
  init(
    _ make: (ManualLoop) -> Device, rings: VirtioFeatures = [], over carrier: Carrier = .mmio,
    isTransitional: Bool = false
  ) {
    memory = try! GuestMemory([.init(start: GPA(0), count: Self.memorySize)])
    device = make(loop)
    root = PCIRoot(ports: ports, registers: bus, messages: messages, interrupts: pins)
    let features = VirtioFeatures.rings.union(rings)
    switch carrier {
    case .mmio:
      let transport = VirtioMMIO(
        device, interrupt: InterruptLine(to: pins, pin: 5), dma: DMA(memory), loop: loop,
        offering: features)
      bus.map(transport, at: 0x1000..<0x1200)
      registers = GuestMMIO(bus, at: 0x1000)
      function = transport.function
      component = transport
      self.transport = transport
      driver = GuestDriver(registers, memory: memory)
    case .pci:
      let pci = VirtioPCI(
        device, memory: memory, express: .endpoint, isTransitional: isTransitional, loop: loop,
        offering: features)
      let space = pci.configuration
      root.bus.plug(space, device: 1)
      guestPCI = GuestPCI(
        bus: bus, base: 0x8_0000_0000, bar: isTransitional ? 1 : 0,
        read: { space.readConfiguration($0) },
        write: { space.writeConfiguration($0, mask: .max, $1) })
      function = pci.function
      component = pci
      self.pci = pci
      driver = GuestDriver(guestPCI, memory: memory)
    }
    component.start()
    loop.run()
  }

  /// Negotiates: all that the device offers of its own, and these features of the rings.
  func begin(
    _ dialect: UInt64 = 0, device: UInt64 = .max, queueSize: UInt16 = .max, count: Int = .max
  ) -> Bool {
    let rings = GuestDriver.indirect | GuestDriver.version1 | GuestDriver.ringReset | dialect
    let own: UInt64 = device & ~0xff_ff00_0000 & ~GuestDriver.ringReset
    guard driver.negotiate(rings | own) else { return false }
    driver.begin(queueSize: queueSize, count: count)
    loop.run()
    return true
  }

  var interrupted: Bool { pins.changes.last?.asserted ?? false }

  /// Comes to rest, as the machine does.
  func stop() -> Bool {
    let rest = Barrier()
    component.stop(rest)
    loop.run()
    return rest.isReached
  }

  func start() {
    component.start()
    loop.run()
  }

  /// Resets the device, and waits; whether the device says that it is done.
  func reset() -> Bool {
    driver.transport.status = 0
    loop.run()
    return driver.transport.status == 0
  }
}

/// A device for tests of the rings: writes back what it reads, or, if told so, holds what it takes.
final class Echo: VirtioDevice {
  static let schema = "echo/1"
  struct Saved: Codable, Sendable {}
  let profile: VirtioProfile
  let held: LoopBound<[(VirtQueue, RequestTag)]>
  let holds: LoopBound<Bool>
  let served: LoopBound<Int>

  init(_ loop: any Loop, sizes: [UInt16] = [16, 16]) {
    profile = VirtioProfile(deviceID: .init(rawValue: 42), queueSizes: sizes)
    held = LoopBound([], on: loop)
    holds = LoopBound(false, on: loop)
    served = LoopBound(0, on: loop)
  }

  func service(_ queue: VirtQueue) {
    served.with { $0 += 1 }
    while let chain = queue.pop() {
      if holds.with({ $0 }) {
        let tag = queue.hold(chain)
        held.with { $0.append((queue, tag)) }
      } else {
        let count = Int(min(chain.readable.byteCount, 1 << 16))
        let bytes = (try? queue.dma.bytes(of: chain.readable, count: count)) ?? []
        let written = (try? queue.dma.write(bytes, to: chain.writable)) ?? 0
        queue.complete(chain, written: written)
      }
    }
  }

  /// Completes a request that is held, as `service` would have.
  func finish(_ number: Int = 0) {
    let (queue, tag) = held.with { $0.remove(at: number) }
    guard let (readable, writable) = queue.buffers(of: tag) else {
      queue.complete(tag, written: 0)
      return
    }
    let bytes = (try? queue.dma.bytes(of: readable, count: 1 << 16)) ?? []
    let written = (try? queue.dma.write(bytes, to: writable)) ?? 0
    queue.complete(tag, written: written)
  }

  func save() -> Saved { Saved() }
  func restore(_ saved: Saved) {}
  func inspect(_ node: inout Node) { node.field("echo", true) }
}
