import ArchitectureX86
import Foundation
import HostOS
import Kit
import Logging
import Monitor
import Streams

/// A machine that runs one guest to its end, and what there was to see.
struct GuestMachine {
  var processors = 1
  var memory: UInt64 = 64 << 20
  var model = Self.model
  /// What it has beside what every machine has, and what its virtio console speaks to.
  var devices: [DeviceRequest] = []
  /// What carries them, if not what each asks for.
  var bus: DeviceBus?
  var console: any ByteStream = RecordingStream()
  /// The ports and switches that devices are behind.
  var pci = PCITopology()
  /// What the host does while the guest runs; it may wait for what the guest says on COM1.
  var meanwhile: (@Sendable (VirtualMachine, HostAccess, RecordingStream) async throws -> Void)?
  /// Whether a device is to say at the end that something of it was lost; otherwise that is an error.
  var losesSomething = false
  /// What its lives run on, in turn.
  var engines: [EngineKind] = [.software]
  /// Longer than any guest takes on a busy machine; one that is stuck ends here.
  var patience: Duration = .seconds(600)

  static let model = X86.CPUModel.x86_64v2.counting

  struct Run: Sendable {
    var reason: ExitReason
    var text: String
    /// How many times it was saved and restored on the way.
    var lives = 1
    var lines: [Substring] { text.split(separator: "\n") }
  }

  /// Runs until the guest ends the machine. At each of the moments, counted from the last, it is saved,
  /// and goes on in a new machine, of which the last hears `word` on COM1.
  func run(
    _ kernel: VMConfiguration.Kernel, savedAfter moments: [Duration] = [], word: [UInt8] = []
  ) async throws -> Run {
    var configuration = VMConfiguration(
      memory: MemorySize(bytes: memory), processors: processors, model: model,
      boot: .kernel(kernel),
      debugExitPort: 0xf4, restartsOnReset: false)
    configuration.devices = devices
    configuration.pci = pci
    let path = "\(FileManager.default.temporaryDirectory.path())/roost-guest-\(UUID())"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var whole = Run(reason: .stopped, text: "", lives: 0)
    for moment in moments.map(Optional.some) + [nil] {
      let restores = whole.lives > 0
      let engine = try engines[whole.lives % engines.count].makeEngine()
      let run = try await live(
        savedAfter: moment, to: path, word: moment == nil ? word : []
      ) { [configuration] loop, backends, log in
        restores
          ? try VirtualMachine(
            restoring: path, engine: engine, loop: loop, backends: backends, log: log)
          : try VirtualMachine(
            configuration, engine: engine, loop: loop, backends: backends, log: log)
      }
      whole = Run(reason: run.reason, text: whole.text + run.text, lives: whole.lives + 1)
      if run.reason != .stopped { break }
    }
    return whole
  }

  /// One machine from its start to its end, or to the moment when it is saved and stopped.
  private func live(
    savedAfter moment: Duration?, to path: String, word: [UInt8],
    _ make: (EventLoop, PC.Backends, Logger) throws -> VirtualMachine
  ) async throws -> Run {
    let loop = try EventLoop(name: "guest devices")
    defer { loop.stop() }
    let serial = RecordingStream()
    let nothing = RecordingStream()
    let host = try HostAccess(loop: loop, console: console)
    let opened = try devices.open(host).map { device in
      bus.map { device.moved(to: $0) } ?? device
    }
    let machine = try make(
      loop, PC.Backends(serial: [serial, nothing, nothing, nothing], devices: opened),
      Logger(label: "guest") { _ in SwiftLogNoOpLogHandler() })
    try await machine.start()
    if !word.isEmpty { serial.deliver(word) }
    let hostWork = Task { [meanwhile] in try await meanwhile?(machine, host, serial) }
    let watch = Task {
      try await Task.sleep(for: moment ?? patience)
      if moment != nil {
        await machine.pause()
        // It may have ended in the meantime.
        if await machine.condition == .paused { try await machine.save(to: path) }
      }
      await machine.stop()
    }
    let reason = await machine.end()
    watch.cancel()
    hostWork.cancel()
    try await hostWork.value
    if reason == .stopped { try await watch.value }
    for device in opened {
      do {
        try device.close()
      } catch {
        guard losesSomething else { throw error }
      }
    }
    return Run(reason: reason, text: String(decoding: serial.sent, as: UTF8.self))
  }
}

extension OpenedDevice {
  fileprivate func moved(to bus: DeviceBus) -> OpenedDevice {
    OpenedDevice(
      name: name, request: request, bus: bus, mapping: mapping, obstacleToSaving: obstacleToSaving,
      make: make, close: close)
  }
}
