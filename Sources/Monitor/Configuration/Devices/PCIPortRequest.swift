/// A PCI Express port that the user asks for: of the root complex, or of a switch.
package struct PCIPortRequest: Sendable, Codable, Equatable {
  /// How devices name it behind `bus=`.
  package var name: String
  /// The switch whose downstream port it is; `nil`: a root port.
  package var bus: String?
  /// The number of its slot in the chassis; `nil`: the first that is free.
  package var slot: UInt16?
  /// Whether a device may come and go while the machine runs; `nil`: as suits what is in the slot.
  package var isHotPluggable: Bool?

  /// PCIe 6.0 §7.5.3.9 "Slot Capabilities Register": Physical Slot Number has 13 bits, and zero is no slot.
  static let slots: ClosedRange<UInt16> = 1...8191

  /// Reads `id=NAME[,bus=SWITCH][,slot=NUMBER][,hotplug=on|off]`.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    name = try values.require("id", "rp0")
    bus = try values.take("bus")
    slot = try values.takeNumber("slot", Self.slots)
    isHotPluggable = try values.takeSwitch("hotplug")
    try values.end(known: "id=, bus=, slot= and hotplug=")
    if let problem { throw problem }
  }

  /// What cannot be by itself, if it cannot.
  var problem: ConfigurationError? {
    if let slot, !Self.slots.contains(slot) {
      return ConfigurationError(
        "--pci-port id=\(name),slot=\(slot)", "Write a number from 1 to 8191.")
    }
    return PCIName.problem(name)
  }
}

/// A PCI Express switch that the user asks for: its upstream port. Its downstream ports name it.
package struct PCISwitchRequest: Sendable, Codable, Equatable {
  /// How its ports name it behind `bus=`.
  package var name: String
  /// The port in whose slot it is.
  package var bus: String

  /// Reads `id=NAME,bus=PORT`.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    name = try values.require("id", "sw0")
    bus = try values.require("bus", "rp0")
    try values.end(known: "id= and bus=")
    if let problem { throw problem }
  }

  var problem: ConfigurationError? { PCIName.problem(name) }
}

/// The names of ports and switches, which stand behind `bus=` and in the machine's tree.
private enum PCIName {
  static func problem(_ name: String) -> ConfigurationError? {
    let isName =
      (1...20).contains(name.utf8.count)
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
    guard isName, case .port = DeviceBus(rawValue: name) else {
      return ConfigurationError(
        "id=\(name)",
        "Write a name of up to 20 letters, digits, - and _, and not pci or mmio, such as rp0.")
    }
    return nil
  }
}
