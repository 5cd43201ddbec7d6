package import Board
package import Inspection
package import SavedState
import Synchronization

/// The two 8259A interrupt controllers of a PC, the slave's output on pin 2 of the master.
///
/// Pins 0 to 7 are the master's, 8 to 15 the slave's. The output, INTR, goes to the processors' LINT0;
/// a processor that takes it asks `acknowledge()` for the vector. The output is driven under the lock
/// that `acknowledge` takes: whoever receives it must hold no lock of its own while acknowledging.
///
/// - SeeAlso: Intel *8259A Programmable Interrupt Controller* data sheet (231468-003, December 1988).
/// - SeeAlso: Intel *82371SB (PIIX3)* data sheet (290550), "ELCR1, ELCR2: Edge/Level Control
///   Registers".
package final class I8259Pair {
  /// The register blocks, by the region they are mapped with.
  package enum Block: UInt8, Sendable {
    /// Two ports: 0x20 on a PC.
    case master = 0
    /// Two ports: 0xA0.
    case slave = 1
    /// ELCR, two ports: 0x4D0.
    case edgeLevel = 2
  }

  // Wiring: fixed for the life of the device.
  private let output: InterruptLine
  // State: everything the guest can change.
  private let state = Mutex(State())

  package init(output: consuming InterruptLine) { self.output = output }

  /// Changes the chips and drives INTR to what follows.
  private func with<Result, Failure>(
    _ change: (inout State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try state.withLock { (state) throws(Failure) in
      let result = try change(&state)
      output.set(state.interruptRequested)
      return result
    }
  }
}

// MARK: - What the wires bring

extension I8259Pair: InterruptController {
  package func set(_ pin: UInt32, asserted: Bool) {
    guard pin < 16, pin != UInt32(State.cascadePin) else { return }
    with { $0.set(Int(pin), asserted: asserted) }
  }
}

extension I8259Pair: InterruptAcknowledger {
  package func acknowledge() -> UInt8 {
    state.withLock { state in
      let vector = state.acknowledge()
      output.set(false)  // INT falls with every acknowledge, and rises again for the next request
      output.set(state.interruptRequested)
      return vector
    }
  }
}

// MARK: - What the guest sees

extension I8259Pair: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    let (block, second) = try address(access)
    return UInt64(
      with { state in
        switch block {
        case .master: state.master.read(second)
        case .slave: state.readSlave(second)
        case .edgeLevel: second ? state.slave.levelTriggered : state.master.levelTriggered
        }
      })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let (block, second) = try address(access)
    let value = UInt8(truncatingIfNeeded: value)
    with { state in
      switch block {
      case .master: state.master.write(value, second)
      case .slave: state.writeSlave(value, second)
      case .edgeLevel: state.setLevelTriggered(value, slave: second)
      }
    }
  }

  /// Which block, and whether its second port: the chip's A0.
  private func address(_ access: Access) throws(IOError) -> (Block, second: Bool) {
    guard access.width == .byte else { throw .unsupportedWidth }
    guard let block = Block(rawValue: access.region), access.offset < 2
    else { throw .noSuchRegister }
    return (block, access.offset == 1)
  }
}

// MARK: - What the machine sees

extension I8259Pair: Component {
  package static let schema = "i8259-pair/1"

  package struct Saved: Codable, Sendable {
    var master: I8259.Saved
    var slave: I8259.Saved
  }

  package func reset() { with { $0.reset() } }

  package func save() -> Saved {
    state.withLock { Saved(master: $0.master.saved, slave: $0.slave.saved) }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let restored = State(
      master: try I8259(saved.master, slavePin: State.cascadePin),
      slave: try I8259(saved.slave))
    guard restored.isConsistent else {
      throw .refused(part: "i8259-pair", reason: "a pin is level-triggered that cannot be")
    }
    with { $0 = restored }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("interrupt", state.interruptRequested)
    node.child("master") { state.master.inspect(&$0) }
    node.child("slave") { state.slave.inspect(&$0) }
  }
}

// MARK: - The two chips together

extension I8259Pair {
  struct State: Sendable {
    /// The master's pin that the slave's output is wired to.
    static let cascadePin = 2
    /// ELCR: pins 0, 1, 2, 8 and 13 are always edge-triggered.
    static let masterMayBeLevel: UInt8 = 0b1111_1000
    static let slaveMayBeLevel: UInt8 = 0b1101_1110

    var master = I8259(slavePin: cascadePin)
    private(set) var slave = I8259()

    var interruptRequested: Bool { master.interruptRequested }

    mutating func set(_ pin: Int, asserted: Bool) {
      if pin < 8 {
        master.set(pin, asserted: asserted)
      } else {
        slave.set(pin & 7, asserted: asserted)
        followSlave()
      }
    }

    mutating func readSlave(_ second: Bool) -> UInt8 {
      let acknowledges = slave.polls
      let value = slave.read(second)
      if acknowledges { master.set(Self.cascadePin, asserted: false) }
      followSlave()
      return value
    }

    mutating func writeSlave(_ value: UInt8, _ second: Bool) {
      slave.write(value, second)
      followSlave()
    }

    mutating func setLevelTriggered(_ pins: UInt8, slave isSlave: Bool) {
      if isSlave {
        slave.levelTriggered = pins & Self.slaveMayBeLevel
        followSlave()
      } else {
        master.levelTriggered = pins & Self.masterMayBeLevel
      }
    }

    /// The INTA cycle: the master answers, or lets the slave answer for its pin.
    mutating func acknowledge() -> UInt8 {
      let pin = master.acknowledge()
      guard pin == Self.cascadePin, master.isCascaded else { return master.vector(of: pin ?? 7) }
      let slavePin = slave.acknowledge()
      master.set(Self.cascadePin, asserted: false)
      followSlave()
      return slave.vector(of: slavePin ?? 7)
    }

    /// To power-on state; the wires keep the levels that devices drive them to.
    mutating func reset() {
      master.reset()
      slave.reset()
      followSlave()
    }

    private mutating func followSlave() {
      master.set(Self.cascadePin, asserted: slave.interruptRequested)
    }

    var isConsistent: Bool {
      master.levelTriggered & ~Self.masterMayBeLevel == 0
        && slave.levelTriggered & ~Self.slaveMayBeLevel == 0
        && (master.levels & 1 << Self.cascadePin != 0) == slave.interruptRequested
    }
  }
}
