/// A device that the user asks for beside those that every machine has.
package enum DeviceRequest: Sendable, Codable, Equatable {
  case disk(DiskRequest)
  case network(NetworkRequest, forwards: [PortForward])
  case share(ShareRequest)
  case vsock(VsockRequest)
  /// A virtio console, whose other end is named anew at each run.
  case console
  /// Takes back memory that the guest does not use.
  case balloon
  case entropy

  /// The option that asks for it, as the user writes it.
  package var option: String {
    switch self {
    case .disk: "--disk"
    case .network: "--net"
    case .share: "--share"
    case .vsock: "--vsock"
    case .console: "--console"
    case .balloon: "--balloon"
    case .entropy: "--no-entropy"
    }
  }

  /// What its name in the machine begins with.
  var stem: String {
    switch self {
    case .disk: "disk"
    case .network: "net"
    case .share: "share"
    case .vsock: "vsock"
    case .console: "console"
    case .balloon: "balloon"
    case .entropy: "entropy"
    }
  }

  package var bus: DeviceBus {
    switch self {
    case .disk(let disk): disk.bus
    case .network(let network, _): network.bus
    case .share, .vsock, .console, .balloon, .entropy: .pci
    }
  }
}

/// What carries a virtio device.
package enum DeviceBus: String, Sendable, Codable, CaseIterable { case pci, mmio }

extension [DeviceRequest] {
  /// How many devices of each kind of carrier a PC takes.
  static let mostOnPCI = 30
  static let mostOnMMIO = 32

  /// What cannot be, if it cannot.
  var problem: ConfigurationError? {
    for (bus, most) in [(DeviceBus.pci, Self.mostOnPCI), (.mmio, Self.mostOnMMIO)]
    where count(where: { $0.bus == bus }) > most {
      return ConfigurationError(
        "bus=\(bus.rawValue)", "The machine has places for \(most) such devices: ask for fewer.")
    }
    var tags: Set<String> = []
    for case .share(let share) in self where !tags.insert(share.tag).inserted {
      return ConfigurationError(
        "--share tag=\(share.tag)", "Two shares have this tag: give each its own.")
    }
    if count(where: { if case .vsock = $0 { true } else { false } }) > 1 {
      return ConfigurationError("--vsock", "A machine has one socket device: give it once.")
    }
    return nil
  }

  /// The name of each device in the machine: `disk0`, `disk1`, `net0`, ….
  var names: [String] {
    var counts: [String: Int] = [:]
    return map { request in
      let number = counts[request.stem, default: 0]
      counts[request.stem] = number + 1
      return "\(request.stem)\(number)"
    }
  }
}
