import HostOS
import Monitor
import Streams
import Synchronization

/// What the machine's ports are attached to, open from the run's start to its end.
final class Attachments: Sendable {
  private let serial: [any HostStream]
  private let console: any HostStream
  private let debugConsole: any HostStream
  private let devices: Mutex<[OpenedDevice]>
  private let host: HostAccess
  private let departed: @Sendable (OpenedDevice) -> Void
  /// The terminal, if a port is attached to one.
  let terminal: TerminalStream?

  /// - Parameter departed: hears of devices that were unplugged, on any thread.
  init(
    _ plan: Plan, on loop: EventLoop, _ obey: @escaping @Sendable (ConsoleCommand) -> Void,
    departed: @escaping @Sendable (OpenedDevice) -> Void
  ) throws {
    func open(_ option: String, _ target: SerialTarget) throws(ConfigurationError) -> any HostStream
    {
      do throws(HostError) {
        return try target.open(on: loop, obey)
      } catch {
        throw ConfigurationError(
          "\(option) \(target)", "It cannot be opened (\(error.reason)); name another.")
      }
    }
    var serial: [any HostStream] = []
    for target in plan.serial { serial.append(try open("--serial", target)) }
    self.serial = serial
    debugConsole = try open("--debug-console", plan.debugConsole)
    console = try open("--console", plan.console)
    host = try HostAccess(loop: loop, console: console)
    let (requests, names) = try plan.devices()
    devices = Mutex(try requests.open(host, as: names))
    self.departed = departed
    terminal = (serial + [console]).lazy.compactMap { $0 as? TerminalStream }.first
  }

  var backends: PC.Backends {
    PC.Backends(
      serial: serial, debugConsole: debugConsole, devices: devices.withLock { $0 },
      departed: departed)
  }

  /// Plugs a device into the running machine.
  func plug(_ request: DeviceRequest, into machine: VirtualMachine) async throws -> OpenedDevice {
    let device = try await machine.plug(request, host)
    devices.withLock { $0.append(device) }
    return device
  }

  /// Lets go of a device that was unplugged.
  func close(_ device: OpenedDevice) {
    devices.withLock { devices in
      // A new device may have its name already: that one comes later.
      if let index = devices.firstIndex(where: { $0.name == device.name }) {
        devices.remove(at: index)
      }
    }
    finish(device)
  }

  /// Says something to the person at the terminal, or on standard error if there is none.
  func show(_ text: String) {
    if let terminal { terminal.show(text) } else { StandardError.write(text) }
  }

  /// Waits until what the guest sent has left, and lets go of the host. Says so if some of it was lost.
  func close() {
    for (index, stream) in serial.enumerated() {
      if let error = stream.close() { lament("serial port COM\(index + 1)", error) }
    }
    if let error = console.close() { lament("console", error) }
    if let error = debugConsole.close() { lament("debug console", error) }
    for device in devices.withLock({ $0 }) { finish(device) }
  }

  private func finish(_ device: OpenedDevice) {
    do {
      try device.close()
    } catch {
      StandardError.write("roost: What was written to \(device.name) may be lost: \(error).\n")
    }
  }

  private func lament(_ port: String, _ error: HostError) {
    StandardError.write("roost: Output of the \(port) was lost: \(error).\n")
  }
}
