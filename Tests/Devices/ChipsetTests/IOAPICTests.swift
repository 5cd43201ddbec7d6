import Board
import Inspection
import Kit
import SavedState
import Testing

@testable import Chipset

/// Intel 82093AA data sheet, §3.0 "Register Description".
@Suite struct IOAPICTests {
  let target = RecordingMSITarget()
  let ioapic: IOAPIC

  init() { ioapic = IOAPIC(id: 2, target: target) }

  private func read(_ index: UInt64) throws -> UInt64 {
    try ioapic.write(index, Access(width: .doubleword, offset: 0))
    return try ioapic.read(Access(width: .doubleword, offset: 0x10))
  }

  private func write(_ value: UInt64, _ index: UInt64) throws {
    try ioapic.write(index, Access(width: .doubleword, offset: 0))
    try ioapic.write(value, Access(width: .doubleword, offset: 0x10))
  }

  // §3.2.1, §3.2.2
  @Test func `it has an ID that can be changed, and says how many pins it has`() throws {
    #expect(try read(0) == 0x0200_0000)
    try write(0xff00_0000, 0)
    #expect(try read(0) == 0x0f00_0000)
    #expect(try read(1) == 0x0017_0020)
    try write(~0, 1)
    #expect(try read(1) == 0x0017_0020)
  }

  // §3.2.4
  @Test func `every pin is masked after reset, and keeps what is defined`() throws {
    for pin: UInt64 in 0..<24 {
      #expect(try read(0x10 + 2 * pin) == 0x1_0000)
      try write(0xffff_ffff, 0x10 + 2 * pin)
      try write(0xffff_ffff, 0x11 + 2 * pin)
      #expect(try read(0x10 + 2 * pin) == 0x1_afff)
      #expect(try read(0x11 + 2 * pin) == 0xff00_0000)
    }
    #expect(try read(0x40) == 0)
    ioapic.reset()
    #expect(try read(0x12) == 0x1_0000)
  }

  @Test func `an edge sends one message, to whom and how the entry says`() throws {
    try write(0x0300_0000, 0x15)
    try write(0x0931, 0x14)
    ioapic.set(2, asserted: true)
    ioapic.set(2, asserted: true)
    ioapic.set(2, asserted: false)
    #expect(target.messages == [MSI(address: 0xfee0_3004, data: 0x131)])
    ioapic.set(2, asserted: true)
    #expect(target.messages.count == 2)
  }

  @Test func `an edge on a masked pin is lost`() throws {
    try write(0x1_0031, 0x14)
    ioapic.set(2, asserted: true)
    try write(0x31, 0x14)
    #expect(target.messages == [])
  }

  @Test func `a level is sent again after its end, as long as it lasts`() throws {
    ioapic.set(16, asserted: true)
    try write(0x8041, 0x30)
    #expect(target.messages == [MSI(address: 0xfee0_0000, data: 0xc041)])
    #expect(try read(0x30) == 0xc041)
    ioapic.set(16, asserted: false)
    ioapic.set(16, asserted: true)
    #expect(target.messages.count == 1)
    ioapic.endOfInterrupt(vector: 0x42)
    #expect(target.messages.count == 1)
    ioapic.endOfInterrupt(vector: 0x41)
    #expect(target.messages.count == 2)
    ioapic.set(16, asserted: false)
    ioapic.endOfInterrupt(vector: 0x41)
    #expect(target.messages.count == 2)
    #expect(try read(0x30) == 0x8041)
  }

  @Test func `the EOI register ends interrupts too`() throws {
    ioapic.set(16, asserted: true)
    try write(0x8041, 0x30)
    try ioapic.write(0x41, Access(width: .doubleword, offset: 0x40))
    #expect(target.messages.count == 2)
  }

  @Test func `a level that ended while masked is sent when it is unmasked`() throws {
    ioapic.set(16, asserted: true)
    try write(0x8041, 0x30)
    try write(0x1_8041, 0x30)
    ioapic.endOfInterrupt(vector: 0x41)
    #expect(target.messages.count == 1)
    try write(0x8041, 0x30)
    #expect(target.messages.count == 2)
  }

  @Test func `making a pin edge-triggered forgets an interrupt on its way`() throws {
    ioapic.set(16, asserted: true)
    try write(0x8041, 0x30)
    try write(0x1_0041, 0x30)
    #expect(try read(0x30) == 0x1_0041)
    try write(0x8041, 0x30)
    #expect(target.messages.count == 2)
  }

  @Test func `pins that are not there are left alone`() {
    ioapic.set(24, asserted: true)
    ioapic.set(.max, asserted: true)
    #expect(target.messages == [])
  }

  @Test func `a restored pin knows its level`() throws {
    try write(0x31, 0x14)
    ioapic.set(2, asserted: true)
    let twin = IOAPIC(target: target)
    try twin.restore(ioapic.save())
    twin.set(2, asserted: true)
    #expect(target.messages.count == 1)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { IOAPIC(id: 1, target: RecordingMSITarget()) },
      plug: { $1.map($0, at: 0xfec0_0000..<0xfec0_0060) },
      wideAccess: .refuse,
      disturb: { ioapic in
        let registers = IOBus(wideAccess: .refuse)
        registers.map(ioapic, at: 0..<0x1000)
        var view = BusView(registers)
        for (index, value) in [(0, 7 << 24), (0x10, 0x8030), (0x13, 1 << 24), (0x12, 0x44)]
          as [(UInt64, UInt64)]
        {
          view.write(index, 0, .doubleword)
          view.write(value, 0x10, .doubleword)
        }
        ioapic.set(0, asserted: true)
        ioapic.set(0, asserted: false)
      })
    #expect(broken == [])
  }
}
