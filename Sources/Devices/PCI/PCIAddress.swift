/// Where a function is: PCI 3.0 §3.2.2.3.4 "Type 0 Configuration Transactions".
package struct PCIAddress: Sendable, Hashable, CustomStringConvertible {
  package let bus: UInt8
  /// 0 to 31.
  package let device: UInt8
  /// 0 to 7.
  package let function: UInt8

  package init(bus: UInt8 = 0, device: UInt8, function: UInt8 = 0) {
    self.bus = bus
    self.device = device & 31
    self.function = function & 7
  }

  /// As CONFIG_ADDRESS, ECAM and messages have it: bus, device and function in 16 bits.
  package init(requesterID: UInt16) {
    self.init(
      bus: UInt8(requesterID >> 8), device: UInt8(requesterID >> 3 & 31),
      function: UInt8(requesterID & 7))
  }

  package var requesterID: UInt16 {
    UInt16(bus) << 8 | UInt16(device) << 3 | UInt16(function)
  }

  package var description: String {
    let bus = String(bus, radix: 16)
    let device = String(device, radix: 16)
    return "\(bus.count < 2 ? "0" : "")\(bus):\(device.count < 2 ? "0" : "")\(device).\(function)"
  }
}

/// One of the four interrupt pins of a device, by its number in the Interrupt Pin register: PCI 3.0 §6.2.4.
package enum InterruptPin: UInt8, Sendable, CaseIterable {
  case a = 1
  case b, c, d
}
