package import ArchitectureX86
package import Board
package import Execution
package import HostOS
package import Inspection
import InterruptControllers
package import Logging
package import Memory
import PCI
package import SavedState
import Synchronization
import Work

/// A machine, put together: memory, board, parts, processors. It knows how they are moved;
/// `VirtualMachine` decides when, and calls what is below one at a time.
package final class Assembly: Sendable {
  package let shape: PCShape
  package let memory: GuestMemory
  package let clock: GuestClock
  package let loop: EventLoop
  package let board: Backplane
  package let pc: PC
  /// The wires to the processors' interrupt controllers, whichever engine these belong to.
  package let interrupts: InterruptRelay
  package let events: AsyncStream<MachineEvent>
  private let reporting: AsyncStream<MachineEvent>.Continuation
  private let panel: ControlPanel
  private let doorbells: EngineDoorbells
  private let current: Mutex<Processors>
  /// What the machine powers on and resets with; a restored one may have none.
  private let image: BootImage?

  /// Puts a machine together; `clock` runs on `loop`, and stands.
  package init(
    _ shape: PCShape, image: BootImage?, engine: any Engine<X86>, clock: GuestClock,
    loop: EventLoop, backends: PC.Backends, log: Logger
  ) throws {
    self.shape = shape
    self.image = image
    self.loop = loop
    self.clock = clock
    memory = try GuestMemory(
      shape.map.regions, files: Self.files(backends.devices, shape.map.persistentMemory))
    board = Backplane(memory: memory, clock: clock, loop: loop, log: log)
    let (events, reporting) = AsyncStream.makeStream(of: MachineEvent.self)
    self.events = events
    self.reporting = reporting
    panel = ControlPanel(reporting)
    let (partition, controllers) = try Self.partition(
      of: engine, shape, memory, clock, loop, board.log)
    interrupts = InterruptRelay(to: controllers)
    pc = try PC(
      on: board, processors: shape.processors, interrupts: interrupts, control: panel,
      backends: backends, map: shape.map, debugExitPort: shape.debugExitPort,
      pci: shape.pci ?? PCITopology(), reportEmptied: { reporting.yield(.slotEmptied(device: $0)) })
    let processors = try Processors(
      of: partition, count: shape.processors, ports: board.ports, registers: board.registers
    ) { reporting.yield($0) }
    current = Mutex(processors)
    panel.connect { processors.halt() }
    panel.connect(addressLine20: partition.addressLine20)
    doorbells = EngineDoorbells(log)
    doorbells.connect(to: partition.doorbells)
    doorbells.watch(board)
  }

  /// What the devices bring as memory, and where it goes.
  private static func files(
    _ devices: [OpenedDevice], _ places: [Range<UInt64>]
  ) throws(ConfigurationError) -> [GPA: FileMapping] {
    let mappings = devices.compactMap(\.mapping)
    guard mappings.map(\.count) == places.map({ $0.upperBound - $0.lowerBound }) else {
      throw ConfigurationError("--pmem", "The machine was made for other persistent memory.")
    }
    return Dictionary(uniqueKeysWithValues: zip(places.map { GPA($0.lowerBound) }, mappings))
  }

  /// The machine as an engine sees it: its memory, and its processors' interrupt controllers.
  private static func partition(
    of engine: any Engine<X86>, _ shape: PCShape, _ memory: GuestMemory, _ clock: GuestClock,
    _ loop: EventLoop, _ log: Logger
  ) throws(EngineError) -> (any Partition<X86>, any ProcessorInterrupts) {
    let partition = try engine.makePartition(
      PartitionPlan(
        processors: shape.processors, model: shape.processorModel, clock: clock, loop: loop,
        remark: { log.info("\($0)") }))
    try partition.map(memory)
    guard let controllers = partition.interruptController else {
      throw EngineError("the engine brings no local APICs, which a PC needs")
    }
    return (partition, controllers)
  }

  /// All parts, in the order in which they power on.
  private var parts: [Part] { pc.parts + pc.devices.parts }

  /// The processors of the present engine.
  package var processors: Processors { current.withLock { $0 } }
}

// MARK: - Running and resting

extension Assembly {
  /// Lets everything go: parts in order, then time, then the processors.
  package func resume() {
    for part in parts { part.component.start() }
    clock.start()
    processors.run()
  }

  /// Brings everything to rest: the processors, then time, then the parts, last first.
  package func quiesce() async {
    await processors.rest()
    await loop.run { [clock] in clock.stop() }
    let rest = Barrier()
    for part in parts.reversed() { part.component.stop(rest) }
    await rest.reached()
    // What was posted to the loops before is through.
    for own in pc.devices.loops { await own.run() }
    await loop.run()
  }

  /// Ends the processors' threads, leads the wires to them nowhere, and takes the devices off their buses. Only at
  /// rest; for good.
  package func dismantle() {
    processors.leave()
    interrupts.disconnect()
    panel.connect {}
    panel.connect(addressLine20: nil)
    doorbells.connect(to: nil)
    pc.pci.dismantle()
    board.ports.unmapAll()
    board.registers.unmapAll()
  }
}

// MARK: - Power-on, reset, restore

extension Assembly {
  /// How each processor is now. Before anything was loaded: as after power-on.
  package func processorStates() async throws -> [X86.State] {
    try await processors.visit { (_, processor) throws(EngineError) in
      try processor.state(of: .zero)
    }
  }

  /// Whether the machine can be reset: it knows what to start with.
  package var canReset: Bool { image != nil }

  /// Fills memory and sets the processors for the first instruction after power-on or reset.
  package func load(powerOn: [X86.State]) async throws {
    guard let image else { return }
    if shape.romSize == 0 { try pc.assignPCIResources(shape.map) }
    try image.load(into: memory)
    // Kernels are unpacked before that, and what that took is free now.
    releaseFreedMemory()
    try await Self.setStates(image.states(powerOn: powerOn), of: processors)
  }

  /// Takes all parts back to power-on; then `load` is due.
  package func resetParts() { for part in parts { part.component.reset() } }

  /// Every part's state, the processors' and the time; RAM is not in it.
  package func savedTree() async throws -> SavedTree {
    let present = pc.devices.present
    var shape = shape
    if shape.devices != nil { shape.have(present) }
    var tree = SavedTree(machine: PC.kind)
    tree.parts.append(try SavedPart(name: "shape", schema: PCShape.schema, value: shape))
    tree.parts.append(try SavedPart(name: "clock", schema: GuestClock.schema, value: clock.saved))
    for (index, state) in try await processorStates().enumerated() {
      tree.parts.append(
        try SavedPart(name: "processor\(index)", schema: X86.State.schema, value: state))
    }
    let names = Set(present.map(\.name))
    for part in pc.parts + pc.devices.parts.filter({ names.contains($0.name) }) {
      tree.parts.append(try part.component.savedPart(named: part.name))
    }
    return tree
  }

  /// Takes over what `savedTree` made. After a failure the machine is of no use.
  package func restore(_ tree: SavedTree) async throws {
    let states = try (0..<shape.processors).map {
      try tree.part("processor\($0)").decode(X86.State.self, schema: X86.State.schema)
    }
    let parts = try parts.map { part in (part.component, try tree.part(part.name)) }
    try await Self.setStates(states, of: processors)
    for (component, saved) in parts { try component.restore(from: saved) }
    endInterrupts(states)
  }

  /// Ends level-triggered interrupts for which I/O APICs wait and no processor works any more: the end was told to an
  /// engine that was left before it passed it on. An interrupt whose line is still asserted comes once more.
  private func endInterrupts(_ states: [X86.State]) {
    let controllers = states.compactMap(\.apic)
    guard !controllers.contains(where: \.suppressesEOIBroadcast) else { return }
    interrupts.endAll(but: Set(controllers.flatMap(\.levelVectors)))
  }

  private static func setStates(_ states: [X86.State], of processors: Processors) async throws {
    _ = try await processors.visit { (index, processor) throws(EngineError) in
      try processor.setState(states[index], of: .zero)
    }
  }
}

extension X86.State {
  package static let schema = "x86-processor/1"
}

// MARK: - Devices that come and go

extension Assembly {
  /// Why the machine cannot be saved; `nil`: it can.
  var obstacleToSaving: String? { pc.devices.present.lazy.compactMap(\.obstacleToSaving).first }

  /// Forgets a device that has left its slot, whose owner may let go of the host then.
  func retire(_ name: String, isRunning: Bool) async -> OpenedDevice? {
    guard let device = await pc.devices.retire(name) else { return nil }
    if isRunning {
      // The processors have the former map of the buses until their next access.
      await processors.rest()
      processors.run()
    }
    await loop.run()
    return device
  }

  /// Opens a device and puts it into the slot that it names.
  func plug(
    _ request: DeviceRequest, _ host: HostAccess, isRunning: Bool
  ) throws -> OpenedDevice {
    guard case .port(let port) = request.bus else {
      throw ConfigurationError(
        request.option,
        "A device that comes while the machine runs goes into a port's slot: add bus=PORT.")
    }
    if let obstacle = pc.devices.obstacle(toPluggingInto: port) { throw obstacle }
    let others = pc.devices.present.map(\.request)
    if let problem = (others + [request]).problem(among: shape.pci ?? PCITopology()) {
      throw problem
    }
    let opened = try request.open(as: request.freeName(besides: pc.devices.names), host)
    do {
      try pc.devices.plug(opened, isRunning: isRunning)
    } catch {
      try? opened.close()
      throw error
    }
    return opened
  }
}

// MARK: - Another engine

extension Assembly {
  /// Gives the processors, as they are, to another engine; only at rest. After a failure the machine is as it
  /// was.
  ///
  /// - Returns: the processors of the former engine, whose threads are to be ended by `leave`.
  func move(to engine: any Engine<X86>) async throws -> Processors {
    let states = try await processorStates()
    let former = processors
    let watcher = memory.watchedLines.watcher
    memory.watchedLines.watcher = nil
    let successor: (processors: Processors, controllers: any ProcessorInterrupts)
    do {
      successor = try await prepare(engine, states)
    } catch {
      memory.watchedLines.watcher = watcher
      throw error
    }
    memory.watchedLines.unwatchAll()
    handOverDirtyPages(from: former.partition, to: successor.processors.partition)
    interrupts.connect(to: successor.controllers)
    endInterrupts(states)
    current.withLock { $0 = successor.processors }
    panel.connect { [processors = successor.processors] in processors.halt() }
    panel.connect(addressLine20: successor.processors.partition.addressLine20)
    doorbells.connect(to: successor.processors.partition.doorbells)
    return former
  }

  /// Makes the machine's processors once more, in another engine.
  private func prepare(
    _ engine: any Engine<X86>, _ states: [X86.State]
  ) async throws -> (Processors, any ProcessorInterrupts) {
    let (partition, controllers) = try Self.partition(
      of: engine, shape, memory, clock, loop, board.log)
    let processors = try Processors(
      of: partition, count: shape.processors, ports: board.ports, registers: board.registers
    ) { [reporting] in reporting.yield($0) }
    do {
      try await Self.setStates(states, of: processors)
    } catch {
      processors.leave()
      throw error
    }
    return (processors, controllers)
  }

  /// What the former engine knows of pages written since they were collected is not lost.
  private func handOverDirtyPages(
    from former: any Partition<X86>, to successor: any Partition<X86>
  ) {
    guard memory.dirtyPages.isEnabled else { return }
    for page in former.dirtyPages?.collect() ?? [] { memory.dirtyPages.mark(page) }
    successor.dirtyPages?.start()
  }
}

// MARK: - Looking at it

extension Assembly {
  package func inspect(_ node: inout Node) {
    node.field("guestTime", clock.now.nanoseconds)
    node.child("shape") { $0.reflect(shape) }
    node.child("buses") { node in
      node.child("ports") { Self.inspect(board.ports, &$0) }
      node.child("registers") { Self.inspect(board.registers, &$0) }
    }
    node.field("a20", panel.isA20Open)
    node.field("engineDoorbells", doorbells.count)
    node.child("processors") { processors.inspect(&$0) }
    node.child("devices") { node in
      for part in parts { node.child(part.name) { part.component.inspect(&$0) } }
    }
  }

  private static func inspect(_ bus: IOBus, _ node: inout Node) {
    node.field("unanswered", bus.unanswered)
    for mapping in bus.map {
      let first = String(mapping.range.lowerBound, radix: 16)
      let last = String(mapping.range.upperBound - 1, radix: 16)
      node.field("\(first)-\(last)", "\(type(of: mapping.device)), region \(mapping.region)")
    }
  }
}
