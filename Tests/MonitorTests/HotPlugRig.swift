import Board
import Execution
import Foundation
import HostOS
import Logging
import Monitor
import Streams
import Synchronization

/// A machine with ports, whose guest does what the test tells it to, and a folder for its disks.
final class HotPlugRig: Sendable {
  let loop: EventLoop
  let machine: VirtualMachine
  let host: HostAccess
  let departed = Departures()
  private let folder: String
  private let guest = ObedientGuest()

  /// A root port, a root port whose device stays, and a switch with a port; disk0 is behind the first.
  static func configuration(_ folder: String) throws -> VMConfiguration {
    var configuration = Rig.configuration()
    configuration.pci.ports = [
      try PCIPortRequest(parsing: "id=rp0"), try PCIPortRequest(parsing: "id=rp1,hotplug=off"),
      try PCIPortRequest(parsing: "id=rp2"), try PCIPortRequest(parsing: "id=dp0,bus=sw0"),
    ]
    configuration.pci.switches = [try PCISwitchRequest(parsing: "id=sw0,bus=rp2")]
    configuration.devices = [
      .disk(try DiskRequest(parsing: "path=\(folder)/0.raw,bus=rp0")), .entropy,
    ]
    return configuration
  }

  init() throws {
    folder = "\(FileManager.default.temporaryDirectory.path())/roost-hotplug-\(UUID())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    for name in ["0.raw", "1.raw"] {
      try Data(count: 1 << 20).write(to: URL(filePath: "\(folder)/\(name)"))
    }
    loop = try EventLoop(name: "rig")
    host = try HostAccess(loop: loop)
    let configuration = try Self.configuration(folder)
    var backends = Rig.backends
    backends.devices = try configuration.devices.open(host)
    backends.departed = { [departed] in departed.add($0) }
    machine = try VirtualMachine(
      configuration, engine: guest.engine, loop: loop, backends: backends, log: Self.log)
  }

  /// The machine that was saved at `path`, with the disks of the rig that saved it.
  init(restoring path: String, folder: String) throws {
    self.folder = folder
    loop = try EventLoop(name: "rig")
    host = try HostAccess(loop: loop)
    let shape = try Snapshot(path: path).shape
    var backends = Rig.backends
    backends.devices = try (shape.devices ?? []).open(host, as: shape.deviceNames)
    backends.departed = { [departed] in departed.add($0) }
    machine = try VirtualMachine(
      restoring: path, engine: guest.engine, loop: loop, backends: backends, log: Self.log)
  }

  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  func path(_ name: String) -> String { "\(folder)/\(name)" }
  var place: String { folder }

  func end() async {
    await machine.stop()
    loop.stop()
  }

  func removeFiles() { try? FileManager.default.removeItem(atPath: folder) }
}

/// Devices that have left the machine.
final class Departures: Sendable {
  private let devices = Mutex<[OpenedDevice]>([])

  func add(_ device: OpenedDevice) { devices.withLock { $0.append(device) } }

  var names: [String] { devices.withLock { $0.map(\.name) } }

  /// Closes them, and lets go of them.
  func close() throws {
    for device in devices.withLock({ $0 }) { try device.close() }
    devices.withLock { $0 = [] }
  }
}

// MARK: - What the guest does

extension HotPlugRig {
  /// The place on bus 0 of each root port, after the entropy device.
  enum Port: UInt64 { case rp0 = 2, rp1, rp2 }

  private static func address(_ bus: UInt64, _ device: UInt64, _ register: UInt64) -> UInt64 {
    PCAddressMap.pciConfiguration.lowerBound + bus << 20 + device << 15 + register
  }

  /// Reads a doubleword of configuration space.
  func read(_ bus: UInt64, _ device: UInt64, _ register: UInt64) async -> UInt32 {
    await guest.does { buses in
      UInt32(
        truncatingIfNeeded: buses.registers.read(Self.address(bus, device, register), .doubleword))
    }
  }

  /// Gives a port its bus, which is numbered one above its place.
  func number(_ port: Port) async {
    let bus = port.rawValue + 1
    await guest.does { buses in
      buses.registers.write(
        bus << 16 | bus << 8, Self.address(0, port.rawValue, 0x18), .doubleword)
    }
  }

  /// The first doubleword of what is behind a port: ones, if nothing answers.
  func identity(behind port: Port) async -> UInt32 { await read(port.rawValue + 1, 0, 0) }

  /// Slot Status.
  func status(_ port: Port) async -> UInt32 {
    await read(0, port.rawValue, Self.express + 0x18) >> 16
  }

  /// Writes Slot Control, power and indicators, and clears the events.
  func setPower(_ port: Port, isOn: Bool) async {
    await guest.does { buses in
      buses.registers.write(
        isOn ? 0x01c0 : 0x07c0, Self.address(0, port.rawValue, Self.express + 0x18), .word)
      buses.registers.write(
        0xffff, Self.address(0, port.rawValue, Self.express + 0x1a), .word)
    }
  }

  /// The PCI Express capability follows power management, which comes first.
  private static let express: UInt64 = 0x48
}

/// A guest that does what it is told, on its processor's thread.
private final class ObedientGuest: Sendable {
  private let errands = Mutex<[@Sendable (inout Buses) -> Void]>([])

  var engine: FakeEngine {
    FakeEngine { (_, buses) throws(EngineError) in
      while let errand = self.errands.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
        errand(&buses)
      }
      return nil
    }
  }

  @discardableResult
  func does<R: Sendable>(_ errand: @escaping @Sendable (inout Buses) -> R) async -> R {
    await withCheckedContinuation { continuation in
      errands.withLock { $0.append { continuation.resume(returning: errand(&$0)) } }
    }
  }
}
