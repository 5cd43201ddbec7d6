package import ArchitectureX86
import Board
import Chipset
package import Execution
package import HostOS
import Inspection
import LinuxBoot
package import Logging
import Memory
import SavedState

/// A virtual machine from power-on to its end: what may be done to it, one thing at a time.
///
/// Its processors and devices run on threads of their own; the actor only sets them going and to rest.
package actor VirtualMachine {
  package enum Condition: String, Sendable { case off, running, paused, ended }

  private let machine: Assembly
  private let snapshot: (content: Snapshot, path: String)?
  private let restartsOnReset: Bool
  private let log: Logger
  private var powerOnStates: [X86.State] = []
  package private(set) var condition = Condition.off
  private var turnstile = Turnstile()
  private var outcome: ExitReason?
  private var watchers: [CheckedContinuation<ExitReason, Never>] = []
  private var listening: Task<Void, Never>?
  /// Hears of each device that has left the machine and may be closed.
  private let departed: @Sendable (OpenedDevice) -> Void

  /// Builds a machine to power on.
  package init(
    _ configuration: VMConfiguration, engine: any Engine<X86>, loop: EventLoop,
    backends: PC.Backends, log: Logger
  ) throws {
    var shape = try PCShape(configuration)
    shape.have(backends.devices)
    if let problem = shape.problem { throw problem }
    let image = try BootImage(configuration, map: shape.map, devices: backends.devices)
    log.info("\(image.description)")
    machine = try Assembly(
      shape, image: image, engine: engine, clock: GuestClock(on: loop), loop: loop,
      backends: backends, log: log)
    snapshot = nil
    departed = backends.departed
    restartsOnReset = configuration.restartsOnReset
    self.log = log
  }

  /// Builds the machine that was saved at `path`, to go on where it was. Without its kernel it cannot
  /// be reset: a reset ends its run.
  package init(
    restoring path: String, engine: any Engine<X86>, loop: EventLoop, backends: PC.Backends,
    log: Logger
  ) throws {
    let content = try Snapshot(path: path)
    machine = try Assembly(
      content.shape, image: nil, engine: engine,
      clock: GuestClock(at: content.clock.now, epoch: content.clock.epoch, on: loop), loop: loop,
      backends: backends, log: log)
    snapshot = (content, path)
    departed = backends.departed
    restartsOnReset = false
    self.log = log
  }

  /// Waits for the end of the run.
  package func end() async -> ExitReason {
    if let outcome { return outcome }
    return await withCheckedContinuation { watchers.append($0) }
  }
}

// MARK: - What may be done to it

extension VirtualMachine {
  /// Powers the machine on, or lets a restored one go on.
  package func start() async throws {
    try await inTurn {
      guard condition == .off else { return }
      powerOnStates = try await machine.processorStates()
      if let snapshot {
        try snapshot.content.load(into: machine.memory, path: snapshot.path)
        try await machine.restore(snapshot.content.tree)
      } else {
        try await machine.load(powerOn: powerOnStates)
      }
      listen()
      go()
    }
  }

  /// Brings everything to rest; guest time stands still. Nothing if it is not running.
  package func pause() async {
    await inTurn {
      guard condition == .running else { return }
      await machine.quiesce()
      condition = .paused
    }
  }

  /// Goes on after `pause`.
  package func resume() async {
    await inTurn { if condition == .paused { go() } }
  }

  /// Starts the machine anew, as its reset line would.
  package func reset() async {
    await inTurn {
      guard condition == .running || condition == .paused else { return }
      if condition == .running { await machine.quiesce() }
      guard machine.canReset else { return finish(.reset) }
      do {
        machine.resetParts()
        try await machine.load(powerOn: powerOnStates)
      } catch {
        return finish(.failed("The machine cannot be reset: \(error)"))
      }
      log.info("The machine was reset.")
      go()
    }
  }

  /// Presses the power button, which a guest may answer by switching itself off.
  package func pressPowerButton() async {
    await inTurn { machine.pc.powerManagement.pressPowerButton() }
  }

  /// Sends the processors a non-maskable interrupt.
  package func sendNMI() async {
    await inTurn {
      machine.interrupts.set(ProcessorPin.lint1, asserted: true)
      machine.interrupts.set(ProcessorPin.lint1, asserted: false)
    }
  }

  /// Ends the run, whatever the guest thinks of it.
  package func stop(_ reason: ExitReason = .stopped) async {
    await inTurn {
      guard condition != .ended else { return }
      if condition == .running { await machine.quiesce() }
      finish(reason)
    }
  }

  /// Plugs a device into the slot of the port that it names, and presses the slot's button: the guest gives it power.
  ///
  /// - Returns: the device, which is the caller's to close when it has left, or when the machine has ended.
  /// - Throws: `ConfigurationError`, if there is no such slot, or something in it; or if the device cannot be opened.
  package func plug(_ request: DeviceRequest, _ host: HostAccess) async throws -> OpenedDevice {
    try await inTurn {
      guard condition == .running || condition == .paused else { throw MachineNotOn() }
      return try machine.plug(request, host, isRunning: condition == .running)
    }
  }

  /// Unplugs a device from its slot: `PC.Backends.departed` hears when it is out.
  ///
  /// - Parameter asks: whether the guest is asked by the slot's button, and lets go of the device when it likes. One
  ///   that is pulled out without is gone when this returns.
  /// - Throws: `ConfigurationError`, if there is no such device, or it is in no slot that it could leave.
  package func unplug(_ name: String, asks: Bool = true) async throws {
    try await inTurn {
      guard condition == .running || condition == .paused else { throw MachineNotOn() }
      guard !asks else { return try machine.pc.devices.requestRemoval(of: name) }
      try await machine.pc.devices.pull(name)
      await forget(name)
    }
  }

  private func retire(_ name: String) async {
    await inTurn {
      guard condition == .running || condition == .paused else { return }
      await forget(name)
    }
  }

  private func forget(_ name: String) async {
    guard let device = await machine.retire(name, isRunning: condition == .running) else { return }
    departed(device)
  }

  /// Writes the machine to a file, from which a new process can let it go on.
  package func save(to path: String) async throws {
    if let obstacle = machine.obstacleToSaving { throw CannotSave(reason: obstacle) }
    try await atRest {
      try Snapshot.write(await machine.savedTree(), machine.memory, to: path)
    }
  }

  /// Lets another engine execute the guest from here on; a machine that was paused stays so. If the engine
  /// cannot take it, it goes on where it is.
  ///
  /// - Returns: how long guest time stood still for it.
  @discardableResult
  package func move(to engine: any Engine<X86>) async throws -> Duration {
    let (former, time) = try await atRest {
      let start = ContinuousClock.now
      return (try await machine.move(to: engine), start.duration(to: .now))
    }
    former.leave()
    return time
  }

  /// Part of the inspection tree as text; `nil` if there is no such part.
  package func inspect(_ path: String = "") -> String? {
    var root = Node()
    root.field("condition", condition)
    machine.inspect(&root)
    return root.find(path)?.text()
  }

  /// The processors' registers as text.
  package func registers() async throws -> String {
    try await atRest {
      try await machine.processorStates().enumerated().map {
        "processor \($0.offset)\n\($0.element.text)"
      }.joined(separator: "\n")
    }
  }
}

// MARK: - How it is done

extension VirtualMachine {
  /// Runs `body` alone: no other step of the machine's life falls into it.
  private func inTurn<R: Sendable>(_ body: () async throws -> R) async rethrows -> R {
    if !turnstile.tryPass() { await withCheckedContinuation { turnstile.wait($0) } }
    defer { turnstile.leave() }
    return try await body()
  }

  /// Runs `body` at rest, and lets the machine go on if it was running.
  private func atRest<R: Sendable>(_ body: () async throws -> R) async throws -> R {
    try await inTurn {
      guard condition == .running || condition == .paused else { throw MachineNotOn() }
      guard condition == .running else { return try await body() }
      await machine.quiesce()
      defer { machine.resume() }
      return try await body()
    }
  }

  private func go() {
    machine.resume()
    condition = .running
  }

  private func finish(_ reason: ExitReason) {
    condition = .ended
    outcome = reason
    machine.dismantle()
    listening?.cancel()
    for watcher in watchers { watcher.resume(returning: reason) }
    watchers = []
  }

  /// Hears what the guest and its processors ask for.
  private func listen() {
    let events = machine.events
    listening = Task { [weak self] in
      for await event in events { await self?.answer(event) }
    }
  }

  private func answer(_ event: MachineEvent) async {
    switch event {
    case .powerOff: await stop(.poweredOff)
    case .debugExit(let value): await stop(.debugExit(value))
    case .reset: if restartsOnReset { await reset() } else { await stop(.reset) }
    case .slotEmptied(let device): await retire(device)
    case .sleep(let state):
      log.warning("The guest asked for sleep state S\(state), which this machine does not have.")
    case .tripleFault(let processor): await stop(.tripleFault(processor: processor))
    case .failed(let processor, let error):
      await stop(.failed("Processor \(processor) failed: \(error)"))
    }
  }
}

/// What was asked for needs a machine that is on.
package struct MachineNotOn: Error, CustomStringConvertible {
  package var description: String { "the machine is not on" }
}

/// The machine has something that no file could hold.
package struct CannotSave: Error, CustomStringConvertible {
  package let reason: String
  package var description: String { "the machine cannot be saved: \(reason)" }
}
