import Board
import Kit
import Memory
import SavedState
import Testing

@testable import PCI

/// PCI 3.0 §6.8.
@Suite struct MessageTests {
  let pins = RecordingController()
  let messages = RecordingMSITarget()
  let registers = IOBus(wideAccess: .refuse)
  let root: PCIRoot

  private static let table: UInt64 = 0xe000_0000

  init() {
    root = PCIRoot(
      ports: IOBus(wideAccess: .split), registers: registers, messages: messages, interrupts: pins)
  }

  static func makeMSIX(_ vectors: Int = 3) -> ConfigurationSpace {
    let msix = MSIX(vectors: vectors)
    return ConfigurationSpace(
      PCIIdentity(vendor: 0x1af4, device: 0x1041, classCode: .ethernet), bars: [msix.bar],
      msix: msix, interruptPin: .a)
  }

  static func makeMSI(_ vectors: Int = 4) -> ConfigurationSpace {
    ConfigurationSpace(
      PCIIdentity(vendor: 0x1af4, device: 0x1041, classCode: .ethernet),
      msi: MSICapability(vectors: vectors), interruptPin: .a)
  }

  /// Plugged in, its table at `table`, MSI-X enabled, bus mastering on.
  private func function(vectors: Int = 3) -> ConfigurationSpace {
    let function = Self.makeMSIX(vectors)
    root.bus.plug(function, device: 3)
    function.writeConfiguration(UInt32(Self.table), mask: .max, 0x10)
    function.writeConfiguration(6, mask: .max, 0x04)
    function.writeConfiguration(0x8000_0000, mask: .max, 0x40)
    return function
  }

  private func read(_ offset: UInt64, _ width: AccessWidth = .doubleword) -> UInt64 {
    var view = BusView(registers)
    return view.read(Self.table + offset, width)
  }

  private func write(_ value: UInt64, _ offset: UInt64, _ width: AccessWidth = .doubleword) {
    var view = BusView(registers)
    view.write(value, Self.table + offset, width)
  }

  private func program(_ vector: UInt64, masked: Bool = false) {
    write(0xfee0_1000 + vector << 4, vector * 16, .quadword)
    write(UInt64(masked ? 1 : 0) << 32 | 0x40 + vector, vector * 16 + 8, .quadword)
  }

  // §6.8.2.3 to §6.8.2.5
  @Test func `the capability tells where table and pending bits are`() {
    let function = Self.makeMSIX(2048)
    #expect(function.capability(0x11) == [0x07ff_0011, 0, 0x8000])
    function.writeConfiguration(.max, mask: .max, 0x10)
    #expect(function.readConfiguration(0x10) == 0xffff_0000)
    let small = MSIX(vectors: 3)
    let shared = ConfigurationSpace(
      PCIIdentity(vendor: 1, device: 2, classCode: .ethernet),
      bars: [
        BAR(.memory64(prefetchable: true), size: 0x1000, device: RegionDevice()),
        BAR(.memory(prefetchable: false), size: 0x4000, blocks: [small.block(at: 0x2000)]),
      ], msix: small)
    #expect(shared.capability(0x11) == [0x0002_0011, 0x2002, 0x2802])
  }

  // §6.8.2.6 to §6.8.2.9
  @Test func `after reset every vector is masked, and entries keep what is written`() {
    let function = function()
    #expect(read(0x0c) == 1 && read(0x2c) == 1)
    program(1, masked: true)
    #expect(read(0x10, .quadword) == 0xfee0_1010)
    #expect(read(0x18, .quadword) == 0x1_0000_0041)
    write(.max, 0x10)
    write(.max, 0x1c)
    #expect(read(0x10) == 0xffff_fffc && read(0x1c) == 1)
    #expect(read(0x30) == 0)
    function.reset()
    function.writeConfiguration(UInt32(Self.table), mask: .max, 0x10)
    function.writeConfiguration(6, mask: .max, 0x04)
    #expect(read(0x10) == 0)
  }

  @Test func `other widths than four and eight, and odd places, are refused`() {
    let function = function()
    program(0)
    for (offset, width) in [
      (0, .byte), (0, .word), (2, .doubleword), (4, .quadword), (0xffd, .doubleword),
    ] as [(UInt64, AccessWidth)] {
      #expect(read(offset, width) == width.mask)
      write(0, offset, width)
    }
    #expect(read(0) == 0xfee0_1000)
    #expect(function.sendsMessages)
  }

  @Test func `a signal is a message from the function's address`() {
    let function = function()
    program(1)
    function.signal(vector: 1)
    #expect(messages.messages == [MSI(address: 0xfee0_1010, data: 0x41)])
    function.signal(vector: 3)
    function.signal(vector: -1)
    #expect(messages.messages.count == 1)
  }

  // §6.8.2.10 and PCIe 6.0 §6.1.4
  @Test func `what is masked waits, shows as pending, and goes once`() {
    let function = function()
    program(0, masked: true)
    program(2)
    function.signal(vector: 0)
    function.signal(vector: 0)
    #expect(messages.messages.isEmpty)
    #expect(read(0x800, .quadword) == 1)
    write(.max, 0x800)
    #expect(read(0x800) == 1)
    function.writeConfiguration(0xc000_0000, mask: .max, 0x40)
    function.signal(vector: 2)
    #expect(read(0x800) == 5)
    write(0, 0x0c)
    #expect(messages.messages.isEmpty)
    function.writeConfiguration(0x8000_0000, mask: .max, 0x40)
    #expect(messages.messages.map(\.data) == [0x40, 0x42])
    #expect(read(0x800) == 0)
    write(1, 0x0c)
    function.signal(vector: 0)
    write(0, 0x0c)
    #expect(messages.messages.map(\.data) == [0x40, 0x42, 0x40])
  }

  @Test func `without bus mastering messages wait too`() {
    let function = function()
    program(0)
    function.writeConfiguration(2, mask: .max, 0x04)
    function.signal(vector: 0)
    #expect(messages.messages.isEmpty && read(0x800) == 1)
    function.writeConfiguration(6, mask: .max, 0x04)
    #expect(messages.messages.count == 1 && read(0x800) == 0)
  }

  @Test func `while MSI-X is off its signals are dropped`() {
    let function = function()
    program(0)
    function.writeConfiguration(0, mask: .max, 0x40)
    function.signal(vector: 0)
    #expect(!function.sendsMessages)
    function.writeConfiguration(0x8000_0000, mask: .max, 0x40)
    #expect(messages.messages.isEmpty)
  }

  // PCIe 6.0 §6.1.4
  @Test func `the interrupt pin is silent while messages are enabled`() {
    let function = function()
    function.set(0, asserted: true)
    // VIRTIO 1.3 §4.1.4.5.1: the Interrupt Status bit is the pin's, not the messages'.
    #expect(!pins.level(19))
    #expect(function.readConfiguration(0x04) >> 19 & 1 == 0)
    function.writeConfiguration(0, mask: .max, 0x40)
    #expect(pins.level(19))
    #expect(function.readConfiguration(0x04) >> 19 & 1 == 1)
    function.writeConfiguration(0x8000_0000, mask: .max, 0x40)
    #expect(!pins.level(19))
  }

  @Test func `two thousand vectors have their own messages and pending bits`() {
    let function = function(vectors: 2048)
    program(2047, masked: true)
    function.signal(vector: 2047)
    #expect(read(0x80fc) == 0x8000_0000)
    #expect(read(0x80f8, .quadword) == 1 << 63)
    #expect(read(0x8100) == 0)
    write(0, 2047 * 16 + 12)
    #expect(messages.messages == [MSI(address: 0xfee0_1000 + 2047 << 4, data: 0x40 + 2047)])
  }

  @Test func `a restored function still has its messages, and sends what was pending`() throws {
    let function = function()
    program(0)
    function.writeConfiguration(2, mask: .max, 0x04)
    function.signal(vector: 0)
    root.bus.unplug(device: 3)
    let twin = Self.makeMSIX()
    try twin.restore(function.save())
    root.bus.plug(twin, device: 3)
    twin.writeConfiguration(6, mask: .max, 0x04)
    #expect(messages.messages == [MSI(address: 0xfee0_1000, data: 0x40)])
    #expect(throws: RestoreError.self) { try Self.makeMSIX(4).restore(function.save()) }
    #expect(throws: RestoreError.self) { try Self.makeMSI().restore(function.save()) }
  }

  // §6.8.1.3: Multiple Message Enable
  @Test func `MSI puts the vector into the low bits of its data, as far as it was granted`() {
    let function = Self.makeMSI()
    root.bus.plug(function, device: 3)
    #expect(function.capability(0x05)?[0] == 0x0184_0005)
    function.writeConfiguration(4, mask: .max, 0x04)
    function.writeConfiguration(0xfee0_2000, mask: .max, 0x44)
    function.writeConfiguration(0x4163, mask: .max, 0x4c)
    function.signal(vector: 1)
    function.writeConfiguration(0x0021_0000, mask: .max, 0x40)
    function.signal(vector: 1)
    function.writeConfiguration(0x0011_0000, mask: .max, 0x40)
    function.signal(vector: 2)
    function.writeConfiguration(0x0071_0000, mask: .max, 0x40)
    function.signal(vector: 2)
    #expect(messages.messages.map(\.data) == [0x4161, 0x4162, 0x4162])
  }

  // §6.8.1.7, §6.8.1.8
  @Test func `MSI's vectors wait behind their mask`() {
    let function = Self.makeMSI()
    root.bus.plug(function, device: 3)
    function.writeConfiguration(4, mask: .max, 0x04)
    function.writeConfiguration(.max, mask: .max, 0x50)
    #expect(function.readConfiguration(0x50) == 0xf)
    function.writeConfiguration(0x0021_0000, mask: .max, 0x40)
    function.signal(vector: 3)
    function.writeConfiguration(0, mask: .max, 0x54)
    #expect(function.readConfiguration(0x54) == 8)
    #expect(messages.messages.isEmpty)
    function.writeConfiguration(7, mask: .max, 0x50)
    #expect(function.readConfiguration(0x54) == 0)
    #expect(messages.messages.map(\.data) == [3])
  }

  @Test func `functions with messages keep the contract of components`() {
    let gone = ComponentContract.violations(
      of: { Self.makeMSIX() },
      disturb: { $0.writeConfiguration(0xe000_0000, mask: .max, 0x10) })
    #expect(gone == [])
    let broken = ComponentContract.violations(
      of: { Self.makeMSI() }, disturb: { $0.writeConfiguration(.max, mask: .max, 0x44) })
    #expect(broken == [])
  }
}
