import Inspection
import SavedState

/// A PS/2 keyboard at its end of the cable: bytes in, bytes out.
///
/// It does not repeat a key held down by itself: whoever presses it does.
///
/// - SeeAlso: IBM *Personal System/2 Hardware Interface Technical Reference* (1988), "Keyboards (101-
///   and 102-Key)", "Commands from the System".
struct PS2Keyboard: Sendable {
  /// Bytes of keys that may wait.
  static let bufferSize = 16
  static let defaultTypematic: UInt8 = 0x2b

  /// The bytes of keys, not yet taken.
  private(set) var keys: [UInt8] = []
  /// The answer to the last command; goes before the keys.
  private(set) var answer: [UInt8] = []
  private(set) var isScanning = true
  private(set) var scanCodeSet: UInt8 = 2
  /// Scroll Lock, Num Lock, Caps Lock.
  private(set) var indicators: UInt8 = 0
  private(set) var typematic = defaultTypematic
  /// The command whose parameter comes next.
  private(set) var expects: UInt8?
  private var lastSent: UInt8 = 0

  enum Command {
    static let setIndicators: UInt8 = 0xed
    static let echo: UInt8 = 0xee
    static let selectScanCodeSet: UInt8 = 0xf0
    static let readID: UInt8 = 0xf2
    static let setTypematic: UInt8 = 0xf3
    static let enable: UInt8 = 0xf4
    static let disable: UInt8 = 0xf5
    static let setDefaults: UInt8 = 0xf6
    /// Which keys repeat, or are heard when released, in set 3: for all keys, and for a list of them.
    static let setAllKeys: ClosedRange<UInt8> = 0xf7...0xfa
    static let setKeys: ClosedRange<UInt8> = 0xfb...0xfd
    static let resend: UInt8 = 0xfe
    static let reset: UInt8 = 0xff
    /// Parameters are smaller than any command.
    static let all: ClosedRange<UInt8> = 0xed...0xff
  }

  enum Reply {
    static let acknowledge: UInt8 = 0xfa
    static let resend: UInt8 = 0xfe
    static let testPassed: UInt8 = 0xaa
    static let id: [UInt8] = [0xab, 0x83]
  }
}

// MARK: - The user's end

extension PS2Keyboard {
  mutating func press(_ key: PS2Key) { send(key, released: false) }
  mutating func release(_ key: PS2Key) { send(key, released: true) }

  /// A key for which there is no room is not heard.
  private mutating func send(_ key: PS2Key, released: Bool) {
    let bytes = PS2ScanCodes.bytes(of: key, released: released, set: scanCodeSet)
    guard isScanning, keys.count + bytes.count <= Self.bufferSize else { return }
    keys += bytes
  }
}

// MARK: - The controller's end

extension PS2Keyboard {
  /// The next byte to the controller.
  mutating func next() -> UInt8? {
    guard let byte = answer.first ?? keys.first else { return nil }
    if answer.isEmpty { keys.removeFirst() } else { answer.removeFirst() }
    lastSent = byte
    return byte
  }

  /// A byte from the controller: a command, or the parameter of one. It ends the answer before.
  mutating func receive(_ byte: UInt8) {
    if let command = expects, !Command.all.contains(byte) {
      answer = parameter(byte, of: command)
    } else {
      expects = nil
      answer = command(byte)
    }
  }

  private mutating func command(_ command: UInt8) -> [UInt8] {
    switch command {
    case Command.echo: return [Command.echo]
    case Command.readID: return [Reply.acknowledge] + Reply.id
    case Command.resend: return [lastSent]
    case Command.reset:
      self = PS2Keyboard()
      return [Reply.acknowledge, Reply.testPassed]
    case Command.setIndicators, Command.selectScanCodeSet, Command.setTypematic, Command.setKeys:
      expects = command
    case Command.enable:
      keys = []
      isScanning = true
    case Command.disable:
      setDefaults()
      isScanning = false
    case Command.setDefaults: setDefaults()
    case Command.setAllKeys: break
    default: return [Reply.resend]
    }
    return [Reply.acknowledge]
  }

  private mutating func parameter(_ value: UInt8, of command: UInt8) -> [UInt8] {
    if !Command.setKeys.contains(command) { expects = nil }  // its list ends with the next command
    switch command {
    case Command.setIndicators: indicators = value & 0x07
    case Command.setTypematic: typematic = value & 0x7f
    case Command.selectScanCodeSet:
      guard value <= 3 else { return [Reply.resend] }
      if value == 0 { return [Reply.acknowledge, scanCodeSet] }
      keys = []
      scanCodeSet = value
    default: break
    }
    return [Reply.acknowledge]
  }

  private mutating func setDefaults() {
    keys = []
    scanCodeSet = 2
    typematic = Self.defaultTypematic
  }
}

// MARK: - Saving and showing

extension PS2Keyboard {
  package struct Saved: Codable, Sendable {
    var keys: [UInt8]
    var answer: [UInt8]
    var isScanning: Bool
    var scanCodeSet: UInt8
    var indicators: UInt8
    var typematic: UInt8
    var expects: UInt8?
    var lastSent: UInt8
  }

  var saved: Saved {
    Saved(
      keys: keys, answer: answer, isScanning: isScanning, scanCodeSet: scanCodeSet,
      indicators: indicators, typematic: typematic, expects: expects, lastSent: lastSent)
  }

  init(_ saved: Saved) throws(RestoreError) {
    keys = saved.keys
    answer = saved.answer
    isScanning = saved.isScanning
    scanCodeSet = saved.scanCodeSet
    indicators = saved.indicators
    typematic = saved.typematic
    expects = saved.expects
    lastSent = saved.lastSent
    guard keys.count <= Self.bufferSize, answer.count <= 3, (1...3).contains(scanCodeSet),
      indicators <= 0x07, typematic <= 0x7f
    else { throw .refused(part: "i8042.keyboard", reason: "no keyboard can be in that state") }
  }

  func inspect(_ node: inout Node) {
    node.field("isScanning", isScanning)
    node.field("scanCodeSet", scanCodeSet)
    node.hex("indicators", indicators)
    node.redacted("waiting", bytes: keys.count)
  }
}
