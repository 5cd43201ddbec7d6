import Memory

/// What pends on the interrupt of a device: VIRTIO 1.3 §4.1.4.5 "ISR status capability", §4.2.2 InterruptStatus.
package struct VirtioInterruptStatus: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// A buffer was used.
  package static let queue = Self(rawValue: 1)
  package static let configuration = Self(rawValue: 2)
}

/// The registers that every transport has in some form: status, features, queues, interrupts. A value without lock,
/// bus or queue; it says what is to be done about them.
///
/// A reset is there at once: a driver that does not wait may go on. Until requests in flight have ended the status
/// reads as needing a reset instead of zero, and queues that are enabled meanwhile wait.
///
/// - SeeAlso: VIRTIO 1.3 §2.1 "Device Status Field", §3.1 "Device Initialization".
struct VirtioRegisters: Sendable {
  /// What the owner of the registers does about a write, once the lock is free.
  enum Errand: Sendable, Equatable {
    case nothing
    /// The driver is ready.
    case start
    case startQueue(Int)
    case resetQueue(Int)
    /// `onLoop`: queues may be at work.
    case reset(onLoop: Bool)
  }

  /// Why saved registers are none of this device.
  struct Contradiction: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }

  /// What a driver says of one queue.
  struct Queue: Sendable, Equatable {
    let maximumSize: UInt16
    var size: UInt16
    var descriptorArea: UInt64 = 0
    var driverArea: UInt64 = 0
    var deviceArea: UInt64 = 0
    var isEnabled = false
    /// Requests of a queue that is being reset have not ended yet.
    var isResetting = false
    var vector = VirtioRegisters.noVector
    /// Why it stopped.
    var fault: QueueFault?
    var progress = QueueProgress.start

    init(maximumSize: UInt16) {
      self.maximumSize = maximumSize
      size = maximumSize
    }

    var layout: QueueLayout {
      QueueLayout(
        size: size, descriptorArea: GPA(descriptorArea), driverArea: GPA(driverArea),
        deviceArea: GPA(deviceArea))
    }

    /// As after a reset, but for the vector, which is the interrupt's and not the ring's.
    mutating func forgetRing() {
      let vector = vector
      self = Queue(maximumSize: maximumSize)
      self.vector = vector
    }
  }

  /// No MSI-X vector: VIRTIO 1.3 §4.1.4.3.
  static let noVector: UInt16 = 0xffff

  let offered: VirtioFeatures
  private(set) var status: VirtioStatus = []
  private(set) var driverFeatures = VirtioFeatures()
  var deviceFeatureSelect: UInt32 = 0
  var driverFeatureSelect: UInt32 = 0
  var queueSelect: UInt16 = 0
  private(set) var queues: [Queue]
  private(set) var interruptStatus: VirtioInterruptStatus = []
  var configurationVector = noVector
  private(set) var configurationGeneration: UInt8 = 0
  private var configurationChanged = false

  // The life of the device, which no register shows.
  /// Raised by every reset.
  private(set) var life: UInt32 = 0
  /// Requests from before a reset have not ended yet.
  private(set) var isDraining = false
  /// The queues are at work.
  private(set) var isActive = false
  /// Between start and stop of the machine.
  var isRunning = false

  init(offered: VirtioFeatures, queueSizes: [UInt16]) {
    self.offered = offered
    queues = queueSizes.map { Queue(maximumSize: $0) }
  }
}

// MARK: - Status and features

extension VirtioRegisters {
  var statusRegister: UInt8 {
    (isDraining ? status.union(.deviceNeedsReset) : status).rawValue
  }

  /// What was agreed on; nothing before FEATURES_OK, or, with a legacy driver, before DRIVER_OK.
  var features: VirtioFeatures {
    status.isDisjoint(with: [.featuresOK, .driverOK]) ? [] : driverFeatures
  }

  /// What a legacy driver sets; by nothing that came before.
  mutating func setLegacy(_ features: VirtioFeatures) { driverFeatures = features }
  mutating func addLegacy(_ bits: VirtioStatus) { status.formUnion(bits) }

  /// Bits come in their order, and only a reset takes them away: §2.1.1 "Driver Requirements: Device Status Field".
  mutating func writeStatus(_ value: UInt8, accepts: (VirtioFeatures) -> Bool) -> Errand {
    guard value != 0 else { return reset() }
    let wanted = VirtioStatus(rawValue: value).intersection(.ofDriver)
    guard status.intersection(.ofDriver).isSubset(of: wanted) else { return .nothing }
    let added = wanted.subtracting(status)
    if added.contains(.failed) { status.insert(.failed) }
    if added.contains(.acknowledge) { status.insert(.acknowledge) }
    if added.contains(.driver), status.contains(.acknowledge) { status.insert(.driver) }
    guard !status.contains(.failed) else { return .nothing }
    if added.contains(.featuresOK), status.contains(.driver), areAcceptable(accepts) {
      status.insert(.featuresOK)
    }
    guard added.contains(.driverOK), status.contains(.featuresOK) else { return .nothing }
    status.insert(.driverOK)
    return .start
  }

  /// §2.2.2 "Device Requirements: Feature Bits", §6.2: a driver that knows no version 1 gets no further.
  private func areAcceptable(_ accepts: (VirtioFeatures) -> Bool) -> Bool {
    driverFeatures.isSubset(of: offered) && driverFeatures.contains(.version1)
      && accepts(driverFeatures)
  }

  private var isLegacyChoice: Bool {
    driverFeatures.isSubset(of: legacyOffer) || !status.contains(.driverOK)
  }

  var deviceFeatureRegister: UInt32 { Self.word(offered, deviceFeatureSelect) }
  var driverFeatureRegister: UInt32 { Self.word(driverFeatures, driverFeatureSelect) }

  private static func word(_ features: VirtioFeatures, _ select: UInt32) -> UInt32 {
    select < 2 ? UInt32(truncatingIfNeeded: features.rawValue >> (32 * UInt64(select))) : 0
  }

  /// What the driver accepts; once that is settled it does not change.
  mutating func writeDriverFeatures(_ value: UInt32) {
    guard driverFeatureSelect < 2, !status.contains(.featuresOK) else { return }
    let shift = 32 * UInt64(driverFeatureSelect)
    let others = driverFeatures.rawValue & ~(0xffff_ffff << shift)
    driverFeatures = VirtioFeatures(rawValue: others | UInt64(value) << shift)
  }
}

// MARK: - Queues

extension VirtioRegisters {
  /// The queue that is selected; `nil`: there is none of that number.
  var selectedQueue: Queue? {
    Int(queueSelect) < queues.count ? queues[Int(queueSelect)] : nil
  }

  /// Changes the selected queue; only while it is not in use.
  mutating func setUpQueue(_ change: (inout Queue) -> Void) {
    let index = Int(queueSelect)
    guard index < queues.count, !queues[index].isEnabled, !queues[index].isResetting else { return }
    change(&queues[index])
  }

  mutating func setQueueSize(_ size: UInt32) {
    setUpQueue { queue in
      if size > 0, size <= queue.maximumSize { queue.size = UInt16(size) }
    }
  }

  mutating func setQueueVector(_ vector: UInt16) {
    guard Int(queueSelect) < queues.count else { return }
    queues[Int(queueSelect)].vector = vector
  }

  /// The selected queue may be used from now on; before DRIVER_OK that still waits.
  mutating func enableQueue() -> Errand {
    guard status.contains(.featuresOK), let queue = selectedQueue, !queue.isEnabled,
      !queue.isResetting
    else { return .nothing }
    let index = Int(queueSelect)
    if status.contains(.driverOK) {
      // §2.6.1.2 "Virtqueue Re-enable" is the only way to a queue at this point.
      guard features.contains(.ringReset) else { return .nothing }
      queues[index].isEnabled = true
      return .startQueue(index)
    }
    queues[index].isEnabled = true
    return .nothing
  }

  /// VIRTIO 1.3 §2.6.1 "Virtqueue Reset", for a driver that agreed on it.
  mutating func resetQueue() -> Errand {
    features.contains(.ringReset) ? disableQueue() : .nothing
  }

  /// The selected queue is not used any more.
  mutating func disableQueue() -> Errand {
    guard let queue = selectedQueue, queue.isEnabled, !queue.isResetting else { return .nothing }
    let index = Int(queueSelect)
    guard status.contains(.driverOK) else {
      queues[index].forgetRing()
      return .nothing
    }
    queues[index].isResetting = true
    return .resetQueue(index)
  }

  /// Nothing of the queue is in flight any more.
  mutating func queueHasEnded(_ index: Int, life: UInt32) {
    guard life == self.life else { return }
    queues[index].forgetRing()
  }

  mutating func note(_ progress: QueueProgress, of index: Int) { queues[index].progress = progress }

  /// The driver broke a rule: VIRTIO 1.3 §2.1.2, DEVICE_NEEDS_RESET.
  mutating func broke(_ index: Int, _ fault: QueueFault) {
    queues[index].fault = fault
    status.insert(.deviceNeedsReset)
  }
}

// MARK: - Interrupts and the configuration's generation

extension VirtioRegisters {
  mutating func raise(_ event: VirtioInterruptStatus) { interruptStatus.formUnion(event) }

  mutating func acknowledge(_ events: VirtioInterruptStatus) { interruptStatus.subtract(events) }

  var hasUnreadConfiguration: Bool { configurationChanged }

  mutating func noteConfigurationChange() { configurationChanged = true }

  /// The driver reads of the configuration: after a change it must be able to tell what it read before from what it
  /// reads from now on. §4.1.4.3.1.
  mutating func noteConfigurationRead() {
    guard configurationChanged else { return }
    configurationChanged = false
    configurationGeneration &+= 1
  }
}

// MARK: - The device's life

extension VirtioRegisters {
  /// Back to power-on state.
  mutating func reset() -> Errand {
    let isBusy = isActive || isDraining
    var fresh = VirtioRegisters(offered: offered, queueSizes: queues.map(\.maximumSize))
    fresh.life = life &+ 1
    fresh.isDraining = isBusy
    fresh.isRunning = isRunning
    self = fresh
    return .reset(onLoop: isBusy)
  }

  /// Requests from before the reset that began this life have ended.
  mutating func hasDrained(life: UInt32) {
    if life == self.life { isDraining = false }
  }

  /// Whether the queues are to be at work; then they are, from now on.
  mutating func activate() -> Bool {
    guard isRunning, !isDraining, status.contains(.driverOK) else { return false }
    isActive = true
    return true
  }

  /// Nothing is in flight any more, and nothing taken up.
  mutating func rest() { isActive = false }

  var isAtRest: Bool { !isActive && !isDraining && !queues.contains { $0.isResetting } }

  init(
    offered: VirtioFeatures, queueSizes: [UInt16], restoring saved: VirtioFunctionState,
    takesLegacy: Bool, accepts: (VirtioFeatures) -> Bool
  ) throws(Contradiction) {
    self.init(offered: offered, queueSizes: queueSizes)
    status = VirtioStatus(rawValue: saved.status)
    driverFeatures = VirtioFeatures(rawValue: saved.driverFeatures)
    deviceFeatureSelect = saved.deviceFeatureSelect
    driverFeatureSelect = saved.driverFeatureSelect
    queueSelect = saved.queueSelect
    interruptStatus = VirtioInterruptStatus(rawValue: saved.interruptStatus)
    configurationVector = saved.configurationVector
    configurationGeneration = saved.configurationGeneration
    configurationChanged = saved.configurationChanged
    guard status.isSubset(of: .all), interruptStatus.rawValue & ~3 == 0 else {
      throw Contradiction("a register has bits that do not exist")
    }
    guard takesLegacy || !status.contains(.driver) || status.contains(.acknowledge),
      !status.contains(.featuresOK) || status.contains(.driver),
      !status.contains(.driverOK) || status.contains(.featuresOK) || takesLegacy
    else { throw Contradiction("its status is none that a driver reaches") }
    let isSettled = status.contains(.featuresOK)
    guard isSettled ? areAcceptable(accepts) : !takesLegacy || isLegacyChoice else {
      throw Contradiction("it has features that this device does not offer")
    }
    guard saved.queues.count == queues.count else {
      throw Contradiction("it has another number of queues")
    }
    for (index, queue) in saved.queues.enumerated() {
      guard queue.size > 0, queue.size <= queues[index].maximumSize else {
        throw Contradiction("a queue has a size that this device does not offer")
      }
      guard !queue.isEnabled || isSettled || takesLegacy else {
        throw Contradiction("a queue is enabled without features")
      }
      queues[index].size = queue.size
      queues[index].descriptorArea = queue.descriptorArea
      queues[index].driverArea = queue.driverArea
      queues[index].deviceArea = queue.deviceArea
      queues[index].isEnabled = queue.isEnabled
      queues[index].vector = queue.vector
      queues[index].progress = queue.progress
      if queue.isBroken { queues[index].fault = .malformedRequest("it broke before it was saved") }
    }
  }
}
