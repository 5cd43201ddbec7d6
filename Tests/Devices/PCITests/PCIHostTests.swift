import Board
import Kit
import Memory
import Synchronization
import Testing

@testable import PCI

/// PCI 3.0 §3.2.2.3.2; PCIe 6.0 §7.2.2.
@Suite struct PCIHostTests {
  let ports = IOBus(wideAccess: .split)
  let registers = IOBus(wideAccess: .refuse)
  let root: PCIRoot
  let beneath = RecordingPort()
  let host: PCIHost

  private static let window: UInt64 = 0xe000_0000

  init() {
    root = PCIRoot(
      ports: ports, registers: registers, messages: RecordingMSITarget(),
      interrupts: RecordingController())
    host = PCIHost(root: root, beneath: [0xcf9: beneath])
    ports.map(host, at: PCIHost.ports, region: PCIHost.Block.ports.rawValue)
    registers.map(
      host, at: Self.window..<Self.window + PCIHost.memorySize,
      region: PCIHost.Block.memory.rawValue)
    root.bus.plug(ConfigurationSpace.hostBridge(), device: 0)
  }

  private func input(_ port: UInt64, _ width: AccessWidth) -> UInt64 {
    var view = BusView(ports)
    return view.read(port, width)
  }

  private func output(_ value: UInt64, _ port: UInt64, _ width: AccessWidth) {
    var view = BusView(ports)
    view.write(value, port, width)
  }

  private func memory(_ offset: UInt64, _ width: AccessWidth) -> UInt64 {
    var view = BusView(registers)
    return view.read(Self.window + offset, width)
  }

  @Test func `a guest finds the mechanism and the host bridge`() {
    output(1, 0xcfb, .byte)
    output(0x8000_0000, 0xcf8, .doubleword)
    #expect(input(0xcf8, .doubleword) == 0x8000_0000)
    #expect(input(0xcfc, .doubleword) == 0x0008_1b36)
    #expect(input(0xcfc, .word) == 0x1b36)
    #expect(input(0xcfe, .word) == 0x0008)
    #expect(input(0xcfd, .byte) == 0x1b)
    output(0x8000_0008, 0xcf8, .doubleword)
    #expect(input(0xcfe, .word) == 0x0600)
  }

  @Test func `reserved address bits read as zero`() {
    output(0xffff_ffff, 0xcf8, .doubleword)
    #expect(input(0xcf8, .doubleword) == 0x80ff_fffc)
  }

  @Test func `where no function is, and without the enable bit, data is all ones`() {
    output(0x8000_0800, 0xcf8, .doubleword)
    #expect(input(0xcfc, .doubleword) == 0xffff_ffff)
    output(0x8001_0000, 0xcf8, .doubleword)
    #expect(input(0xcfc, .doubleword) == 0xffff_ffff)
    output(0, 0xcf8, .doubleword)
    #expect(input(0xcfc, .doubleword) == 0xffff_ffff)
  }

  @Test func `byte enables reach the function`() {
    output(0x8000_003c, 0xcf8, .doubleword)
    output(0x0b, 0xcfc, .byte)
    output(0xffff, 0xcfe, .word)
    #expect(input(0xcfc, .doubleword) == 0x0000_000b)
    output(0x8000_000c, 0xcf8, .doubleword)
    output(0xaa, 0xcfd, .byte)
    #expect(input(0xcfc, .doubleword) == 0x0000_aa00)
  }

  @Test func `the reset control register shines through`() {
    output(6, 0xcf9, .byte)
    #expect(beneath.last == 6)
    #expect(input(0xcf9, .byte) == 6)
    #expect(input(0xcf8, .byte) == 0xff)
    #expect(input(0xcf8, .doubleword) == 0)
  }

  @Test func `memory shows the same functions`() {
    #expect(memory(0, .doubleword) == 0x0008_1b36)
    #expect(memory(2, .word) == 8)
    #expect(memory(1, .byte) == 0x1b)
    #expect(memory(0x28, .quadword) == 0x1100_1af4 << 32)
    #expect(memory(0x100, .doubleword) == 0)
    #expect(memory(0x8000, .doubleword) == 0xffff_ffff)
    #expect(memory(1 << 20, .doubleword) == 0xffff_ffff)
    var view = BusView(registers)
    view.write(0x55, Self.window + 0x3c, .byte)
    #expect(memory(0x3c, .doubleword) == 0x55)
  }

  @Test func `a second function shows in the header type of its device`() {
    #expect(memory(0x0e, .byte) == 0)
    root.bus.plug(ConfigurationSpace.hostBridge(), device: 3, function: 0)
    root.bus.plug(ConfigurationSpace.hostBridge(), device: 3, function: 5)
    #expect(memory(0x1800e, .byte) == 0x80)
    #expect(memory(0x1d00e, .byte) == 0x80)
    #expect(memory(0x0e, .byte) == 0)
  }

  // PCI 3.0 §2.2.6; the same formula is in the ACPI tables' _PRT.
  @Test func `slots are wired to the interrupts in turn, and shared inputs add up`() {
    let pins = RecordingController()
    let root = PCIRoot(
      ports: ports, registers: registers, messages: RecordingMSITarget(), interrupts: pins)
    let functions = [(1 as UInt8, InterruptPin.a), (0, .b), (31, .d)].map { device, pin in
      let identity = PCIIdentity(vendor: 1, device: 2, classCode: .ethernet)
      let function = ConfigurationSpace(identity, interruptPin: pin)
      root.bus.plug(function, device: device)
      return function
    }
    functions[0].set(0, asserted: true)
    #expect(pins.level(17))
    functions[1].set(0, asserted: true)
    functions[0].set(0, asserted: false)
    #expect(pins.level(17))
    functions[1].set(0, asserted: false)
    #expect(!pins.level(17))
    functions[2].set(0, asserted: true)
    #expect(pins.level(16 + (31 + 3) % 8))
  }

  @Test func `a function that is pulled out drives and answers nothing any more`() {
    let pins = RecordingController()
    let root = PCIRoot(
      ports: ports, registers: registers, messages: RecordingMSITarget(), interrupts: pins)
    let gate = Gate()
    let function = ConfigurationSpaceTests.make(gate)
    root.bus.plug(function, device: 2)
    function.set(0, asserted: true)
    function.writeConfiguration(0xd000_0000, mask: .max, 0x14)
    function.writeConfiguration(6, mask: .max, 0x04)
    let mapped = registers.map.count
    #expect(
      pins.level(19) && gate.isOpen && registers.map.contains { $0.range.lowerBound == 0xd000_0000 }
    )
    root.bus.unplug(device: 2)
    #expect(!pins.level(19) && !gate.isOpen && registers.map.count == mapped - 1)
    #expect(root.bus[2, 0] == nil)
  }

  @Test func `addresses are written as lspci does`() {
    #expect(PCIAddress(device: 31, function: 7).description == "00:1f.7")
    #expect(PCIAddress(requesterID: 0x12fb).description == "12:1f.3")
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { () -> PCIHost in
        let root = PCIRoot(
          ports: IOBus(wideAccess: .split), registers: IOBus(wideAccess: .refuse),
          messages: RecordingMSITarget(), interrupts: RecordingController())
        root.bus.plug(ConfigurationSpace.hostBridge(), device: 0)
        return PCIHost(root: root)
      },
      plug: { host, bus in
        bus.map(host, at: PCIHost.ports, region: 0)
        bus.map(host, at: 0x1_0000..<0x1_1000, region: 1)
      },
      disturb: { host in
        try? host.write(0x8000_0000, Access(width: .doubleword, offset: 0))
      })
    #expect(broken == [])
  }
}

/// A byte-wide port that remembers.
final class RecordingPort: IODevice {
  private let value = Mutex<UInt64>(0)
  var last: UInt64 { value.withLock { $0 } }
  func read(_ access: Access) throws(IOError) -> UInt64 { last }
  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    self.value.withLock { $0 = value }
  }
}
