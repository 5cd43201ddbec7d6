import Execution
import Foundation
import HostOS
import Logging
import Monitor
import Streams
import Testing

struct EndedMachineTests {
  /// A machine whose parts kept each other would keep the lock of its disk, and the next life be refused.
  @Test(arguments: [DeviceBus.pci, .mmio])
  func `a machine that has ended lets go of its disk`(_ bus: DeviceBus) async throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "roost-ended-\(UUID())")
      .path()
    #expect(FileManager.default.createFile(atPath: path, contents: Data(count: 1 << 20)))
    defer { try? FileManager.default.removeItem(atPath: path) }
    var disk = try DiskRequest(parsing: "path=\(path),format=raw")
    disk.bus = bus
    disk.full = bus == .mmio ? .wait : .report
    let devices = [DeviceRequest.disk(disk)]
    let loop = try EventLoop(name: "devices")
    defer { loop.stop() }

    try await live(with: devices, on: loop)
    var problem: (any Error)?
    let isOpenAgain = await eventually {
      do {
        for device in try devices.open(HostAccess(loop: loop)) { try device.close() }
        return true
      } catch {
        problem = error
        return false
      }
    }
    #expect(isOpenAgain, "\(String(describing: problem))")
  }

  private func live(with devices: [DeviceRequest], on loop: EventLoop) async throws {
    var configuration = Rig.configuration()
    configuration.devices = devices
    let opened = try devices.open(HostAccess(loop: loop))
    let machine = try VirtualMachine(
      configuration, engine: FakeEngine { (_, _) throws(EngineError) in nil }, loop: loop,
      backends: PC.Backends(serial: Rig.backends.serial, devices: opened),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    try await machine.start()
    await machine.stop()
    for device in opened { try device.close() }
  }
}
