/// What carries a virtio device.
package enum DeviceBus: RawRepresentable, Sendable, Codable, Equatable {
  /// PCI's bus 0.
  case pci
  /// Registers of its own.
  case mmio
  /// The slot of a PCI Express port, by the port's name.
  case port(String)

  /// As the user writes it behind `bus=`.
  package init(rawValue: String) {
    switch rawValue {
    case "pci": self = .pci
    case "mmio": self = .mmio
    default: self = .port(rawValue)
    }
  }

  package var rawValue: String {
    switch self {
    case .pci: "pci"
    case .mmio: "mmio"
    case .port(let name): name
    }
  }
}

extension KeyValues {
  /// `bus=`; `nil` if it was not given.
  mutating func takeBus() throws(ConfigurationError) -> DeviceBus? {
    try take("bus").map(DeviceBus.init)
  }
}
