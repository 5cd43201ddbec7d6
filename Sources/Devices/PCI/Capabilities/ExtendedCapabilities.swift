extension PCICapability {
  /// A number that no other device has: PCIe 6.0 §7.9.3 "Device Serial Number Extended Capability".
  package static func serialNumber(_ number: UInt64) -> PCICapability {
    PCICapability(
      extended: 0x0003, version: 1,
      registers: [
        0, UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32),
      ])
  }

  /// Access Control Services of a port: PCIe 6.0 §7.7.11 "ACS Extended Capability".
  ///
  /// Source validation, translation blocking, request and completion redirect, upstream forwarding. Here
  /// functions reach RAM and interrupt controllers and never each other, whatever is enabled; so the
  /// promise holds always, and lets a guest put functions behind different ports into different groups.
  static var accessControl: PCICapability {
    PCICapability(
      extended: 0x000d, version: 1, registers: [0, 0x0000_001f], writable: [0, 0x001f_0000])
  }

  /// The subsystem of a bridge, whose header has no place for it: PCI-to-PCI Bridge Architecture 1.2
  /// §3.2.5.
  static func subsystem(vendor: UInt16, _ subsystem: UInt16) -> PCICapability {
    PCICapability(id: 0x0d, registers: [0, UInt32(subsystem) << 16 | UInt32(vendor)])
  }
}
