import SavedState

// MARK: - The chip itself

extension UART16550 {
  /// What the shell is asked to do once the lock is free.
  struct Errands: OptionSet, Sendable {
    let rawValue: UInt8
    static let transmit = Self(rawValue: 1 << 0)
    static let askForMore = Self(rawValue: 1 << 1)
  }

  /// The chip. Its line ends in a modem that is always there and always ready.
  struct State: Sendable {
    static let fifoSize = 16
    /// How many bytes wait for the stream. More than the FIFO holds, for guests that write without asking the line
    /// status: a real line is slow and steady, while a stream may be held up at any moment for a moment.
    static let transmitterRoom = 256

    private(set) var receiver: [UInt8] = []
    private(set) var transmitter: [UInt8] = []
    private(set) var interruptEnable: InterruptEnable = []
    private(set) var fifoControl: FIFOControl = []
    private(set) var lineControl: LineControl = []
    private(set) var modemControl: ModemControl = []
    private(set) var modemChanges: ModemStatus = []
    private(set) var scratch: UInt8 = 0
    /// The divisor latch; 9600 baud until someone says otherwise.
    private(set) var divisor: UInt16 = 12
    private(set) var overrun = false
    /// The transmitter ran empty and nobody has been told yet.
    private(set) var transmitterInterrupt = false

    /// Between start and stop: bytes may come and go.
    var isRunning = false
    /// Someone is offering bytes to the stream; how many of those are still in the transmitter.
    private var isTransmitting = false
    private var offered = 0
    /// The stream took less than it was offered, and has not said since that it has room again.
    private var streamIsFull = false
    private var roomWasAnnounced = false
    /// The stream has more than there was room for.
    private var moreWaits = false
    private var errands: Errands = []
  }
}

// MARK: - Registers

extension UART16550.State {
  mutating func read(_ register: UART16550.Register) -> UInt8 {
    switch register {
    case .data where latchIsOpen: return UInt8(truncatingIfNeeded: divisor)
    case .data: return takeReceived()
    case .interruptEnable where latchIsOpen: return UInt8(truncatingIfNeeded: divisor >> 8)
    case .interruptEnable: return interruptEnable.rawValue
    case .interruptIdentification: return identifyInterrupt()
    case .lineControl: return lineControl.rawValue
    case .modemControl: return modemControl.rawValue
    case .lineStatus:
      defer { overrun = false }
      return lineStatus.rawValue
    case .modemStatus:
      defer { modemChanges = [] }
      return modemLines.union(modemChanges).rawValue
    case .scratch: return scratch
    }
  }

  mutating func write(_ value: UInt8, to register: UART16550.Register) {
    switch register {
    case .data where latchIsOpen: divisor = divisor & 0xff00 | UInt16(value)
    case .data: transmit(value)
    case .interruptEnable where latchIsOpen: divisor = divisor & 0x00ff | UInt16(value) << 8
    case .interruptEnable: enableInterrupts(UART16550.InterruptEnable(rawValue: value))
    case .interruptIdentification: controlFIFOs(UART16550.FIFOControl(rawValue: value))
    case .lineControl: lineControl = UART16550.LineControl(rawValue: value)
    case .modemControl: controlModem(UART16550.ModemControl(rawValue: value))
    case .lineStatus, .modemStatus: break  // writing them is for factory tests only
    case .scratch: scratch = value
    }
  }

  /// What the last change left to do outside.
  mutating func takeErrands() -> UART16550.Errands {
    if moreWaits, receiver.isEmpty, receptionRoom > 0 {
      moreWaits = false
      errands.insert(.askForMore)
    }
    defer { errands = [] }
    return errands
  }

  private var latchIsOpen: Bool { lineControl.contains(.divisorLatchAccess) }

  /// What the receiver holds: with the FIFOs off, one byte.
  private var capacity: Int {
    fifoControl.contains(.enabled) ? Self.fifoSize : 1
  }

  private var lineStatus: UART16550.LineStatus {
    var status: UART16550.LineStatus = []
    if !receiver.isEmpty { status.insert(.dataReady) }
    if overrun { status.insert(.overrunError) }
    if transmitter.isEmpty {
      status.formUnion([.transmitterHoldingRegisterEmpty, .transmitterEmpty])
    }
    return status
  }

  /// PC16550D §8.5: the other bits are programmed only together with the enabling one, and turning
  /// the FIFOs on or off empties them.
  private mutating func controlFIFOs(_ control: UART16550.FIFOControl) {
    let toggled = control.contains(.enabled) != fifoControl.contains(.enabled)
    if toggled || control.isSuperset(of: [.enabled, .resetReceiver]) { receiver = [] }
    if toggled || control.isSuperset(of: [.enabled, .resetTransmitter]) { clearTransmitter() }
    fifoControl = control.contains(.enabled) ? control.intersection(.kept) : []
  }

  private mutating func clearTransmitter() {
    if !transmitter.isEmpty { transmitterInterrupt = true }
    transmitter = []
    offered = 0
  }
}

// MARK: - Interrupts

extension UART16550.State {
  /// The level of the wire: a pending interrupt, let through by OUT 2.
  var interruptPending: Bool {
    interruptSource != nil && modemControl.isSuperset(of: .out2)
      && !modemControl.contains(.loopback)
  }

  /// The most urgent of the enabled interrupts.
  var interruptSource: UART16550.InterruptSource? {
    if interruptEnable.contains(.lineStatus), overrun { return .lineStatus }
    if interruptEnable.contains(.receivedData), !receiver.isEmpty {
      return receiver.count >= fifoControl.triggerLevel ? .receivedData : .characterTimeout
    }
    if interruptEnable.contains(.transmitterEmpty), transmitterInterrupt {
      return .transmitterEmpty
    }
    if interruptEnable.contains(.modemStatus), !modemChanges.isEmpty { return .modemStatus }
    return nil
  }

  /// Reading IIR answers the transmitter's interrupt, if that is the one it shows.
  private mutating func identifyInterrupt() -> UInt8 {
    let source = interruptSource
    if source == .transmitterEmpty { transmitterInterrupt = false }
    let fifosEnabled: UInt8 = fifoControl.contains(.enabled) ? 0b1100_0000 : 0
    return fifosEnabled | (source?.rawValue ?? UART16550.InterruptSource.none)
  }

  /// Enabling the transmitter's interrupt while the transmitter is empty raises it anew: drivers
  /// start to send that way.
  private mutating func enableInterrupts(_ enable: UART16550.InterruptEnable) {
    if enable.contains(.transmitterEmpty), !interruptEnable.contains(.transmitterEmpty),
      transmitter.isEmpty
    {
      transmitterInterrupt = true
    }
    interruptEnable = enable.intersection(.all)
  }
}

// MARK: - The line, both ways

extension UART16550.State {
  private mutating func transmit(_ byte: UInt8) {
    transmitterInterrupt = false
    if modemControl.contains(.loopback) {
      receive([byte])
      transmitterInterrupt = true
    } else if transmitter.count < Self.transmitterRoom {
      transmitter.append(byte)
      errands.insert(.transmit)
    }
  }

  /// The bytes to offer to the stream; `nil` if there are none, or if someone else is at it.
  mutating func beginTransmission() -> [UInt8]? {
    guard isRunning, !isTransmitting, !streamIsFull, !transmitter.isEmpty else { return nil }
    isTransmitting = true
    roomWasAnnounced = false
    offered = transmitter.count
    return transmitter
  }

  /// The stream took `sent` bytes. Those that a FIFO reset threw away meanwhile are gone already.
  mutating func endTransmission(offered count: Int, sent: Int) {
    transmitter.removeFirst(min(max(sent, 0), offered))
    if sent > 0, transmitter.isEmpty { transmitterInterrupt = true }
    streamIsFull = sent < count && !roomWasAnnounced
    isTransmitting = false
    offered = 0
  }

  /// The stream has room again: perhaps announced before its short answer was heard.
  mutating func streamHasRoom() {
    streamIsFull = false
    roomWasAnnounced = true
  }

  private var receptionRoom: Int {
    guard isRunning, !modemControl.contains(.loopback) else { return 0 }
    return max(0, capacity - receiver.count)
  }

  /// How many bytes may come in now. With no room, the stream is asked again once there is some.
  mutating func beginReception() -> Int {
    let room = receptionRoom
    moreWaits = room == 0
    return room
  }

  /// Bytes come in. One too many is lost and noted: with the FIFOs on the newest, without them the
  /// one that stood in the way. PC16550D §8.4, bit 1.
  mutating func receive(_ bytes: [UInt8]) {
    for byte in bytes {
      if receiver.count < capacity {
        receiver.append(byte)
      } else {
        overrun = true
        if !fifoControl.contains(.enabled) { receiver = [byte] }
      }
    }
  }

  private mutating func takeReceived() -> UInt8 {
    receiver.isEmpty ? 0 : receiver.removeFirst()
  }
}

// MARK: - The modem

extension UART16550.State {
  /// What the modem says; in loopback, what the chip's own outputs say: PC16550D §8.8, bit 4.
  private var modemLines: UART16550.ModemStatus {
    guard modemControl.contains(.loopback) else {
      return [.clearToSend, .dataSetReady, .carrierDetect]
    }
    var lines: UART16550.ModemStatus = []
    if modemControl.contains(.requestToSend) { lines.insert(.clearToSend) }
    if modemControl.contains(.dataTerminalReady) { lines.insert(.dataSetReady) }
    if modemControl.contains(.out1) { lines.insert(.ringIndicator) }
    if modemControl.contains(.out2) { lines.insert(.carrierDetect) }
    return lines
  }

  private mutating func controlModem(_ control: UART16550.ModemControl) {
    let before = modemLines
    modemControl = control.intersection(.all)
    let changed = before.symmetricDifference(modemLines)
    if changed.contains(.clearToSend) { modemChanges.insert(.clearToSendChanged) }
    if changed.contains(.dataSetReady) { modemChanges.insert(.dataSetReadyChanged) }
    if changed.contains(.ringIndicator), before.contains(.ringIndicator) {
      modemChanges.insert(.ringIndicatorEnded)
    }
    if changed.contains(.carrierDetect) { modemChanges.insert(.carrierDetectChanged) }
  }
}

// MARK: - Saving

extension UART16550.State {
  var saved: UART16550.Saved {
    UART16550.Saved(
      receiver: receiver, transmitter: transmitter, interruptEnable: interruptEnable.rawValue,
      fifoControl: fifoControl.rawValue, lineControl: lineControl.rawValue,
      modemControl: modemControl.rawValue, modemChanges: modemChanges.rawValue, scratch: scratch,
      divisor: divisor, overrun: overrun, transmitterInterrupt: transmitterInterrupt)
  }

  init(_ saved: UART16550.Saved) throws(RestoreError) {
    interruptEnable = .init(rawValue: saved.interruptEnable)
    fifoControl = .init(rawValue: saved.fifoControl)
    modemControl = .init(rawValue: saved.modemControl)
    modemChanges = .init(rawValue: saved.modemChanges)
    guard interruptEnable.isSubset(of: .all), fifoControl.isSubset(of: .kept),
      fifoControl.isEmpty || fifoControl.contains(.enabled), modemControl.isSubset(of: .all),
      modemChanges.isSubset(of: .changes)
    else { throw .refused(part: "uart16550", reason: "a register has bits that do not exist") }
    receiver = saved.receiver
    transmitter = saved.transmitter
    guard receiver.count <= capacity, transmitter.count <= Self.transmitterRoom
    else { throw .refused(part: "uart16550", reason: "a FIFO holds more than it can") }
    lineControl = .init(rawValue: saved.lineControl)
    scratch = saved.scratch
    divisor = saved.divisor
    overrun = saved.overrun
    transmitterInterrupt = saved.transmitterInterrupt
  }
}
