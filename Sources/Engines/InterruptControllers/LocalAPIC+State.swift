import ArchitectureX86
import Work

extension LocalAPIC {
  /// The chip: what one local APIC holds, and how its registers and interrupts change it.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A chapter 11 "Advanced Programmable Interrupt Controller (APIC)".
  struct State {
    let id: UInt32
    let addressBits: UInt32
    var base = APICBase.powerOn
    var taskPriority: UInt8 = 0
    /// As the guest reads it in xAPIC mode; in x2APIC mode it follows from the ID.
    var logicalDestination: UInt32 = 0
    var destinationFormat: UInt32 = .max
    var spurious = SpuriousInterruptVector.powerOn
    var inService = VectorSet()
    var levelTriggered = VectorSet()
    var requested = VectorSet()
    var errorStatus: Errors = []
    /// Seen since the guest last wrote the error status register.
    var newErrors: Errors = []
    var command = InterruptCommand(raw: 0)
    var localVectors: [6 of LocalVector] = .init(repeating: .powerOn)
    var timer: Timer
    var nmiPending = false
    var initialisePending = false
    var startUpVector: UInt8?
    /// The wires at LINT0 and LINT1. They are the board's, and outlive resets.
    var lint: [2 of Bool] = .init(repeating: false)

    init(id: UInt32, addressBits: UInt32, counter: Oscillator) {
      self.id = id
      self.addressBits = addressBits
      timer = Timer(counter: counter)
    }

    subscript(source: LocalVector.Source) -> LocalVector {
      get { localVectors[source.rawValue] }
      set { localVectors[source.rawValue] = newValue }
    }
  }

  /// What a register write asks of others, once the lock is free.
  struct Effects: Sendable, Equatable {
    var message: InterruptMessage?
    /// A level-triggered interrupt whose end is to be broadcast.
    var ended: UInt8?
  }
}

// MARK: - Reset
extension LocalAPIC.State {
  /// Power-on reset.
  mutating func powerOn(asBootstrap: Bool) {
    softReset()
    base = .powerOn
    base.isBootstrap = asBootstrap
    initialisePending = false
    startUpVector = nil
    nmiPending = false
    timer.counterOffset = 0
  }

  /// What INIT does: all registers, but not the ID and not IA32_APIC_BASE (§11.4.7.3).
  mutating func softReset() {
    taskPriority = 0
    logicalDestination = 0
    destinationFormat = .max
    spurious = .powerOn
    inService = VectorSet()
    levelTriggered = VectorSet()
    requested = VectorSet()
    errorStatus = []
    newErrors = []
    command = InterruptCommand(raw: 0)
    for source in LocalVector.Source.allCases { self[source] = .powerOn }
    let offset = timer.counterOffset
    timer = LocalAPIC.Timer(counter: timer.counter)
    timer.counterOffset = offset
  }

  /// Virtual wire mode: the 8259 pair interrupts through LINT0, NMI is LINT1. So firmware leaves the
  /// bootstrap processor.
  ///
  /// - SeeAlso: MultiProcessor Specification 1.4 §3.6.2.2 "Virtual Wire Mode".
  mutating func setVirtualWire() {
    spurious.raw |= 1 << 8
    self[.lint0] = LocalVector(raw: UInt32(DeliveryMode.externalInterrupt.rawValue) << 8)
    self[.lint1] = LocalVector(raw: UInt32(DeliveryMode.nmi.rawValue) << 8)
  }
}

// MARK: - What waits for the processor
extension LocalAPIC.State {
  var pending: LocalAPIC.Pending {
    var pending: LocalAPIC.Pending = []
    if deliverableVector != nil || externalInterruptAsserted { pending.insert(.interrupt) }
    if nmiPending { pending.insert(.nmi) }
    if initialisePending { pending.insert(.initialise) }
    if startUpVector != nil { pending.insert(.startUp) }
    return pending
  }

  /// §11.8.3.1 "Task and Processor Priorities".
  var processorPriority: UInt8 {
    let servicing = inService.highest ?? 0
    return taskPriority & 0xf0 >= servicing & 0xf0 ? taskPriority : servicing & 0xf0
  }

  /// What an APIC bids when a lowest-priority interrupt is arbitrated.
  var arbitrationPriority: UInt8 { max(processorPriority, (requested.highest ?? 0) & 0xf0) }

  /// The highest requested vector, if the processor's priority lets it through.
  var deliverableVector: UInt8? {
    guard base.isEnabled, let vector = requested.highest,
      vector & 0xf0 > processorPriority & 0xf0
    else { return nil }
    return vector
  }

  /// Whether the 8259 pair asks for an interrupt and the way to the processor is open. Without an APIC,
  /// LINT0 is the processor's INTR pin (§11.4.3).
  var externalInterruptAsserted: Bool {
    guard base.isEnabled else { return lint[0] }
    return [LocalVector.Source.lint0, .lint1].contains { source in
      lint[source == .lint0 ? 0 : 1] && !self[source].isMasked
        && self[source].deliveryMode == .externalInterrupt
    }
  }

  /// Moves the highest deliverable vector into service.
  mutating func acknowledge() -> UInt8? {
    guard let vector = deliverableVector else { return nil }
    requested.remove(vector)
    inService.insert(vector)
    return vector
  }
}

// MARK: - What comes in
extension LocalAPIC.State {
  /// §11.6.2 "Determining IPI Destination"; §11.12.10 for x2APIC mode.
  func isAddressed(by destination: InterruptMessage.Destination) -> Bool {
    guard base.isEnabled else { return false }
    switch destination {
    case .all: return true
    case .allExcept(let other): return other != id
    case .physical(let target): return target == id
    case .logical(let target): return isLogicallyAddressed(by: target)
    }
  }

  private func isLogicallyAddressed(by target: UInt32) -> Bool {
    if target == .max { return true }
    if base.isX2APIC {
      return target >> 16 == x2LogicalID >> 16 && target & x2LogicalID & 0xffff != 0
    }
    guard target <= 0xff else { return false }
    let own = logicalDestination >> 24
    switch destinationFormat >> 28 {
    case 0b1111: return own & target != 0
    case 0b0000: return target == 0xff || own >> 4 == target >> 4 && own & target & 0xf != 0
    default: return false
    }
  }

  /// §11.12.10.2 "Deriving Logical x2APIC ID from the Local x2APIC ID".
  var x2LogicalID: UInt32 { (id >> 4) << 16 | 1 << (id & 0xf) }

  /// Whether the APIC would take a fixed interrupt (§11.4.7.2: not while software has it disabled).
  var acceptsFixed: Bool { base.isEnabled && spurious.isSoftwareEnabled }

  /// Takes an interrupt that was addressed to this APIC.
  mutating func accept(_ mode: DeliveryMode, _ vector: UInt8, isLevelTriggered: Bool) {
    switch mode {
    case .fixed, .lowestPriority:
      if acceptsFixed { request(vector, isLevelTriggered: isLevelTriggered) }
    case .nmi: nmiPending = true
    case .initialise:
      initialisePending = true
      startUpVector = nil
    case .startUp: startUpVector = vector
    // There is no system management mode here, and ExtINT needs a wire.
    case .smi, .externalInterrupt: break
    }
  }

  /// §11.5.2 "Valid Interrupt Vectors": vectors below 16 are errors, and never requested.
  private mutating func request(_ vector: UInt8, isLevelTriggered: Bool) {
    guard vector >= 16 else { return report(.receiveIllegalVector) }
    requested.insert(vector)
    if isLevelTriggered { levelTriggered.insert(vector) } else { levelTriggered.remove(vector) }
  }

  /// Notes an error and, if it is new, raises the error interrupt.
  mutating func report(_ error: LocalAPIC.Errors) {
    guard !newErrors.contains(error) else { return }
    newErrors.insert(error)
    raise(.error)
  }

  /// An interrupt from inside the processor package (§11.5.5 "Local Interrupt Acceptance").
  mutating func raise(_ source: LocalVector.Source) {
    let entry = self[source]
    guard base.isEnabled, !entry.isMasked, let mode = entry.deliveryMode else { return }
    let isPin = source == .lint0 || source == .lint1
    let isLevelTriggered = isPin && mode == .fixed && entry.isLevelTriggered
    if isLevelTriggered {
      guard !entry.isAccepted, acceptsFixed else { return }
      self[source].isAccepted = true
    }
    accept(mode, entry.vector, isLevelTriggered: isLevelTriggered)
  }

  /// Drives LINT0 or LINT1. What an ExtINT wire asks for is seen by `externalInterruptAsserted`.
  mutating func setPin(_ pin: Int, asserted: Bool) {
    guard lint[pin] != asserted else { return }
    lint[pin] = asserted
    guard asserted else { return }
    if base.isEnabled {
      raise(pin == 0 ? .lint0 : .lint1)
    } else if pin == 1 {
      nmiPending = true
    }
  }

  /// A level-triggered pin that is still asserted asks again: after its interrupt ended, or was unmasked.
  private mutating func resampleLevel(_ source: LocalVector.Source) {
    guard source == .lint0 || source == .lint1, lint[source == .lint0 ? 0 : 1],
      self[source].isLevelTriggered, self[source].deliveryMode == .fixed
    else { return }
    raise(source)
  }

  /// Lets the timer expire if its time has come.
  mutating func updateTimer(at now: VMInstant) {
    if timer.hasExpired(at: now) { raise(.timer) }
  }
}

// MARK: - Registers
extension LocalAPIC.State {
  /// A register as the guest reads it in its present mode; of the command register, the low half.
  mutating func read(_ register: LocalAPIC.Register, at now: VMInstant) -> UInt32 {
    switch register {
    case .localID: base.isX2APIC ? id : id << 24
    case .version: Self.version
    case .taskPriority: UInt32(taskPriority)
    case .arbitrationPriority: UInt32(arbitrationPriority)
    case .processorPriority: UInt32(processorPriority)
    case .logicalDestination: base.isX2APIC ? x2LogicalID : logicalDestination
    case .destinationFormat: destinationFormat
    case .spuriousInterruptVector: spurious.raw
    case .errorStatus: errorStatus.rawValue
    case .interruptCommandLow: command.low
    case .interruptCommandHigh: command.destination
    case .initialCount: timer.initialCount
    case .currentCount: timer.currentCount(at: now)
    case .divideConfiguration: timer.divideConfiguration
    case .timerLVT, .thermalLVT, .performanceLVT, .lint0LVT, .lint1LVT, .errorLVT:
      LocalVector.Source(register).map { self[$0].raw } ?? 0
    case .endOfInterrupt, .selfIPI: 0
    }
  }

  /// The version of processors since the Pentium 4; six local vectors; directed EOI (§11.4.8).
  static let version: UInt32 = 0x14 | 5 << 16 | 1 << 24

  /// A word of ISR, TMR or IRR, by its place in the page.
  func readVectorSet(_ place: UInt8) -> UInt32 {
    let word = Int(place & 7)
    return switch place >> 3 {
    case 2: inService[word: word]
    case 3: levelTriggered[word: word]
    default: requested[word: word]
    }
  }

  /// What only a restore does.
  mutating func setVectorSet(_ place: UInt8, _ value: UInt32) {
    let word = Int(place & 7)
    switch place >> 3 {
    case 2: inService[word: word] = value
    case 3: levelTriggered[word: word] = value
    default: requested[word: word] = value
    }
  }

  /// A write to a register that exists in the present mode; `false`: it is read-only.
  mutating func write(
    _ value: UInt32, to register: LocalAPIC.Register, at now: VMInstant,
    _ effects: inout LocalAPIC.Effects
  ) -> Bool {
    switch register {
    case .taskPriority: taskPriority = UInt8(truncatingIfNeeded: value)
    case .endOfInterrupt: effects.ended = endInterrupt()
    case .logicalDestination where !base.isX2APIC: logicalDestination = value & 0xff00_0000
    case .destinationFormat: destinationFormat = value | 0x0fff_ffff
    case .spuriousInterruptVector:
      spurious.raw = value & SpuriousInterruptVector.writable
      if !spurious.isSoftwareEnabled {
        for source in LocalVector.Source.allCases { self[source].isMasked = true }
      }
    case .errorStatus:
      errorStatus = newErrors
      newErrors = []
    case .interruptCommandLow:
      command.low = value & InterruptCommand.writableLow
      effects.message = send()
    case .interruptCommandHigh: command.destination = value & 0xff00_0000
    case .selfIPI:
      effects.message = checked(
        InterruptMessage(
          mode: .fixed, vector: UInt8(truncatingIfNeeded: value), destination: .physical(id)))
    case .initialCount: timer.setInitialCount(value, at: now)
    case .divideConfiguration: timer.setDivideConfiguration(value, at: now)
    case .timerLVT, .thermalLVT, .performanceLVT, .lint0LVT, .lint1LVT, .errorLVT:
      if let source = LocalVector.Source(register) { writeLocalVector(value, source) }
    default: return false
    }
    return true
  }

  private mutating func writeLocalVector(_ value: UInt32, _ source: LocalVector.Source) {
    var entry = LocalVector(raw: value & source.writable)
    entry.isAccepted = self[source].isAccepted
    if !spurious.isSoftwareEnabled { entry.isMasked = true }
    self[source] = entry
    if source == .timer { timer.setMode(entry.timerMode) }
    resampleLevel(source)
  }

  /// §11.8.5 "Signaling Interrupt Servicing Completion". Answers the vector to broadcast.
  private mutating func endInterrupt() -> UInt8? {
    guard let vector = inService.highest else { return nil }
    inService.remove(vector)
    guard levelTriggered.contains(vector) else { return nil }
    for source in [LocalVector.Source.lint0, .lint1]
    where self[source].isAccepted && self[source].vector == vector {
      self[source].isAccepted = false
      resampleLevel(source)
    }
    return spurious.suppressesEOIBroadcast ? nil : vector
  }

  /// Sends what the command register says.
  mutating func send() -> InterruptMessage? {
    InterruptMessage(command, from: id, isWide: base.isX2APIC).flatMap { checked($0) }
  }

  /// A message with an illegal vector is not sent.
  private mutating func checked(_ message: InterruptMessage) -> InterruptMessage? {
    guard message.vector >= 16 || message.mode != .fixed && message.mode != .lowestPriority else {
      report(.sendIllegalVector)
      return nil
    }
    return message
  }
}
