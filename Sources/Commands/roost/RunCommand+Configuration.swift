import HostOS
import LinuxBoot
import Logging
import Monitor

extension RunCommand {
  /// What to do, with every file read and every value checked as far as it can be by itself.
  func plan() throws -> Plan {
    // The cheap checks come before the files are read.
    let engine = try named("--engine", EngineChoice(parsing: machine.engine))
    let serial = try serialTargets()
    return try Plan(
      start: boot.restore == nil ? .powerOn(configuration()) : .restore(restoredPath()),
      engine: engine, serial: serial,
      console: named("--console", SerialTarget(parsing: devices.console ?? "null")),
      debugConsole: named("--debug-console", SerialTarget(parsing: outlets.debugConsole)),
      log: logLevel(), grace: graceNanoseconds(), snapshot: conduct.snapshot,
      snapshotAfter: snapshotDelay())
  }
}

// MARK: - What to start

extension RunCommand {
  private func configuration() throws(ConfigurationError) -> VMConfiguration {
    var configuration = VMConfiguration(
      memory: try named("--memory", MemorySize(parsing: machine.memory ?? "512M")),
      processors: machine.cpus ?? 1,
      model: try named("--cpu", ProcessorModel.parse(machine.cpu ?? "x86-64-v2")),
      boot: try bootSource(),
      debugExitPort: try debugExitPort(), restartsOnReset: !conduct.noReboot)
    configuration.pci = try devices.topology()
    configuration.devices = try devices.requests()
    // What cannot be is refused before anything is opened.
    _ = try PCShape(configuration)
    return configuration
  }

  private func bootSource() throws(ConfigurationError) -> VMConfiguration.Boot {
    switch (boot.kernel, boot.rom) {
    case (let kernel?, nil): return .kernel(try self.kernel(kernel))
    case (nil, let rom?):
      if boot.initrd != nil || boot.cmdline != nil || !boot.module.isEmpty {
        throw ConfigurationError(
          "--rom", "Firmware takes no --initrd, --cmdline or --module: leave them out.")
      }
      return .rom(try contents("--rom", rom))
    case (nil, nil):
      throw ConfigurationError(
        "roost run", "There is nothing to start: give --kernel, --rom or --restore.")
    case (_?, _?):
      throw ConfigurationError("--rom", "Give either --kernel or --rom, not both.")
    }
  }

  private func kernel(_ path: String) throws(ConfigurationError) -> VMConfiguration.Kernel {
    var kernel = VMConfiguration.Kernel(
      image: try wholeFile("--kernel", path), commandLine: boot.cmdline ?? "")
    if let initrd = boot.initrd { kernel.initrd = try wholeFile("--initrd", initrd) }
    for module in boot.module {
      let parts = module.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      kernel.modules.append(
        .init(
          file: try wholeFile("--module", String(parts[0])),
          commandLine: parts.count > 1 ? String(parts[1]) : ""))
    }
    if let name = boot.bootProtocol {
      guard let chosen = BootProtocol(rawValue: name) else {
        let names = BootProtocol.allCases.map(\.rawValue).joined(separator: ", ")
        throw ConfigurationError("--boot-protocol \(name)", "Write one of \(names).")
      }
      kernel.bootProtocol = chosen
    }
    return kernel
  }

  private func restoredPath() throws(ConfigurationError) -> String {
    guard boot.kernel == nil, boot.rom == nil, boot.initrd == nil, boot.cmdline == nil,
      boot.module.isEmpty, machine.memory == nil, machine.cpus == nil, machine.cpu == nil,
      machine.debugExit == nil, devices.isEmpty
    else {
      throw ConfigurationError(
        "--restore",
        "A saved machine brings its own kernel, memory, processors and devices: leave those options out."
      )
    }
    return boot.restore ?? ""
  }
}

// MARK: - Everything else

extension RunCommand {
  private func debugExitPort() throws(ConfigurationError) -> UInt16? {
    guard let text = machine.debugExit else { return nil }
    let number =
      text.lowercased().hasPrefix("0x") ? UInt16(text.dropFirst(2), radix: 16) : UInt16(text)
    guard let number, number <= 0xfffc else {
      throw ConfigurationError(
        "--debug-exit \(text)", "Write an I/O port, such as 0xf4 or 0x501.")
    }
    return number
  }

  private func serialTargets() throws(ConfigurationError) -> [SerialTarget] {
    var targets: [SerialTarget] = []
    for text in outlets.serial {
      targets.append(try named("--serial", SerialTarget(parsing: text)))
    }
    if targets.isEmpty { targets = [.stdio] }
    guard targets.count <= 4 else {
      throw ConfigurationError("--serial", "The machine has four serial ports: give at most four.")
    }
    // The terminal is the console's, if that is where it leads.
    if outlets.serial.isEmpty, devices.console == "stdio" { targets = [.null] }
    guard targets.count(where: { $0 == .stdio }) + (devices.console == "stdio" ? 1 : 0) <= 1 else {
      throw ConfigurationError(
        "--serial stdio", "There is one terminal: give stdio to one serial port or console only.")
    }
    return targets + [SerialTarget](repeating: .null, count: 4 - targets.count)
  }

  private func logLevel() throws(ConfigurationError) -> Logger.Level {
    guard let level = Logger.Level(rawValue: outlets.log) else {
      throw ConfigurationError(
        "--log \(outlets.log)", "Write trace, debug, info, notice, warning or error.")
    }
    return level
  }

  private func graceNanoseconds() throws(ConfigurationError) -> UInt64 {
    guard (0...86_400).contains(conduct.grace) else {
      throw ConfigurationError("--grace \(conduct.grace)", "Write seconds, at most a day.")
    }
    return UInt64(conduct.grace) * 1_000_000_000
  }

  private func snapshotDelay() throws(ConfigurationError) -> UInt64? {
    guard let seconds = conduct.snapshotAfter else { return nil }
    guard conduct.snapshot != nil else {
      throw ConfigurationError(
        "--snapshot-after \(seconds)", "Say where to save the machine: --snapshot FILE.")
    }
    guard (0...86_400).contains(seconds) else {
      throw ConfigurationError("--snapshot-after \(seconds)", "Write seconds, at most a day.")
    }
    return UInt64(seconds * 1_000_000_000)
  }
}

/// What a run is to do.
struct Plan: Sendable {
  enum Start: Sendable {
    case powerOn(VMConfiguration)
    case restore(String)
  }
  let start: Start
  let engine: EngineChoice
  /// By COM port: four.
  let serial: [SerialTarget]
  /// Where a virtio console leads, if the machine has one.
  let console: SerialTarget
  let debugConsole: SerialTarget
  let log: Logger.Level
  /// Nanoseconds between the power button and the end.
  let grace: UInt64
  let snapshot: String?
  let snapshotAfter: UInt64?

  /// What devices the machine has, and what they are called.
  func devices() throws -> (requests: [DeviceRequest], names: [String]) {
    switch start {
    case .powerOn(let configuration):
      return (configuration.devices, configuration.devices.names)
    case .restore(let path):
      let shape = try Snapshot(path: path).shape
      let requests = shape.devices ?? []
      return (requests, shape.deviceNames ?? requests.names)
    }
  }
}
