package import Board
package import HostOS
package import Streams
package import Virtio

/// A device that was asked for, with what stands behind it open: ready to be plugged into a machine.
package struct OpenedDevice: Sendable {
  /// Its name in the machine.
  package let name: String
  /// As it was asked for, with what opening it has told.
  package let request: DeviceRequest
  /// What carries it.
  package let bus: DeviceBus
  /// A file that the machine is to have as memory.
  package let mapping: FileMapping?
  /// Where the device works, if not with the others.
  package let loop: EventLoop?
  /// Makes the device on a machine's board; once.
  package let make: @Sendable (Backplane) throws -> any VirtioDevice
  /// Lets go of the host: what was written is made durable.
  package let close: @Sendable () throws -> Void
  /// Why a machine that has it cannot be saved; `nil`: it can.
  package let obstacleToSaving: String?

  /// - Parameter bus: `nil`: what the request says.
  package init(
    name: String, request: DeviceRequest, bus: DeviceBus? = nil, mapping: FileMapping? = nil,
    loop: EventLoop? = nil, obstacleToSaving: String? = nil,
    make: @escaping @Sendable (Backplane) throws -> any VirtioDevice,
    close: @escaping @Sendable () throws -> Void = {}
  ) {
    self.name = name
    self.request = request
    self.bus = bus ?? request.bus
    self.mapping = mapping
    self.loop = loop
    self.make = make
    self.close = close
    self.obstacleToSaving = obstacleToSaving
  }
}

/// What opening devices needs of the host.
package struct HostAccess: Sendable {
  /// Where sockets and TAP interfaces are watched; the machine's devices work on it too.
  package let loop: EventLoop
  /// Threads for calls that wait.
  package let pool: WorkerPool
  /// What a virtio console leads to.
  package let console: any ByteStream

  package init(
    loop: EventLoop, console: any ByteStream = NullStream()
  ) throws(HostError) {
    // Every flow of a network and every file that a guest knows of a share is a handle.
    DescriptorLimit.raise()
    self.loop = loop
    self.console = console
    pool = try WorkerPool(name: "disk", limit: 16)
  }
}

extension [DeviceRequest] {
  /// Opens what stands behind each, or nothing.
  ///
  /// - Parameter names: what each is called in the machine; `nil`: as `names` has it.
  /// - Throws: `ConfigurationError` that names the option.
  package func open(_ host: HostAccess, as names: [String]? = nil) throws -> [OpenedDevice] {
    var opened: [OpenedDevice] = []
    do {
      for (request, name) in zip(self, names ?? self.names) {
        opened.append(try request.open(as: name, host))
      }
    } catch {
      for device in opened { try? device.close() }
      throw error
    }
    return opened
  }
}

extension DeviceRequest {
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    switch self {
    case .disk(let disk): try disk.open(as: name, host)
    case .pmem(let pmem): try pmem.open(as: name, host)
    case .network(let network, let forwards): try network.open(as: name, forwards, host)
    case .share(let share): try share.open(as: name, host)
    case .vsock(let vsock): try vsock.open(as: name, host)
    case .console:
      OpenedDevice(name: name, request: self) { board in
        VirtioConsole(ports: [.init(host.console, isConsole: true)], loop: board.loop)
      }
    case .balloon:
      OpenedDevice(name: name, request: self) { board in VirtioBalloon(loop: board.loop) }
    case .entropy:
      OpenedDevice(name: name, request: self) { _ in VirtioEntropy(source: HostRandomSource()) }
    }
  }
}
