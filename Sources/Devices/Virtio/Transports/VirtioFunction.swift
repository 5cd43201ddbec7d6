import Board
package import Inspection
import Memory
import SavedState
import Synchronization
package import Work

/// What all transports have in common: a device, its registers, its queues, and the life of these.
///
/// Registers change on the threads of the guest's processors, under one lock. Queues live on the device's loop: a
/// change that concerns them is posted there, with the number of the life it belongs to, and is void in the next.
/// At rest there are no rings, only registers and how far each queue had got: that is what is saved.
package final class VirtioFunction: Sendable {
  // Wiring: fixed for the life of the device.
  package let device: any VirtioDevice
  let signals: VirtioSignals
  private let loop: any Loop
  /// Drivers from before version 1 may come, too.
  private let takesLegacy: Bool
  private let queues: [LoopBound<VirtQueue>]
  /// One for each queue: rung when the driver has made buffers available.
  package let doorbells: [any Doorbell]
  /// Whether the device knows of its queues.
  private let isStarted: LoopBound<Bool>

  init(
    _ device: any VirtioDevice, offering rings: VirtioFeatures, dma: DMA, loop: any Loop,
    interrupts: any VirtioInterrupts, takesLegacy: Bool = false
  ) {
    let profile = device.profile
    let signals = VirtioSignals(
      VirtioRegisters(
        offered: profile.features.union(rings), queueSizes: profile.queueSizes), interrupts)
    self.device = device
    self.signals = signals
    self.loop = loop
    self.takesLegacy = takesLegacy
    isStarted = LoopBound(false, on: loop)
    queues = profile.queueSizes.enumerated().map { index, size in
      LoopBound(
        VirtQueue(
          index: index, maximumSize: size, maximumBytes: profile.maximumChainBytes, dma: dma,
          loop: loop, signals: signals), on: loop)
    }
    // A bell knows its queue and the device, and neither knows the bell.
    doorbells = queues.map { queue in
      loop.makeDoorbell { queue.with { $0.serve(by: device) } }
    }
    device.attach(signals)
  }
}

// MARK: - What the transport's registers do

extension VirtioFunction {
  /// Changes the registers, and then does what follows.
  func write(_ change: (inout VirtioRegisters) -> VirtioRegisters.Errand) {
    let (errand, life) = signals.with { registers in (change(&registers), registers.life) }
    switch errand {
    case .nothing: break
    case .start: loop.post { self.activate() }
    case .startQueue(let index): loop.post { self.startQueue(index, life) }
    case .resetQueue(let index): loop.post { self.resetQueue(index, life) }
    case .reset(onLoop: true): loop.post { self.drain(life) }
    case .reset(onLoop: false): device.reset()
    }
  }

  func writeStatus(_ value: UInt8) {
    write { $0.writeStatus(value, accepts: device.accepts) }
  }

  /// The driver has made buffers available.
  func notify(_ queue: UInt64) {
    if queue < UInt64(doorbells.count) { doorbells[Int(queue)].ring() }
  }

  func readConfiguration(_ offset: UInt64, _ width: AccessWidth) -> UInt64 {
    signals.registers.withLock { $0.noteConfigurationRead() }
    guard offset < UInt64(device.profile.configurationSize) else { return 0 }
    return device.readConfiguration(Int(offset), width)
  }

  func writeConfiguration(_ value: UInt64, _ offset: UInt64, _ width: AccessWidth) {
    guard offset < UInt64(device.profile.configurationSize) else { return }
    device.writeConfiguration(value, Int(offset), width)
  }
}

// MARK: - On the loop

extension VirtioFunction {
  private func allQueues() -> [VirtQueue] { queues.map { $0.with { $0 } } }

  /// Brings the queues to work, if the driver and the machine want it.
  private func activate() {
    let plan = signals.registers.withLock { registers in
      registers.activate() ? (registers.features, registers.queues, registers.life) : nil
    }
    guard let (features, registers, life) = plan, !isStarted.with({ $0 }) else { return }
    isStarted.with { $0 = true }
    let queues = allQueues()
    for (queue, register) in zip(queues, registers)
    where register.isEnabled && !register.isResetting && register.fault == nil {
      queue.start(register.layout, features, at: register.progress, life: life)
    }
    device.start(queues, features)
    for queue in queues { queue.serve(by: device) }
  }

  /// After a reset: forgets the rings, and waits for what is in flight.
  private func drain(_ life: UInt32) {
    let ended = Barrier()
    ended.enter()
    if isStarted.with({ $0 }) { device.stop() }
    isStarted.with { $0 = false }
    for queue in allQueues() { queue.reset(ended) }
    device.reset()
    ended.whenReached {
      self.signals.registers.withLock { $0.hasDrained(life: life) }
      self.activate()  // a driver that did not wait is ready already
    }
    ended.leave()
  }

  private func startQueue(_ index: Int, _ life: UInt32) {
    let plan = signals.registers.withLock { registers in
      registers.life == life && registers.isActive && registers.queues[index].isEnabled
        ? (registers.features, registers.queues[index]) : nil
    }
    guard let (features, register) = plan, !register.isResetting else { return }
    queues[index].with { queue in
      guard !queue.isActive else { return }
      queue.start(register.layout, features, at: register.progress, life: life)
      queue.serve(by: device)
    }
  }

  private func resetQueue(_ index: Int, _ life: UInt32) {
    guard signals.registers.withLock({ $0.life == life }) else { return }
    let ended = Barrier()
    ended.enter()
    queues[index].with { $0.reset(ended) }
    device.queueReset(index)
    ended.whenReached {
      self.signals.registers.withLock { $0.queueHasEnded(index, life: life) }
    }
    ended.leave()
  }

  private func comeToRest(_ rest: Barrier) {
    let ended = Barrier()
    ended.enter()
    for queue in allQueues() { queue.stop(ended) }
    if isStarted.with({ $0 }) { device.stop() }
    isStarted.with { $0 = false }
    ended.whenReached {
      self.noteRest()
      rest.leave()
    }
    ended.leave()
  }

  private func noteRest() {
    let progress = allQueues().map { $0.takeProgress() }
    signals.registers.withLock { registers in
      for (index, progress) in progress.enumerated() {
        if let progress { registers.note(progress, of: index) }
      }
      registers.rest()
    }
  }
}

// MARK: - What the machine sees, through the transport

extension VirtioFunction {
  func start() {
    signals.registers.withLock { $0.isRunning = true }
    loop.post { self.activate() }
  }

  func stop(_ rest: Barrier) {
    signals.registers.withLock { $0.isRunning = false }
    rest.enter()
    loop.post { self.comeToRest(rest) }
  }

  func reset() { write { $0.reset() } }

  func save() throws(SaveError) -> VirtioFunctionState {
    let registers = signals.registers.withLock { $0 }
    guard registers.isAtRest else {
      throw .notAtRest("requests of a virtio device are in flight")
    }
    let (schema, state) = try device.savedState()
    return registers.saved(deviceSchema: schema, device: state)
  }

  func restore(_ saved: VirtioFunctionState) throws(RestoreError) {
    let profile = device.profile
    let offered = signals.registers.withLock { $0.offered }
    let restored: VirtioRegisters
    do throws(VirtioRegisters.Contradiction) {
      restored = try VirtioRegisters(
        offered: offered, queueSizes: profile.queueSizes, restoring: saved,
        takesLegacy: takesLegacy, accepts: device.accepts)
    } catch {
      throw .refused(part: "virtio device", reason: error.reason)
    }
    try device.restore(saved.device, schema: saved.deviceSchema)
    signals.with { $0 = restored }
  }

  package func inspect(_ node: inout Node) {
    let registers = signals.registers.withLock { $0 }
    node.field("deviceID", device.profile.deviceID.rawValue)
    node.hex("status", registers.statusRegister)
    node.hex("offered", registers.offered.rawValue)
    node.hex("features", registers.features.rawValue)
    node.field("active", registers.isActive)
    for (index, queue) in registers.queues.enumerated() {
      node.child("queue\(index)") { node in
        node.field("enabled", queue.isEnabled)
        node.field("size", queue.size)
        node.hex("descriptorArea", queue.descriptorArea)
        node.hex("driverArea", queue.driverArea)
        node.hex("deviceArea", queue.deviceArea)
        if let fault = queue.fault { node.field("fault", "\(fault)") }
      }
    }
    node.child("device") { device.inspect(&$0) }
  }
}
