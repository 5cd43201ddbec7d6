import Arch

/// How many ticks of the time-stamp counter an access takes that is answered outside the guest. Nothing is
/// checked: Scripts/exit-cost.py compares monitors by it.
enum ExitCost {
  /// Of so many slices the quickest counts: the others were disturbed.
  private static let slices = 25
  private static let count: UInt64 = 200

  static func run(_ info: StartInfo) -> Never {
    tell("nothing") { time_nothing(0, 0, $0) }
    // CMOS: register 0Fh is a plain byte.
    out8(0x70, 0x0f)
    tell("port-write") { time_out8(0x71, 0, $0) }
    tell("port-read") { time_in8(0x71, 0, $0) }
    tell("memory-write") { time_store32(hpet + 0x100, 0, $0) }
    tell("memory-read") { time_load32(hpet + 0xf0, 0, $0) }
    // The task priority: what a local APIC in user space would cost at each access, against one in the kernel.
    tell("apic-write") { time_store32(0xfee0_0080, 0, $0) }
    tell("apic-read") { time_load32(0xfee0_0080, 0, $0) }
    if info.isAsked(for: "doorbells") { ownDoorbells() } else { testDevicesDoorbells() }
    finish()
  }

  private static func tell(_ what: Text, _ slice: (UInt64) -> UInt64) {
    var least = UInt64.max
    for _ in 0..<slices { least = min(least, slice(count)) }
    line("cost ", what, " ", .decimal(least / count))
  }

  /// At its usual place on a PC; both halves of its counter are read in user space.
  private static let hpet: UInt64 = 0xfed0_0000

  /// Where Tests/Guests/DoorbellCostTests.swift puts doorbells into a machine of Roost's.
  private static func ownDoorbells() {
    tell("memory-doorbell") { time_store8(0xfed1_0000, 0, $0) }
    tell("port-doorbell") { time_out8(0x700, 0, $0) }
  }

  /// QEMU's pci-testdev offers writes that ring a doorbell (docs/specs/pci-testdev.rst): its first BAR is memory, its
  /// second ports; a byte written at the start chooses the test, whose name stands at 16.
  private static func testDevicesDoorbells() {
    for device in UInt32(0)..<32 where PCIScan.read(device, 0, 0) == 0x0005_1b36 {
      out32(PCIScan.select(device, 0, 4), PCIScan.read(device, 0, 4) | 3)
      let memory = UInt64(PCIScan.read(device, 0, 0x10) & ~0xf)
      let port = UInt16(truncatingIfNeeded: PCIScan.read(device, 0, 0x14) & ~3)
      for test in UInt8(0)..<3 {
        store8(memory, test)
        guard hasName("mmio-wildcard-eventfd", { load8(memory + 16 + $0) }) else { continue }
        let offset = UInt64(load32(memory + 4))
        let data = UInt32(load8(memory + 8))
        // One byte wide, as the test says.
        tell("memory-doorbell") { time_store8(memory + offset, data, $0) }
      }
      for test in UInt8(0)..<3 {
        out8(port, test)
        guard
          hasName("portio-wildcard-eventfd", { in8(port + 16 + UInt16(truncatingIfNeeded: $0)) })
        else { continue }
        let offset = UInt16(truncatingIfNeeded: in32(port + 4))
        let data = UInt32(in8(port + 8))
        tell("port-doorbell") { time_out8(port + offset, data, $0) }
      }
    }
  }

  private static func hasName(_ name: StaticString, _ byte: (UInt64) -> UInt8) -> Bool {
    var isSame = true
    name.withUTF8Buffer { name in
      for index in 0..<name.count where byte(UInt64(index)) != name[index] { isSame = false }
    }
    return isSame
  }
}
