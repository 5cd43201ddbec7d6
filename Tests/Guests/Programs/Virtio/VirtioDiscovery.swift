import Arch

/// Finds the virtio devices of the machine.
enum VirtioDiscovery {
  /// Those that the DSDT announces as LNRO0005, in its order: their registers are a 32-bit fixed memory range, and their
  /// interrupt an extended descriptor (ACPI 6.5 §6.4.3.4 and §6.4.3.6).
  static func forEachOnMMIO(_ body: (MMIOTransport) -> Void) {
    guard let fadt = ACPI.fadt else { fail("no FADT") }
    let table = UInt64(load32(fadt + 40))
    let end = table + UInt64(load32(table + 4))
    var isAnnounced = false
    var base: UInt64 = 0
    var place = table + 36
    while place + 12 <= end {
      if load64(place) == 0x3530_3030_4f52_4e4c { isAnnounced = true }
      if isAnnounced, load32(place) & 0xff_ffff == 0x00_0986 { base = UInt64(load32(place + 4)) }
      if base != 0, load32(place) & 0xff_ffff == 0x00_0689 {
        let transport = MMIOTransport(base: base, pin: UInt64(load32(place + 5)))
        if transport.isDevice { body(transport) }
        isAnnounced = false
        base = 0
      }
      place += 1
    }
  }

  /// Those on bus 0, in the order of their slots (VIRTIO 1.3 §4.1.2).
  static func forEachOnPCI(_ body: (PCITransport) -> Void) {
    guard let mcfg = ACPI.mcfg else { fail("no MCFG") }
    for device in UInt32(0)..<32 {
      let space = PCIFunctionSpace(load64(mcfg + 44), device: device)
      let identity = space.read(PCIFunctionSpace.Register.identity)
      if identity & 0xffff != 0x1af4 { continue }
      let isTransitional = identity >> 16 < 0x1040
      let subsystem = space.read(PCIFunctionSpace.Register.subsystem) >> 16
      let transport = PCITransport(
        space, kind: isTransitional ? subsystem : identity >> 16 - 0x1040)
      if transport.common != 0 { body(transport) }
    }
  }
}
