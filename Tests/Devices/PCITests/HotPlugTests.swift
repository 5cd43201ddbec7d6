import Board
import Kit
import Memory
import Synchronization
import Testing

@testable import PCI

/// PCIe 6.0 §6.7 "PCI Express Hot-Plug Support", §7.5.3.9 to §7.5.3.11.
@Suite struct HotPlugTests {
  let hierarchy = Hierarchy()
  let port = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(7))
  let device = SampleDevice()
  let observer = EmptySlots()
  private let base: UInt16

  init() throws {
    hierarchy.root.bus.plug(port, device: 1)
    hierarchy.open(0, 1, secondary: 1, to: 1, memory: 0xc000_0000...0xc00f_ffff)
    base = try #require(hierarchy.capability(0x10, 0, 1))
    let msi = try #require(hierarchy.capability(0x05, 0, 1))
    hierarchy.write(0xfee0_0000, 0, 1, msi + 4)
    hierarchy.write(0x33, 0, 1, msi + 12)
    hierarchy.write(1, 0, 1, 0, msi + 2, .word)
    port.attach(observer)
  }

  private var control: UInt32 { hierarchy.read(0, 1, 0, base + 0x18, .word) }
  private var status: UInt32 { hierarchy.read(0, 1, 0, base + 0x1a, .word) }
  private var isLinkActive: Bool { hierarchy.read(0, 1, 0, base + 0x12, .word) >> 13 & 1 == 1 }
  private func setControl(_ value: UInt32) { hierarchy.write(value, 0, 1, 0, base + 0x18, .word) }
  private func clear() { hierarchy.write(0xffff, 0, 1, 0, base + 0x1a, .word) }

  /// Power on, power indicator on, attention off, and interrupts for all but completed commands.
  private static let on: UInt32 = 0x11e9
  private static let off: UInt32 = 0x17e9

  @Test func `an empty slot has no power and says so`() {
    #expect(hierarchy.read(0, 1, base + 0x14) == 0x0038_0cfb)
    #expect(control == 0x07c0 && status == 0 && !isLinkActive)
    #expect(hierarchy.read(1, 0, 0) == .max)
  }

  @Test func `every write to Slot Control is a command that completes`() {
    setControl(0x07f0)
    #expect(status == 0x10 && hierarchy.messages.count == 1)
    clear()
    #expect(status == 0)
    setControl(0x07f0)
    #expect(hierarchy.messages.count == 2)
    clear()
    hierarchy.write(0x07d0, 0, 1, 0, base + 0x18, .word)
    #expect(status == 0x10 && hierarchy.messages.count == 2)
  }

  @Test func `what is inserted appears when the guest gives it power`() {
    setControl(Self.off)
    clear()
    #expect(port.insert([device.function]))
    #expect(status == 0x49 && hierarchy.messages.requesters == [0x0008])
    #expect(hierarchy.read(1, 0, 0) == .max && !isLinkActive)
    #expect(!port.insert([device.function]))
    clear()
    #expect(status == 0x40)
    setControl(Self.on)
    #expect(hierarchy.read(1, 0, 0) == 0x1041_1af4 && isLinkActive)
    #expect(status == 0x150)
    // The link's change is reported where the guest asked for it.
    clear()
    setControl(Self.off)
    #expect(hierarchy.read(1, 0, 0) == .max && !isLinkActive)
    #expect(observer.count == 0 && port.isOccupied)
  }

  @Test func `a removal that was asked for ends when the guest takes the power away`() {
    #expect(!port.requestRemoval())
    setControl(Self.off)
    _ = port.insert([device.function])
    setControl(Self.on)
    clear()
    hierarchy.enableMessages(1, 0, table: 0xc000_2000)
    #expect(device.gate.isOpen)
    #expect(port.requestRemoval())
    #expect(status == 0x41)
    #expect(observer.count == 0)
    clear()
    setControl(Self.off)
    #expect(observer.count == 1 && !port.isOccupied && !device.gate.isOpen)
    #expect(status == 0x118)
    #expect(hierarchy.registers.map.count == 1)
    let sent = hierarchy.messages.count
    device.function.signal(vector: 0)
    device.function.set(0, asserted: true)
    #expect(hierarchy.messages.count == sent && hierarchy.pins.changes.isEmpty)
    // And the same function goes in again, as after power-on.
    clear()
    #expect(port.insert([device.function]))
    setControl(Self.on)
    #expect(hierarchy.read(1, 0, 0x14) == 0)
  }

  @Test func `a function may be pulled out without a word`() {
    setControl(Self.off)
    _ = port.insert([device.function])
    setControl(Self.on)
    clear()
    hierarchy.enableMessages(1, 0, table: 0xc000_2000)
    let sent = hierarchy.messages.count
    #expect(port.remove())
    #expect(status == 0x108 && !isLinkActive && hierarchy.messages.count == sent + 1)
    #expect(hierarchy.memory(0xc000_2000) == 0xffff_ffff && hierarchy.read(1, 0, 0) == .max)
    #expect(observer.count == 0)
    #expect(port.remove() && hierarchy.messages.count == sent + 1)
  }

  @Test func `a slot that has no power lets go at once`() {
    setControl(Self.off)
    _ = port.insert([device.function])
    #expect(port.requestRemoval() && observer.count == 1 && !port.isOccupied)
  }

  @Test func `without messages the port uses its pin, until the events are cleared`() throws {
    let msi = try #require(hierarchy.capability(0x05, 0, 1))
    hierarchy.write(0, 0, 1, 0, msi + 2, .word)
    setControl(Self.off)
    clear()
    _ = port.insert([device.function])
    #expect(hierarchy.pins.level(17))
    clear()
    #expect(!hierarchy.pins.level(17))
  }

  @Test func `what is in a slot at power-on has power, and slots without hot-plug keep theirs`() {
    let fixed = PCIExpressPort.root(port: 2, slot: PCIExpress.Slot(8, isHotPluggable: false))
    fixed.plug(device.function)
    hierarchy.root.bus.plug(fixed, device: 2)
    hierarchy.open(0, 2, secondary: 2, to: 2)
    #expect(hierarchy.read(0, 2, base + 0x14) == 0x0044_0000)
    #expect(hierarchy.read(0, 2, base + 0x18) == 0x0040_0000)
    hierarchy.write(.max, 0, 2, base + 0x18)
    #expect(hierarchy.read(0, 2, base + 0x18) == 0x0040_0000)
    #expect(hierarchy.read(2, 0, 0) == 0x1041_1af4)
    #expect(!fixed.insert([]) && !fixed.requestRemoval() && !fixed.remove())
  }

  @Test func `a reset brings back what had no power, and forgets the removal`() {
    setControl(Self.off)
    _ = port.insert([device.function])
    port.reset()
    hierarchy.open(0, 1, secondary: 1, to: 1)
    #expect(hierarchy.read(1, 0, 0) == 0x1041_1af4)
    #expect(control == 0x01c0 && status == 0x40 && isLinkActive)
    setControl(Self.off)
    #expect(port.isOccupied)
  }

  @Test func `a restored slot is as its machine has it, with the power that was saved`() throws {
    setControl(Self.off)
    _ = port.insert([device.function])
    let saved = port.save()
    let twin = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(7))
    twin.plug(SampleDevice().function)
    let other = Hierarchy()
    other.root.bus.plug(twin, device: 1)
    try twin.restore(saved)
    #expect(other.read(1, 0, 0) == .max)
    other.write(Self.on, 0, 1, 0, base + 0x18, .word)
    #expect(other.read(1, 0, 0) == 0x1041_1af4)
    let empty = PCIExpressPort.root(port: 1, slot: PCIExpress.Slot(7))
    try empty.restore(saved)
    #expect(empty.readConfiguration(base + 0x18) >> 22 & 1 == 0)
  }
}

final class EmptySlots: SlotObserver {
  private let calls = Atomic<Int>(0)
  var count: Int { calls.load(ordering: .relaxed) }
  func slotEmptied(_ port: PCIExpressPort) { calls.add(1, ordering: .relaxed) }
}
