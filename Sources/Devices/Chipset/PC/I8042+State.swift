import SavedState

// MARK: - The chip itself

extension I8042 {
  /// The status register: "Status Register (Hex 0064)".
  struct Status: OptionSet, Sendable {
    let rawValue: UInt8
    static let outputBufferFull = Self(rawValue: 1 << 0)
    static let system = Self(rawValue: 1 << 2)
    static let lastWriteWasCommand = Self(rawValue: 1 << 3)
    /// The keyboard's lock is open.
    static let notInhibited = Self(rawValue: 1 << 4)
    static let outputIsFromMouse = Self(rawValue: 1 << 5)
  }

  /// The controller command byte: "Controller Command Byte", command 0x60.
  struct CommandByte: OptionSet, Sendable {
    let rawValue: UInt8
    static let keyboardInterrupt = Self(rawValue: 1 << 0)
    static let mouseInterrupt = Self(rawValue: 1 << 1)
    static let system = Self(rawValue: 1 << 2)
    static let keyboardDisabled = Self(rawValue: 1 << 4)
    static let mouseDisabled = Self(rawValue: 1 << 5)
    static let translates = Self(rawValue: 1 << 6)
    static let all = Self(rawValue: 0b0111_0111)
  }

  /// The output port: "Output Port".
  struct OutputPort: OptionSet, Sendable {
    let rawValue: UInt8
    /// Low resets the processors.
    static let noReset = Self(rawValue: 1 << 0)
    static let addressLine20 = Self(rawValue: 1 << 1)
    static let keyboardInterrupt = Self(rawValue: 1 << 4)
    static let mouseInterrupt = Self(rawValue: 1 << 5)
  }

  /// Commands written to port 0x64; those that come in ranges are told apart by their upper bits.
  enum Command {
    static let readMemory: ClosedRange<UInt8> = 0x20...0x3f
    static let writeMemory: ClosedRange<UInt8> = 0x60...0x7f
    static let testPassword: UInt8 = 0xa4
    static let disableMouse: UInt8 = 0xa7
    static let enableMouse: UInt8 = 0xa8
    static let testMouseInterface: UInt8 = 0xa9
    static let selfTest: UInt8 = 0xaa
    static let testKeyboardInterface: UInt8 = 0xab
    static let disableKeyboard: UInt8 = 0xad
    static let enableKeyboard: UInt8 = 0xae
    static let readInputPort: UInt8 = 0xc0
    static let readOutputPort: UInt8 = 0xd0
    static let writeOutputPort: UInt8 = 0xd1
    static let writeKeyboardOutputBuffer: UInt8 = 0xd2
    static let writeMouseOutputBuffer: UInt8 = 0xd3
    static let writeToMouse: UInt8 = 0xd4
    static let closeAddressLine20: UInt8 = 0xdd
    static let openAddressLine20: UInt8 = 0xdf
    static let readTestInputs: UInt8 = 0xe0
    static let pulseOutputPort: ClosedRange<UInt8> = 0xf0...0xff
  }

  /// A byte on its way to the guest, and whether it is the mouse's.
  struct Byte: Sendable, Codable, Hashable {
    var value: UInt8
    var isFromMouse = false
  }

  /// What the shell is asked to do once the lock is free.
  struct Errands: Sendable {
    var reset = false
    var addressLine20: Bool?
  }

  struct State: Sendable {
    static let memorySize = 32

    var keyboard = PS2Keyboard()
    var mouse = PS2Mouse()
    /// As firmware leaves it: the keyboard interrupts and is translated, the mouse is off.
    private(set) var commandByte: CommandByte = [
      .keyboardInterrupt, .system, .mouseDisabled, .translates,
    ]
    private var outputPort: OutputPort = [.noReset, .addressLine20]
    /// The controller's RAM; its first byte is the command byte, and not used here.
    private var memory = [UInt8](repeating: 0, count: memorySize)
    /// The output buffer.
    private var output: Byte?
    /// The controller's own answer, waiting for the output buffer.
    private var response: Byte?
    private var lastRead: UInt8 = 0
    /// The command whose parameter the next byte at port 0x60 is.
    private var expects: UInt8?
    private var lastWriteWasCommand = false
    private var selfTestPassed = true
    /// Translation saw the prefix of a key released.
    private var breakPending = false
    private var errands = Errands()
  }
}

// MARK: - Output

extension I8042.State {
  var status: I8042.Status {
    var status: I8042.Status = .notInhibited
    if let output {
      status.insert(.outputBufferFull)
      if output.isFromMouse { status.insert(.outputIsFromMouse) }
    }
    if selfTestPassed { status.insert(.system) }
    if lastWriteWasCommand { status.insert(.lastWriteWasCommand) }
    return status
  }

  var keyboardInterruptRequested: Bool {
    commandByte.contains(.keyboardInterrupt) && output?.isFromMouse == false
  }

  var mouseInterruptRequested: Bool {
    commandByte.contains(.mouseInterrupt) && output?.isFromMouse == true
  }

  /// The output port's bit for the A20 gate, which others move too.
  var addressLine20: Bool {
    get { outputPort.contains(.addressLine20) }
    set {
      if newValue { outputPort.insert(.addressLine20) } else { outputPort.remove(.addressLine20) }
    }
  }

  mutating func takeErrands() -> I8042.Errands {
    defer { errands = I8042.Errands() }
    return errands
  }

  mutating func readData() -> UInt8 {
    if let output {
      lastRead = output.value
      self.output = nil
    }
    return lastRead
  }

  /// Moves the next byte into the output buffer, if it is free; whether there was one. What the
  /// controller itself has to say goes before the keyboard, the keyboard before the mouse.
  mutating func fillOutputBuffer() -> Bool {
    guard output == nil else { return false }
    if let response {
      output = response
      self.response = nil
    } else if !commandByte.contains(.keyboardDisabled), let value = nextFromKeyboard() {
      output = I8042.Byte(value: value)
    } else if !commandByte.contains(.mouseDisabled), let value = mouse.next() {
      output = I8042.Byte(value: value, isFromMouse: true)
    }
    return output != nil
  }

  /// The keyboard's next byte; translated, a break prefix becomes the top bit of the byte after it.
  private mutating func nextFromKeyboard() -> UInt8? {
    while let value = keyboard.next() {
      guard commandByte.contains(.translates) else { return value }
      if value == PS2ScanCodes.breakPrefix {
        breakPending = true
        continue
      }
      defer { breakPending = false }
      return PS2ScanCodes.set1(ofSet2: value) | (breakPending ? 0x80 : 0)
    }
    return nil
  }
}

// MARK: - Input

extension I8042.State {
  private typealias Command = I8042.Command

  /// A write to port 0x64.
  mutating func command(_ command: UInt8) {
    lastWriteWasCommand = true
    expects = nil
    switch command {
    case Command.readMemory:
      let index = Int(command & 0x1f)
      answer(index == 0 ? commandByte.rawValue : memory[index])
    case Command.writeMemory, Command.writeOutputPort, Command.writeKeyboardOutputBuffer,
      Command.writeMouseOutputBuffer, Command.writeToMouse:
      expects = command
    case Command.testPassword: answer(0xf1)  // none is set
    case Command.disableMouse: commandByte.insert(.mouseDisabled)
    case Command.enableMouse: commandByte.remove(.mouseDisabled)
    case Command.disableKeyboard: commandByte.insert(.keyboardDisabled)
    case Command.enableKeyboard: commandByte.remove(.keyboardDisabled)
    case Command.selfTest:
      selfTestPassed = true
      answer(0x55)
    case Command.testKeyboardInterface, Command.testMouseInterface, Command.readTestInputs:
      answer(0x00)
    case Command.readInputPort: answer(0x80)  // the lock is open
    case Command.readOutputPort: answer(visibleOutputPort.rawValue)
    case Command.closeAddressLine20: setOutputPort(outputPort.subtracting(.addressLine20))
    case Command.openAddressLine20: setOutputPort(outputPort.union(.addressLine20))
    case Command.pulseOutputPort: if command & 0x01 == 0 { errands.reset = true }
    default: break
    }
  }

  /// A write to port 0x60: a command's parameter, or a byte for the keyboard. To talk to a device
  /// enables its interface.
  mutating func writeData(_ value: UInt8) {
    lastWriteWasCommand = false
    let command = expects
    expects = nil
    switch command {
    case nil:
      commandByte.remove(.keyboardDisabled)
      keyboard.receive(value)
    case Command.writeToMouse:
      commandByte.remove(.mouseDisabled)
      mouse.receive(value)
    case Command.writeOutputPort: setOutputPort(I8042.OutputPort(rawValue: value))
    case Command.writeKeyboardOutputBuffer: answer(value)
    case Command.writeMouseOutputBuffer: response = I8042.Byte(value: value, isFromMouse: true)
    case let command?: writeMemory(value, at: Int(command & 0x1f))
    }
  }

  private mutating func answer(_ value: UInt8) { response = I8042.Byte(value: value) }

  private mutating func writeMemory(_ value: UInt8, at index: Int) {
    if index == 0 {
      commandByte = I8042.CommandByte(rawValue: value).intersection(.all)
      selfTestPassed = commandByte.contains(.system)
    } else {
      memory[index] = value
    }
  }

  private var visibleOutputPort: I8042.OutputPort {
    var port = outputPort
    if keyboardInterruptRequested { port.insert(.keyboardInterrupt) }
    if mouseInterruptRequested { port.insert(.mouseInterrupt) }
    return port
  }

  private mutating func setOutputPort(_ port: I8042.OutputPort) {
    if port.contains(.addressLine20) != addressLine20 {
      errands.addressLine20 = port.contains(.addressLine20)
    }
    if !port.contains(.noReset) { errands.reset = true }
    outputPort = port.union(.noReset).subtracting([.keyboardInterrupt, .mouseInterrupt])
  }
}

// MARK: - Saving

extension I8042.State {
  var saved: I8042.Saved {
    I8042.Saved(
      commandByte: commandByte.rawValue, outputPort: outputPort.rawValue, memory: memory,
      output: output, response: response, lastRead: lastRead, expects: expects,
      lastWriteWasCommand: lastWriteWasCommand, selfTestPassed: selfTestPassed,
      breakPending: breakPending, keyboard: keyboard.saved, mouse: mouse.saved)
  }

  init(_ saved: I8042.Saved) throws(RestoreError) {
    commandByte = .init(rawValue: saved.commandByte)
    outputPort = .init(rawValue: saved.outputPort)
    memory = saved.memory
    output = saved.output
    response = saved.response
    lastRead = saved.lastRead
    expects = saved.expects
    lastWriteWasCommand = saved.lastWriteWasCommand
    selfTestPassed = saved.selfTestPassed
    breakPending = saved.breakPending
    keyboard = try PS2Keyboard(saved.keyboard)
    mouse = try PS2Mouse(saved.mouse)
    guard memory.count == Self.memorySize, commandByte.isSubset(of: .all),
      outputPort.contains(.noReset),
      outputPort.isDisjoint(with: [.keyboardInterrupt, .mouseInterrupt]),
      response == nil || output != nil
    else { throw .refused(part: "i8042", reason: "no controller can be in that state") }
  }
}
