package import ArchitectureX86
package import Inspection
package import SavedState
import Synchronization
import Work

/// What a local APIC asks of what is around it, from any thread.
protocol LocalAPICBus: AnyObject, Sendable {
  /// Carries a message to those it addresses.
  func send(_ message: InterruptMessage)
  /// The INTA cycle.
  func acknowledgeExternalInterrupt() -> UInt8?
  func broadcastEnd(of vector: UInt8)
  /// The processor should look at its APIC's `pending`.
  func attend(_ processor: Int)
}

/// The local APIC of one processor, in xAPIC and x2APIC mode.
///
/// Registers are accessed by the processor's own thread; interrupts come in from any.
///
/// - SeeAlso: Intel SDM Vol. 3A chapter 11 "Advanced Programmable Interrupt Controller (APIC)"; the sections
///   cited here are those of the editions in which that is chapter 11.
package final class LocalAPIC: Sendable {
  /// What the processor should look at between two instructions.
  package struct Pending: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// A vector above the processor's priority waits, or the 8259 pair asks and LINT0 lets it.
    package static let interrupt = Pending(rawValue: 1 << 0)
    package static let nmi = Pending(rawValue: 1 << 1)
    package static let initialise = Pending(rawValue: 1 << 2)
    package static let startUp = Pending(rawValue: 1 << 3)
  }

  // Wiring.
  private let id: UInt32
  private unowned let bus: any LocalAPICBus
  private let clock: any VMClock
  // State. The flags and the base repeat what is in `state`, to be read without its lock.
  private let state: Mutex<Guarded>
  private let pendingFlags = Atomic<UInt8>(0)
  private let baseValue: Atomic<UInt64>

  struct Guarded {
    var chip: State
    var alarm: (any Alarm)?
    /// What the alarm is set to.
    var alarmMoment: VMInstant?
  }

  /// Without a loop the timer moves only when registers are accessed.
  init(
    id: UInt32, bus: any LocalAPICBus, clock: any VMClock, loop: (any Loop)?, counter: Oscillator,
    addressBits: UInt32
  ) {
    self.id = id
    self.bus = bus
    self.clock = clock
    var chip = State(id: id, addressBits: addressBits, counter: counter)
    chip.powerOn(asBootstrap: id == 0)
    baseValue = Atomic(chip.base.raw)
    state = Mutex(Guarded(chip: chip))
    guard let loop else { return }
    let alarm = clock.makeAlarm(on: loop) { [weak self, weak bus] in
      // A machine may be ending on another thread: the bus is there for as long as the answer takes, or not at all.
      guard let bus else { return }
      withExtendedLifetime(bus) { self?.alarmRang() }
    }
    state.withLock { $0.alarm = alarm }
  }
}

// MARK: - What the processor does between instructions
extension LocalAPIC {
  /// One atomic load.
  package var pending: Pending { Pending(rawValue: pendingFlags.load(ordering: .acquiring)) }

  /// Takes the interrupt of the highest priority, and answers its vector; `nil` if there is none after all.
  package func acknowledgeInterrupt() -> UInt8? {
    let (vector, isExternal) = update { chip in
      let vector = chip.acknowledge()
      return (vector, vector == nil && chip.externalInterruptAsserted)
    }
    return isExternal ? bus.acknowledgeExternalInterrupt() : vector
  }

  package func takeNMI() -> Bool {
    update { chip in
      defer { chip.nmiPending = false }
      return chip.nmiPending
    }
  }

  /// Takes INIT; the processor then calls `softReset` among the rest of its own reset.
  package func takeINIT() -> Bool {
    update { chip in
      defer { chip.initialisePending = false }
      return chip.initialisePending
    }
  }

  /// Takes a start-up vector. A processor that does not wait for one takes and drops it.
  package func takeStartUp() -> UInt8? {
    update { chip in
      defer { chip.startUpVector = nil }
      return chip.startUpVector
    }
  }
}

// MARK: - What the guest sees
extension LocalAPIC {
  /// Reads the page. A register that is not there reads as zero and is an error of the guest's.
  package func read(_ offset: UInt32) -> UInt32 {
    let now = clock.now
    return update { chip in
      chip.updateTimer(at: now)
      guard let place = Self.place(inPage: offset) else { return 0 }
      if Register.vectorSets.contains(place) { return chip.readVectorSet(place) }
      guard let register = Register(rawValue: place), register.isInPage else {
        chip.report(.illegalRegisterAddress)
        return 0
      }
      return chip.read(register, at: now)
    }
  }

  /// Writes to the page.
  package func write(_ value: UInt32, _ offset: UInt32) {
    let now = clock.now
    let effects = update { chip in
      var effects = Effects()
      guard let place = Self.place(inPage: offset) else { return effects }
      chip.updateTimer(at: now)
      if let register = Register(rawValue: place), register.isInPage {
        _ = chip.write(value, to: register, at: now, &effects)
      } else if !Register.vectorSets.contains(place) {
        chip.report(.illegalRegisterAddress)
      }
      return effects
    }
    carryOut(effects)
  }

  /// Reads one of the APIC's MSRs; `nil`: #GP.
  package func readMSR(_ index: UInt32) -> UInt64? {
    let now = clock.now
    return update { chip in
      chip.updateTimer(at: now)
      return switch index {
      case X86.MSR.apicBase: chip.base.raw
      case X86.MSR.tscDeadline: chip.timer.deadline
      default: Self.place(ofMSR: index).flatMap { chip.readX2($0, at: now) }
      }
    }
  }

  /// Writes one of the APIC's MSRs; `false`: #GP.
  package func writeMSR(_ value: UInt64, _ index: UInt32) -> Bool {
    let now = clock.now
    let (done, effects) = update { chip in
      var effects = Effects()
      chip.updateTimer(at: now)
      let done =
        switch index {
        case X86.MSR.apicBase: chip.writeBase(value)
        case X86.MSR.tscDeadline: chip.writeDeadline(value, at: now)
        default:
          Self.place(ofMSR: index).map { chip.writeX2(value, $0, at: now, &effects) } ?? false
        }
      return (done, effects)
    }
    carryOut(effects)
    return done
  }

  /// CR8, 0 to 15 (§11.8.6).
  package var taskPriority: UInt8 {
    get { state.withLock { $0.chip.taskPriority >> 4 } }
    set { update { $0.taskPriority = newValue << 4 } }
  }

  package var isX2APIC: Bool { base.isX2APIC }
  package var isEnabledGlobally: Bool { base.isEnabled }
  /// Where the page lies in physical memory.
  package var pageAddress: UInt64 { base.page }

  private var base: APICBase { APICBase(raw: baseValue.load(ordering: .relaxed)) }

  /// The register at an offset; `nil` between registers, where the result of an access is undefined.
  private static func place(inPage offset: UInt32) -> UInt8? {
    offset & 0xf == 0 && offset < 0x1000 ? UInt8(offset >> 4) : nil
  }

  private static func place(ofMSR index: UInt32) -> UInt8? {
    X86.MSR.x2apicFirst...X86.MSR.x2apicLast ~= index
      ? UInt8(index - X86.MSR.x2apicFirst) : nil
  }
}

// MARK: - What the machine does
extension LocalAPIC {
  /// Power-on reset.
  package func initialise(asBootstrap: Bool) { update { $0.powerOn(asBootstrap: asBootstrap) } }

  /// What INIT does to the APIC.
  package func softReset() { update { $0.softReset() } }

  /// Leaves the APIC as firmware does on the bootstrap processor: see `State.setVirtualWire`.
  package func setVirtualWire() { update { $0.setVirtualWire() } }

  /// What is added to the ticks of `Oscillator` to give the guest's counter, modulo 2⁶⁴. The deadline
  /// timer follows it.
  package var tscOffset: UInt64 {
    get { state.withLock { $0.chip.timer.counterOffset } }
    set { update { $0.timer.counterOffset = newValue } }
  }

  /// Whether an NMI waits; saved with the processor, not with its APIC.
  package var isNMIPending: Bool { pending.contains(.nmi) }

  package func save() -> X86.APIC {
    let now = clock.now
    return state.withLock { guarded in
      var chip = guarded.chip
      chip.updateTimer(at: now)
      return chip.saved
    }
  }

  /// Takes over a saved state, checked whole. The TSC offset and the pins are not part of it.
  package func restore(_ saved: X86.APIC, nmiPending: Bool = false) throws(RestoreError) {
    var chip = state.withLock { $0.chip }
    if let reason = chip.restore(saved) {
      throw .refused(part: "local APIC \(id)", reason: reason)
    }
    chip.nmiPending = nmiPending
    let restored = chip
    update { chip in
      let pins = chip.lint
      chip = restored
      chip.lint = pins
    }
  }

  package func inspect(_ node: inout Node) {
    let now = clock.now
    var chip = state.withLock { $0.chip }
    chip.updateTimer(at: now)
    chip.inspect(&node, at: now)
  }
}

// MARK: - What the other APICs and the board do
extension LocalAPIC {
  /// Takes a message if it is addressed to this APIC.
  func receive(_ message: InterruptMessage) {
    update { chip in
      guard chip.isAddressed(by: message.destination) else { return }
      chip.accept(message.mode, message.vector, isLevelTriggered: message.isLevelTriggered)
    }
  }

  /// What the APIC bids for a lowest-priority message; `nil`: it would not take it.
  func bid(for message: InterruptMessage) -> UInt8? {
    state.withLock { guarded in
      let chip = guarded.chip
      guard chip.acceptsFixed, chip.isAddressed(by: message.destination) else { return nil }
      return chip.arbitrationPriority
    }
  }

  func setPin(_ pin: Int, asserted: Bool) { update { $0.setPin(pin, asserted: asserted) } }

  private func carryOut(_ effects: Effects) {
    if let message = effects.message { bus.send(message) }
    if let vector = effects.ended { bus.broadcastEnd(of: vector) }
  }

  private func alarmRang() {
    let now = clock.now
    // The alarm is spent: whatever moment comes next has to be set, also if it is the same.
    state.withLock { $0.alarmMoment = nil }
    update { $0.updateTimer(at: now) }
  }

  /// Changes the chip, then brings in line with it the alarm, the flags and, if there is news, the processor.
  @discardableResult
  private func update<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
    let (result, hasNews) = state.withLock { guarded in
      let result = body(&guarded.chip)
      setAlarm(&guarded)
      baseValue.store(guarded.chip.base.raw, ordering: .relaxed)
      let flags = guarded.chip.pending.rawValue
      let before = pendingFlags.exchange(flags, ordering: .acquiringAndReleasing)
      return (result, flags & ~before != 0)
    }
    if hasNews { bus.attend(Int(id)) }
    return result
  }

  /// Alarms are set under the lock, so that the last to set one has seen the last change.
  private func setAlarm(_ guarded: inout Guarded) {
    let moment = guarded.chip[.timer].isMasked ? nil : guarded.chip.timer.nextExpiry
    guard moment != guarded.alarmMoment else { return }
    guarded.alarmMoment = moment
    guarded.alarm?.set(moment)
  }
}
