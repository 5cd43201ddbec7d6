import Bits
package import Board
package import Inspection
package import SavedState
import Synchronization

/// An I/O APIC: 24 pins, each of which a guest turns into an interrupt message of its choice.
///
/// A pin is asserted or not; which voltage that is has been settled by whoever wired it, so the polarity
/// bit is kept for the guest and otherwise ignored.
///
/// - SeeAlso: Intel *82093AA I/O Advanced Programmable Interrupt Controller* data sheet (290566-001), §3.0
///   "Register Description"; the EOI register and version 20h are those of Intel's I/O controller hubs
///   (*ICH9 Family* data sheet (316972-004) §13.5 "Advanced Programmable Interrupt Controller (APIC)").
package final class IOAPIC {
  // Wiring: fixed for the life of the device.
  private let target: any MSITarget
  private let requester: UInt16
  // State: everything the guest can change.
  private let state: Mutex<State>

  package static let pinCount: UInt32 = 24

  /// - Parameters:
  ///   - id: what the ID register holds after reset; a guest may change it.
  ///   - requester: the PCI requester ID that messages carry.
  package init(id: UInt8 = 0, target: any MSITarget, requester: UInt16 = 0) {
    self.target = target
    self.requester = requester
    state = Mutex(State(id: id & 0xf))
  }

  private func send(_ message: MSI?) {
    if let message { target.signal(message, from: requester) }
  }
}

// MARK: - What drives it

extension IOAPIC: InterruptController {
  package func set(_ pin: UInt32, asserted: Bool) {
    guard pin < Self.pinCount else { return }
    state.withLock { state in send(state.setPin(Int(pin), asserted: asserted)) }
  }
}

extension IOAPIC: EndOfInterruptListener {
  package func endOfInterrupt(vector: UInt8) {
    state.withLock { state in
      for message in state.endInterrupt(vector) { send(message) }
    }
  }
}

// MARK: - What the guest sees

extension IOAPIC: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    let register = try Register(access)
    return UInt64(state.withLock { $0.read(register) })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let register = try Register(access)
    state.withLock { state in
      for message in state.write(UInt32(truncatingIfNeeded: value), to: register) { send(message) }
    }
  }
}

// MARK: - What the machine sees

extension IOAPIC: Component {
  package static let schema = "ioapic/1"

  package struct Saved: Codable, Sendable {
    var index: UInt8
    var id: UInt8
    var entries: [UInt64]
    var asserted: UInt32
  }

  package func reset() { state.withLock { $0.reset() } }

  package func save() -> Saved {
    state.withLock { state in
      Saved(
        index: state.index, id: state.id, entries: state.entries.map(\.raw),
        asserted: state.asserted)
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.entries.count == Int(Self.pinCount) else {
      throw .refused(part: "ioapic", reason: "it has another number of pins")
    }
    guard saved.entries.allSatisfy({ $0 & ~RedirectionEntry.defined == 0 }) else {
      throw .refused(part: "ioapic", reason: "a redirection entry has reserved bits set")
    }
    guard saved.id < 16, saved.asserted >> Self.pinCount == 0 else {
      throw .refused(part: "ioapic", reason: "the ID or a pin is out of range")
    }
    state.withLock { state in
      state.index = saved.index
      state.id = saved.id
      state.entries = saved.entries.map(RedirectionEntry.init(raw:))
      state.asserted = saved.asserted
    }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("id", state.id)
    node.hex("index", state.index)
    node.hex("asserted", state.asserted)
    node.child("pins") { node in
      for (pin, entry) in state.entries.enumerated() { node.hex("\(pin)", entry.raw) }
    }
  }
}

// MARK: - The chip itself

extension IOAPIC {
  /// The registers in memory; the others are reached through `window`.
  enum Register: UInt64 {
    case select = 0x00
    case window = 0x10
    case endOfInterrupt = 0x40

    init(_ access: Access) throws(IOError) {
      guard let register = Register(rawValue: access.offset) else { throw .noSuchRegister }
      let isIndex = register == .select && access.width == .byte
      guard access.width == .doubleword || isIndex else { throw .unsupportedWidth }
      self = register
    }
  }

  /// A line of the redirection table.
  ///
  /// - SeeAlso: 82093AA §3.2.4 "IOREDTBL[23:0]—I/O Redirection Table Registers".
  struct RedirectionEntry: RegisterBits, Equatable {
    var raw: UInt64
    var vector: UInt8 { UInt8(truncatingIfNeeded: raw) }
    /// The interrupt has been sent, and no processor has ended it yet.
    var remoteIRR: Bool {
      get { self[bit: 14] }
      set { self[bit: 14] = newValue }
    }
    var isLevelTriggered: Bool { self[bit: 15] }
    var isMasked: Bool { self[bit: 16] }

    static let powerOn = RedirectionEntry(raw: 1 << 16)
    static let writable: UInt64 = 0xff00_0000_0001_afff
    static let defined: UInt64 = writable | 1 << 14

    /// The message that the entry stands for, in the form of Intel SDM Vol. 3A §11.11 "Message Signalled
    /// Interrupts".
    var message: MSI {
      let destination = (raw >> 56) << 12
      let isLogical = self[bits: 11, 1] << 2
      let isAsserted: UInt64 = 1 << 14
      let trigger = isLevelTriggered ? 1 << 15 | isAsserted : 0
      return MSI(
        address: 0xfee0_0000 | destination | isLogical,
        data: UInt32(truncatingIfNeeded: self[bits: 0, 11] | trigger))
    }
  }

  struct State {
    private let powerOnID: UInt8
    var index: UInt8 = 0
    var id: UInt8
    var entries = [RedirectionEntry](repeating: .powerOn, count: Int(pinCount))
    /// The wires, a bit each. They are the board's, and outlive a reset.
    var asserted: UInt32 = 0

    init(id: UInt8) {
      powerOnID = id
      self.id = id
    }

    mutating func reset() {
      let wires = asserted
      self = State(id: powerOnID)
      asserted = wires
    }
  }
}

extension IOAPIC.State {
  func read(_ register: IOAPIC.Register) -> UInt32 {
    switch register {
    case .select: UInt32(index)
    case .window: readIndexed()
    case .endOfInterrupt: 0
    }
  }

  /// §3.2 "I/O APIC registers" behind the window.
  private func readIndexed() -> UInt32 {
    switch index {
    case 0x00, 0x02: return UInt32(id) << 24
    case 0x01: return (IOAPIC.pinCount - 1) << 16 | 0x20
    default:
      guard let (pin, isHigh) = entry(at: index) else { return 0 }
      return UInt32(truncatingIfNeeded: entries[pin].raw >> (isHigh ? 32 : 0))
    }
  }

  /// Answers the messages that follow from the write.
  mutating func write(_ value: UInt32, to register: IOAPIC.Register) -> [MSI] {
    switch register {
    case .select: index = UInt8(truncatingIfNeeded: value)
    case .window: return writeIndexed(value).map { [$0] } ?? []
    case .endOfInterrupt: return endInterrupt(UInt8(truncatingIfNeeded: value))
    }
    return []
  }

  private mutating func writeIndexed(_ value: UInt32) -> MSI? {
    if index == 0x00 { id = UInt8(truncatingIfNeeded: value >> 24) & 0xf }
    guard let (pin, isHigh) = entry(at: index) else { return nil }
    let old = entries[pin]
    let half = isHigh ? UInt64(value) << 32 : UInt64(value)
    let kept = old.raw & (isHigh ? 0xffff_ffff : ~0xffff_ffff)
    var new = IOAPIC.RedirectionEntry(raw: (kept | half) & IOAPIC.RedirectionEntry.writable)
    // Only a level-triggered interrupt waits for its end: making it edge-triggered forgets the wait.
    new.remoteIRR = old.remoteIRR && new.isLevelTriggered
    entries[pin] = new
    return serviceLevel(pin)
  }

  /// Which half of which entry an index names.
  private func entry(at index: UInt8) -> (pin: Int, isHigh: Bool)? {
    guard index >= 0x10 else { return nil }
    let (pin, half) = Int(index - 0x10).quotientAndRemainder(dividingBy: 2)
    return pin < entries.count ? (pin, half == 1) : nil
  }

  /// Drives a pin. A rising edge is sent, or, if the pin is masked, lost (§3.2.4, bit 16).
  mutating func setPin(_ pin: Int, asserted level: Bool) -> MSI? {
    let bit = UInt32(1) << UInt32(pin)
    guard (asserted & bit != 0) != level else { return nil }
    asserted ^= bit
    guard level else { return nil }
    let entry = entries[pin]
    if entry.isLevelTriggered { return serviceLevel(pin) }
    return entry.isMasked ? nil : entry.message
  }

  /// Sends a level-triggered interrupt that is asserted, unmasked, and not already on its way.
  private mutating func serviceLevel(_ pin: Int) -> MSI? {
    let entry = entries[pin]
    guard entry.isLevelTriggered, !entry.isMasked, !entry.remoteIRR,
      asserted >> UInt32(pin) & 1 != 0
    else { return nil }
    entries[pin].remoteIRR = true
    return entry.message
  }

  /// A processor ended an interrupt: pins that are still asserted send theirs again.
  mutating func endInterrupt(_ vector: UInt8) -> [MSI] {
    var messages: [MSI] = []
    for pin in entries.indices where entries[pin].remoteIRR && entries[pin].vector == vector {
      entries[pin].remoteIRR = false
      if let message = serviceLevel(pin) { messages.append(message) }
    }
    return messages
  }
}
