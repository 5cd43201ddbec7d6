import Board
import Kit
import Memory
import SavedState
import Testing

@testable import PCI

/// A device behind BARs that reads as its region's number.
final class RegionDevice: IODevice {
  func read(_ access: Access) throws(IOError) -> UInt64 { UInt64(access.region) }
  func write(_ value: UInt64, _ access: Access) throws(IOError) {}
}

/// PCI Local Bus Specification 3.0, chapter 6.
@Suite struct ConfigurationSpaceTests {
  let ports = IOBus(wideAccess: .split)
  let registers = IOBus(wideAccess: .refuse)
  let pins = RecordingController()
  let gate = Gate()
  let root: PCIRoot
  let space: ConfigurationSpace

  init() {
    root = PCIRoot(
      ports: ports, registers: registers, messages: RecordingMSITarget(), interrupts: pins)
    space = Self.make(gate)
    root.bus.plug(space, device: 0)
  }

  static func make(_ gate: Gate = Gate()) -> ConfigurationSpace {
    let device = RegionDevice()
    return ConfigurationSpace(
      PCIIdentity(
        vendor: 0x1234, device: 0x5678, revision: 3, classCode: .ethernet, subsystemVendor: 0xabcd,
        subsystem: 0xef01),
      bars: [
        BAR(.ports, size: 32, device: device, region: 1),
        BAR(.memory(prefetchable: false), size: 0x1000, device: device, region: 2),
        BAR(.memory64(prefetchable: true), size: 1 << 33, device: device, region: 3),
      ],
      capabilities: [
        PCICapability(id: 0x09, registers: [0x0008_0000, 7], writable: [0, 0xff]),
        PCICapability(
          id: 0x06, registers: [0x0080_0000, 0, 0, 0], writable: [0x0001_0000, .max, .max, 0xffff]),
      ],
      interruptPin: .b, busMaster: gate)
  }

  private func read(_ register: UInt16) -> UInt32 { space.readConfiguration(register) }

  private func write(_ value: UInt32, _ register: UInt16, mask: UInt32 = .max) {
    space.writeConfiguration(value, mask: mask, register)
  }

  private func port(_ address: UInt64) -> UInt64 {
    var view = BusView(ports)
    return view.read(address, .byte)
  }

  private func memory(_ address: UInt64) -> UInt64 {
    var view = BusView(registers)
    return view.read(address, .doubleword)
  }

  // §6.2.1
  @Test func `the identity is read-only`() {
    for (register, value) in [
      (0x00, 0x5678_1234), (0x08, 0x0200_0003), (0x2c, 0xef01_abcd), (0x3c, 0x200),
    ] as [(UInt16, UInt32)] {
      write(0, register)
      #expect(read(register) == value)
    }
    write(0x0b, 0x3c, mask: 0xff)
    #expect(read(0x3c) == 0x20b)
  }

  // §6.2.5.1
  @Test func `all ones tell how large a BAR is`() {
    for register in stride(from: 0x10 as UInt16, to: 0x28, by: 4) { write(.max, register) }
    #expect(read(0x10) == 0xffff_ffe1)
    #expect(read(0x14) == 0xffff_f000)
    #expect(read(0x18) == 0x0000_000c)
    #expect(read(0x1c) == 0xffff_fffe)
    #expect(read(0x20) == 0)
  }

  @Test func `BARs answer where they are put, while their space is enabled`() {
    write(0xc001, 0x10)
    write(0xe000_0000, 0x14)
    write(0x10, 0x1c)
    #expect(port(0xc000) == 0xff)
    write(1, 0x04)
    #expect(port(0xc01f) == 1)
    #expect(memory(0xe000_0ffc) == 0xffff_ffff)
    write(3, 0x04)
    #expect(memory(0xe000_0ffc) == 2)
    #expect(memory(0x10_0000_0000) == 3)
    write(0xe100_0000, 0x14)
    #expect(memory(0xe000_0000) == 0xffff_ffff)
    #expect(memory(0xe100_0000) == 2)
    write(0, 0x04)
    #expect(registers.map.isEmpty && ports.map.isEmpty)
  }

  @Test func `a BAR does not take what is another's, and finds its place once that is free`() {
    let other = RegionDevice()
    registers.map(other, at: 0xe000_0800..<0xe000_0900, region: 9)
    write(2, 0x04)
    write(0xe000_0000, 0x14)
    #expect(memory(0xe000_0800) == 9)
    write(0xe000_1000, 0x14)
    #expect(memory(0xe000_1000) == 2)
    #expect(memory(0xe000_0800) == 9)
  }

  @Test func `neither zero nor the pattern for sizing is an address`() {
    write(3, 0x04)
    write(.max, 0x14)
    write(.max, 0x10)
    write(.max, 0x18)
    write(.max, 0x1c)
    #expect(registers.map.isEmpty && ports.map.isEmpty)
  }

  // §6.2.2
  @Test func `bus mastering opens the way to memory`() {
    #expect(!gate.isOpen)
    write(4, 0x04)
    #expect(gate.isOpen)
    space.reset()
    #expect(!gate.isOpen)
  }

  // §6.2.2, §6.2.3
  @Test func `the interrupt shows in status, and reaches the bus unless disabled`() {
    space.set(0, asserted: true)
    #expect(pins.level(17))
    #expect(read(0x04) == 0x0018_0000)
    write(0x400, 0x04)
    #expect(!pins.level(17))
    #expect(read(0x04) == 0x0018_0400)
    write(0, 0x04)
    #expect(pins.level(17))
    space.set(0, asserted: false)
    #expect(!pins.level(17))
    space.set(1, asserted: true)
    #expect(!pins.level(17))
  }

  // §6.7
  @Test func `capabilities are chained, and keep what may be written`() {
    #expect(read(0x34) == 0x40)
    #expect(read(0x40) == 0x0008_4809)
    #expect(read(0x48) == 0x0080_0006)
    write(.max, 0x48)
    write(.max, 0x4c)
    write(.max, 0x44)
    #expect(read(0x48) == 0x0081_0006)
    #expect(space.capability(0x06) == [0x0081_0006, .max, 0, 0])
    #expect(space.capability(0x09) == [0x0008_4809, 0xff])
    #expect(space.capability(0x11) == nil)
  }

  @Test func `only the bytes that are written change`() {
    write(0x1122_3344, 0x4c, mask: 0x00ff_0000)
    #expect(read(0x4c) == 0x0022_0000)
  }

  @Test func `beyond 256 bytes there is nothing`() {
    write(.max, 0x100)
    #expect(read(0x100) == 0)
    #expect(read(0xffc) == 0)
  }

  @Test func `a restored function maps its BARs again`() throws {
    write(0xe000_0000, 0x14)
    write(6, 0x04)
    let saved = space.save()
    let twinRegisters = IOBus(wideAccess: .refuse)
    let twinGate = Gate()
    let twin = Self.make(twinGate)
    let twinRoot = PCIRoot(
      ports: IOBus(wideAccess: .split), registers: twinRegisters, messages: RecordingMSITarget(),
      interrupts: pins)
    twinRoot.bus.plug(twin, device: 0)
    try twin.restore(saved)
    #expect(twinGate.isOpen)
    #expect(twinRegisters.map.first?.range == 0xe000_0000..<0xe000_1000)
    #expect(throws: RestoreError.self) {
      try ConfigurationSpace.hostBridge().restore(saved)
    }
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { Self.make() },
      disturb: { $0.writeConfiguration(0xe000_0000, mask: .max, 0x14) })
    #expect(broken == [])
  }
}
