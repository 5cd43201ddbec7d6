package import Board
package import Inspection
package import SavedState
import Synchronization

/// The keyboard controller of a PC with a PS/2 keyboard and mouse plugged into it. It also switches
/// address line 20 and pulses the processors' reset.
///
/// Keys and motion come in by `press`, `release` and `move`, from any thread. Nothing takes time: the
/// next byte stands in the output buffer as soon as the guest has taken the last one.
///
/// - SeeAlso: IBM *Personal System/2 Hardware Interface Technical Reference* (1988), "Keyboard and
///   Auxiliary Device Controller".
package final class I8042 {
  /// The register blocks, by the region they are mapped with.
  package enum Block: UInt8, Sendable {
    /// One port: 0x60 on a PC.
    case data = 0
    /// One port: 0x64. Commands when written, the status when read.
    case command = 1
  }

  // Wiring: fixed for the life of the device.
  private let keyboardInterrupt: InterruptLine
  private let mouseInterrupt: InterruptLine
  private let control: any MachineControl
  // State: everything the guest can change.
  private let state = Mutex(State())

  /// The wires are IRQ 1 and IRQ 12.
  package init(
    keyboardInterrupt: consuming InterruptLine, mouseInterrupt: consuming InterruptLine,
    control: any MachineControl
  ) {
    self.keyboardInterrupt = keyboardInterrupt
    self.mouseInterrupt = mouseInterrupt
    self.control = control
  }

  /// Changes the chip, drives the wires to what follows, and then carries out what the chip asks for.
  private func with<Result>(_ change: (inout State) -> Result) -> Result {
    let isA20Open = control.isA20Open
    let (result, errands) = state.withLock { state in
      state.addressLine20 = isA20Open
      let result = change(&state)
      if state.fillOutputBuffer() { lowerInterrupts() }  // each byte is an edge of its own
      driveInterrupts(state)
      return (result, state.takeErrands())
    }
    if let enabled = errands.addressLine20 { control.setA20(enabled) }
    if errands.reset { control.requestReset() }
    return result
  }

  private func lowerInterrupts() {
    keyboardInterrupt.set(false)
    mouseInterrupt.set(false)
  }

  private func driveInterrupts(_ state: borrowing State) {
    keyboardInterrupt.set(state.keyboardInterruptRequested)
    mouseInterrupt.set(state.mouseInterruptRequested)
  }
}

// MARK: - What the user does

extension I8042 {
  /// A key went down, or repeats while it is held.
  package func press(_ key: PS2Key) { with { $0.keyboard.press(key) } }

  package func release(_ key: PS2Key) { with { $0.keyboard.release(key) } }

  /// The mouse moved, right and down, its wheel turned towards the user, or its buttons changed.
  package func move(x: Int32, y: Int32, wheel: Int32 = 0, buttons: PS2Mouse.Buttons) {
    with { $0.mouse.move(x: x, y: y, wheel: wheel, buttons: buttons) }
  }
}

// MARK: - What the guest sees

extension I8042: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    switch try block(access) {
    case .data: UInt64(with { $0.readData() })
    case .command: UInt64(state.withLock { $0.status.rawValue })
    }
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let value = UInt8(truncatingIfNeeded: value)
    switch try block(access) {
    case .data: with { $0.writeData(value) }
    case .command: with { $0.command(value) }
    }
  }

  private func block(_ access: Access) throws(IOError) -> Block {
    guard access.width == .byte else { throw .unsupportedWidth }
    guard let block = Block(rawValue: access.region), access.offset == 0
    else { throw .noSuchRegister }
    return block
  }
}

// MARK: - What the machine sees

extension I8042: Component {
  package static let schema = "i8042/1"

  package struct Saved: Codable, Sendable {
    var commandByte: UInt8
    var outputPort: UInt8
    var memory: [UInt8]
    var output: Byte?
    var response: Byte?
    var lastRead: UInt8
    var expects: UInt8?
    var lastWriteWasCommand: Bool
    var selfTestPassed: Bool
    var breakPending: Bool
    var keyboard: PS2Keyboard.Saved
    var mouse: PS2Mouse.Saved
  }

  package func reset() {
    state.withLock { state in
      state = State()
      driveInterrupts(state)
    }
    control.setA20(true)
  }

  package func save() -> Saved {
    let isA20Open = control.isA20Open
    return state.withLock { state in
      state.addressLine20 = isA20Open
      return state.saved
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let restored = try State(saved)
    state.withLock { state in
      state = restored
      driveInterrupts(state)
    }
    control.setA20(restored.addressLine20)
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.hex("status", state.status.rawValue)
    node.hex("commandByte", state.commandByte.rawValue)
    node.child("keyboard") { state.keyboard.inspect(&$0) }
    node.child("mouse") { state.mouse.inspect(&$0) }
  }
}
