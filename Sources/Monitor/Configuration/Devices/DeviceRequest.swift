/// A device that the user asks for beside those that every machine has.
package enum DeviceRequest: Sendable, Codable, Equatable {
  case disk(DiskRequest)
  case pmem(PmemRequest)
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
    case .pmem: "--pmem"
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
    case .pmem: "pmem"
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
    case .share(let share): share.bus ?? .pci
    case .vsock(let vsock): vsock.bus ?? .pci
    case .pmem, .console, .balloon, .entropy: .pci
    }
  }
}

extension [DeviceRequest] {
  /// How many devices, and ports beside them, have a place on bus 0; and how many virtio devices have registers of
  /// their own.
  static let mostOnPCI = 30
  static let mostOnMMIO = 32

  /// What cannot be in a machine with these ports, if it cannot.
  func problem(among ports: PCITopology) -> ConfigurationError? {
    let rootPorts = ports.ports.count { $0.bus == nil }
    for (bus, count, most) in [
      (DeviceBus.pci, count { $0.bus == .pci } + rootPorts, Self.mostOnPCI),
      (.mmio, count { $0.bus == .mmio }, Self.mostOnMMIO),
    ] where count > most {
      return ConfigurationError(
        "bus=\(bus.rawValue)", "The machine has places for \(most) such devices: ask for fewer.")
    }
    var taken: Set<String> = []
    for case .port(let name) in lazy.map(\.bus) {
      if let problem = ports.obstacle(toPluggingInto: name) { return problem }
      guard taken.insert(name).inserted else {
        return ConfigurationError(
          "bus=\(name)", "Two devices are to go into this port's slot: give each its own port.")
      }
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
  package var names: [String] {
    var names: [String] = []
    for request in self { names.append(request.freeName(besides: names)) }
    return names
  }
}

extension DeviceRequest {
  /// The first name for such a device that none of the others has.
  func freeName(besides others: [String]) -> String {
    var number = 0
    while others.contains("\(stem)\(number)") { number += 1 }
    return "\(stem)\(number)"
  }
}
