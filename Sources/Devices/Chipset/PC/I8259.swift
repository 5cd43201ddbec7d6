import Inspection
import SavedState

/// One 8259A interrupt controller: eight pins, one output, as a plain value.
///
/// - SeeAlso: Intel *8259A Programmable Interrupt Controller* data sheet (231468-003), "Functional
///   Description" and "Programming the 8259A".
/// - Note: whether a pin is level-triggered is ELCR's choice, as on every PC since EISA; the LTIM bit
///   of ICW1 has no effect. An edge is remembered even if its pin falls before the acknowledge.
struct I8259: Sendable {
  /// The pin that a slave's output is wired to, if this is a master.
  let slavePin: Int?
  /// The level of each pin.
  private(set) var levels: UInt8 = 0
  /// ELCR: the pins that request as long as they are high.
  var levelTriggered: UInt8 = 0 {
    didSet { interruptRequest = interruptRequest & ~levelTriggered | levels & levelTriggered }
  }
  /// IRR.
  private(set) var interruptRequest: UInt8 = 0
  /// ISR.
  private(set) var inService: UInt8 = 0
  /// IMR. Masked until initialised; the data sheet leaves it open.
  private(set) var interruptMask: UInt8 = 0xff
  /// The upper five bits of every vector, from ICW2.
  private(set) var vectorBase: UInt8 = 0
  /// The pin of lowest priority; the next one up has the highest.
  private(set) var lowestPriority = 7
  private(set) var automaticEndOfInterrupt = false
  private(set) var rotatesOnAutomaticEnd = false
  private(set) var specialMask = false
  private(set) var specialFullyNested = false
  /// ICW1 bit 1 clear: there is a slave.
  private(set) var isCascaded = true
  /// What a read of the first port shows: ISR rather than IRR.
  private(set) var readsInService = false
  /// The next read is a poll.
  private(set) var polls = false
  private(set) var expects: CommandWord = .operation
  /// ICW1 bit 0: ICW4 will come.
  private(set) var expectsICW4 = false

  init(slavePin: Int? = nil) { self.slavePin = slavePin }

  /// What a write to the second port is taken for.
  enum CommandWord: UInt8, Sendable {
    case operation, icw2, icw3, icw4
  }
}

// MARK: - Pins

extension I8259 {
  /// INT: a pin requests that nothing of its priority or above holds back.
  var interruptRequested: Bool { pending != nil }

  mutating func set(_ pin: Int, asserted: Bool) {
    let bit = Self.bit(pin)
    let wasHigh = levels & bit != 0
    levels = asserted ? levels | bit : levels & ~bit
    if levelTriggered & bit != 0 {
      interruptRequest = asserted ? interruptRequest | bit : interruptRequest & ~bit
    } else if asserted, !wasHigh {
      interruptRequest |= bit
    }
  }

  /// Takes the most urgent request into service; `nil`: it went away, the answer is pin 7 and nothing
  /// is in service ("spurious").
  mutating func acknowledge() -> Int? {
    guard let pin = pending else { return nil }
    interruptRequest &= ~Self.bit(pin) | levels & levelTriggered
    if !automaticEndOfInterrupt {
      inService |= Self.bit(pin)
    } else if rotatesOnAutomaticEnd {
      lowestPriority = pin
    }
    return pin
  }

  func vector(of pin: Int) -> UInt8 { vectorBase | UInt8(truncatingIfNeeded: pin & 7) }

  /// "Fully nested mode": the first pin, from the highest priority, that requests, unless one at
  /// least as urgent is in service. In special mask mode only those in service that are not masked
  /// hold others back; in special fully nested mode the slave's pin does not hold back itself.
  private var pending: Int? {
    guard expects == .operation else { return nil }
    let requests = interruptRequest & ~interruptMask
    guard requests != 0 else { return nil }
    let holding = specialMask ? inService & ~interruptMask : inService
    for distance in 1...8 {
      let pin = (lowestPriority + distance) & 7
      let bit = Self.bit(pin)
      let holdsItself = !(specialFullyNested && pin == slavePin)
      if holding & bit != 0, holdsItself { return nil }
      if requests & bit != 0 { return pin }
      if holding & bit != 0 { return nil }
    }
    return nil
  }

  private static func bit(_ pin: Int) -> UInt8 { 1 << UInt8(truncatingIfNeeded: pin & 7) }
}

// MARK: - Registers

extension I8259 {
  /// Reads a port; `second` is the pin A0.
  mutating func read(_ second: Bool) -> UInt8 {
    if polls {
      polls = false
      // "Poll command": bit 7 says that there is a request, which the read acknowledges.
      return acknowledge().map { 0x80 | UInt8(truncatingIfNeeded: $0) } ?? 0
    }
    if second { return interruptMask }
    return readsInService ? inService : interruptRequest
  }

  mutating func write(_ value: UInt8, _ second: Bool) {
    if second {
      writeSecond(value)
    } else if value & 0x10 != 0 {
      initialize(value)
    } else if value & 0x08 != 0 {
      writeOCW3(value)
    } else {
      writeOCW2(value)
    }
  }

  mutating func reset() {
    let wires = levels
    self = I8259(slavePin: slavePin)
    levels = wires
  }

  /// "Initialization command words": ICW1 clears the edge sense, the mask, and the modes.
  private mutating func initialize(_ icw1: UInt8) {
    interruptRequest = levels & levelTriggered
    inService = 0
    interruptMask = 0
    lowestPriority = 7
    specialMask = false
    readsInService = false
    polls = false
    rotatesOnAutomaticEnd = false
    isCascaded = icw1 & 0x02 == 0
    expectsICW4 = icw1 & 0x01 != 0
    if !expectsICW4 {
      automaticEndOfInterrupt = false
      specialFullyNested = false
    }
    expects = .icw2
  }

  private mutating func writeSecond(_ value: UInt8) {
    switch expects {
    case .operation:
      interruptMask = value
    case .icw2:
      vectorBase = value & 0xf8
      expects = isCascaded ? .icw3 : expectsICW4 ? .icw4 : .operation
    case .icw3:  // which pins have slaves is fixed by the wiring
      expects = expectsICW4 ? .icw4 : .operation
    case .icw4:
      automaticEndOfInterrupt = value & 0x02 != 0
      specialFullyNested = value & 0x10 != 0
      expects = .operation
    }
  }

  /// OCW2: ends of interrupt and rotations, by its bits R, SL and EOI.
  private mutating func writeOCW2(_ value: UInt8) {
    let pin = Int(value & 0x07)
    switch value >> 5 {
    case 0b001: _ = endMostUrgent()
    case 0b011: inService &= ~Self.bit(pin)
    case 0b101: if let ended = endMostUrgent() { lowestPriority = ended }
    case 0b100: rotatesOnAutomaticEnd = true
    case 0b000: rotatesOnAutomaticEnd = false
    case 0b111:
      inService &= ~Self.bit(pin)
      lowestPriority = pin
    case 0b110: lowestPriority = pin
    default: break
    }
  }

  /// The non-specific end of interrupt. In special mask mode it leaves masked pins in service.
  private mutating func endMostUrgent() -> Int? {
    let candidates = specialMask ? inService & ~interruptMask : inService
    for distance in 1...8 {
      let pin = (lowestPriority + distance) & 7
      guard candidates & Self.bit(pin) != 0 else { continue }
      inService &= ~Self.bit(pin)
      return pin
    }
    return nil
  }

  private mutating func writeOCW3(_ value: UInt8) {
    if value & 0x40 != 0 { specialMask = value & 0x20 != 0 }
    polls = value & 0x04 != 0
    if value & 0x02 != 0 { readsInService = value & 0x01 != 0 }
  }
}

// MARK: - Saving and showing

extension I8259 {
  struct Saved: Codable, Sendable {
    var levels: UInt8
    var levelTriggered: UInt8
    var interruptRequest: UInt8
    var inService: UInt8
    var interruptMask: UInt8
    var vectorBase: UInt8
    var lowestPriority: UInt8
    var automaticEndOfInterrupt: Bool
    var rotatesOnAutomaticEnd: Bool
    var specialMask: Bool
    var specialFullyNested: Bool
    var isCascaded: Bool
    var readsInService: Bool
    var polls: Bool
    var expects: UInt8
    var expectsICW4: Bool
  }

  var saved: Saved {
    Saved(
      levels: levels, levelTriggered: levelTriggered, interruptRequest: interruptRequest,
      inService: inService, interruptMask: interruptMask, vectorBase: vectorBase,
      lowestPriority: UInt8(truncatingIfNeeded: lowestPriority),
      automaticEndOfInterrupt: automaticEndOfInterrupt,
      rotatesOnAutomaticEnd: rotatesOnAutomaticEnd, specialMask: specialMask,
      specialFullyNested: specialFullyNested, isCascaded: isCascaded,
      readsInService: readsInService, polls: polls, expects: expects.rawValue,
      expectsICW4: expectsICW4)
  }

  init(_ saved: Saved, slavePin: Int? = nil) throws(RestoreError) {
    guard let expects = CommandWord(rawValue: saved.expects), saved.lowestPriority < 8,
      saved.vectorBase & 0x07 == 0,
      saved.interruptRequest & saved.levelTriggered == saved.levels & saved.levelTriggered
    else { throw .refused(part: "i8259-pair", reason: "no 8259A can be in that state") }
    self.slavePin = slavePin
    levels = saved.levels
    levelTriggered = saved.levelTriggered
    interruptRequest = saved.interruptRequest
    inService = saved.inService
    interruptMask = saved.interruptMask
    vectorBase = saved.vectorBase
    lowestPriority = Int(saved.lowestPriority)
    automaticEndOfInterrupt = saved.automaticEndOfInterrupt
    rotatesOnAutomaticEnd = saved.rotatesOnAutomaticEnd
    specialMask = saved.specialMask
    specialFullyNested = saved.specialFullyNested
    isCascaded = saved.isCascaded
    readsInService = saved.readsInService
    polls = saved.polls
    self.expects = expects
    expectsICW4 = saved.expectsICW4
  }

  func inspect(_ node: inout Node) {
    node.hex("interruptRequest", interruptRequest)
    node.hex("inService", inService)
    node.hex("interruptMask", interruptMask)
    node.hex("levels", levels)
    node.hex("levelTriggered", levelTriggered)
    node.hex("vectorBase", vectorBase)
    node.reflect(self)
  }
}
