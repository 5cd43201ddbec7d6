import Inspection
import SavedState

/// A PS/2 mouse at its end of the cable: three buttons, and, for a driver that knocks in the right
/// rhythm, a wheel and two buttons more.
///
/// Motion that the guest has not asked for yet is summed up; each change of a button is kept.
///
/// - SeeAlso: IBM *Personal System/2 Hardware Interface Technical Reference* (1988), "Mouse",
///   "Commands"; Microsoft *IntelliMouse* detection: sample rates 200, 100, 80, and for the five-button
///   *IntelliMouse Explorer* 200, 200, 80.
package struct PS2Mouse: Sendable {
  package struct Buttons: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let left = Self(rawValue: 1 << 0)
    package static let right = Self(rawValue: 1 << 1)
    package static let middle = Self(rawValue: 1 << 2)
    package static let fourth = Self(rawValue: 1 << 3)
    package static let fifth = Self(rawValue: 1 << 4)
    static let all: Self = [left, right, middle, fourth, fifth]
  }

  /// What happened while the buttons stayed as they are.
  struct Motion: Sendable, Codable, Hashable {
    /// Right, up, and towards the user.
    var x: Int32 = 0
    var y: Int32 = 0
    var wheel: Int32 = 0
    var buttons: UInt8 = 0

    var isStill: Bool { x == 0 && y == 0 && wheel == 0 }
  }

  /// What the mouse says it is.
  enum Model: UInt8, Sendable {
    case standard = 0
    case intelliMouse = 3
    case explorer = 4
  }

  /// Changes of buttons that may wait.
  static let motionsMayWait = 16
  /// Motion beyond this is not summed up.
  static let farthest: Int32 = 0x7fff

  /// Bytes on their way: the answer to a command, or the rest of a packet.
  private(set) var outgoing: [UInt8] = []
  /// What the guest has not heard of, the oldest first.
  private(set) var motions: [Motion] = []
  private(set) var buttons: Buttons = []
  private(set) var model = Model.standard
  private(set) var isReporting = false
  private(set) var isRemote = false
  private(set) var isWrapping = false
  private(set) var scalesTwoToOne = false
  private(set) var resolution: UInt8 = 2
  private(set) var sampleRate: UInt8 = 100
  /// The last three sample rates set: the knock.
  private var knock: [UInt8] = []
  private var expects: UInt8?
  private var lastSent: UInt8 = 0

  init() {}

  enum Command {
    static let setScalingOneToOne: UInt8 = 0xe6
    static let setScalingTwoToOne: UInt8 = 0xe7
    static let setResolution: UInt8 = 0xe8
    static let statusRequest: UInt8 = 0xe9
    static let setStreamMode: UInt8 = 0xea
    static let readData: UInt8 = 0xeb
    static let resetWrapMode: UInt8 = 0xec
    static let setWrapMode: UInt8 = 0xee
    static let setRemoteMode: UInt8 = 0xf0
    static let readDeviceType: UInt8 = 0xf2
    static let setSampleRate: UInt8 = 0xf3
    static let enable: UInt8 = 0xf4
    static let disable: UInt8 = 0xf5
    static let setDefaults: UInt8 = 0xf6
    static let resend: UInt8 = 0xfe
    static let reset: UInt8 = 0xff
  }

  enum Reply {
    static let acknowledge: UInt8 = 0xfa
    static let resend: UInt8 = 0xfe
    static let testPassed: UInt8 = 0xaa
  }
}

// MARK: - The user's end

extension PS2Mouse {
  /// Moves right and down, as screens count.
  mutating func move(x: Int32, y: Int32, wheel: Int32, buttons: Buttons) {
    let buttons = buttons.intersection(.all)
    let changed = buttons != self.buttons
    self.buttons = buttons
    guard isReporting || isRemote, changed || x != 0 || y != 0 || wheel != 0 else { return }
    if motions.isEmpty || changed && motions.count < Self.motionsMayWait {
      motions.append(Motion())
    }
    let last = motions.count - 1
    motions[last].x = Self.sum(motions[last].x, x)
    motions[last].y = Self.sum(motions[last].y, y == .min ? .max : -y)
    motions[last].wheel = Self.sum(motions[last].wheel, wheel)
    motions[last].buttons = buttons.rawValue
  }

  private static func sum(_ a: Int32, _ b: Int32) -> Int32 {
    min(max(Int32(clamping: Int64(a) + Int64(b)), -farthest), farthest)
  }
}

// MARK: - The controller's end

extension PS2Mouse {
  /// The next byte to the controller.
  mutating func next() -> UInt8? {
    if outgoing.isEmpty, isReporting, !isRemote, !motions.isEmpty { outgoing = packet() }
    guard let byte = outgoing.first else { return nil }
    outgoing.removeFirst()
    lastSent = byte
    return byte
  }

  /// A byte from the controller: a command, or the parameter of one. It ends what was on its way.
  mutating func receive(_ byte: UInt8) {
    if isWrapping, byte != Command.resetWrapMode, byte != Command.reset {
      outgoing = [byte]
    } else if let command = expects {
      expects = nil
      outgoing = parameter(byte, of: command)
    } else {
      outgoing = command(byte)
    }
  }

  private mutating func command(_ command: UInt8) -> [UInt8] {
    switch command {
    case Command.setScalingOneToOne: scalesTwoToOne = false
    case Command.setScalingTwoToOne: scalesTwoToOne = true
    case Command.setResolution, Command.setSampleRate: expects = command
    case Command.statusRequest: return [Reply.acknowledge, status, resolution, sampleRate]
    case Command.setStreamMode:
      isRemote = false
      motions = []
    case Command.setRemoteMode:
      isRemote = true
      motions = []
    case Command.readData: return [Reply.acknowledge] + packet()
    case Command.setWrapMode: isWrapping = true
    case Command.resetWrapMode: isWrapping = false
    case Command.readDeviceType: return [Reply.acknowledge, model.rawValue]
    case Command.enable:
      isReporting = true
      motions = []
    case Command.disable:
      isReporting = false
      motions = []
    case Command.setDefaults: setDefaults()
    case Command.resend: return [lastSent]
    case Command.reset:
      let held = buttons
      self = PS2Mouse()
      buttons = held
      return [Reply.acknowledge, Reply.testPassed, model.rawValue]
    default: return [Reply.resend]
    }
    return [Reply.acknowledge]
  }

  private mutating func parameter(_ value: UInt8, of command: UInt8) -> [UInt8] {
    if command == Command.setResolution {
      guard value <= 3 else { return [Reply.resend] }
      resolution = value
    } else {
      sampleRate = value
      knock = knock.suffix(2) + [value]
      if knock == [200, 100, 80], model == .standard { model = .intelliMouse }
      if knock == [200, 200, 80], model == .intelliMouse { model = .explorer }
    }
    return [Reply.acknowledge]
  }

  private mutating func setDefaults() {
    isReporting = false
    isRemote = false
    scalesTwoToOne = false
    resolution = 2
    sampleRate = 100
    motions = []
  }

  /// "Status Request", byte 1.
  private var status: UInt8 {
    (isRemote ? 0x40 : 0) | (isReporting ? 0x20 : 0) | (scalesTwoToOne ? 0x10 : 0)
      | (buttons.contains(.left) ? 0x04 : 0) | (buttons.contains(.middle) ? 0x02 : 0)
      | (buttons.contains(.right) ? 0x01 : 0)
  }
}

// MARK: - Packets

extension PS2Mouse {
  /// "Data Packet Format": takes as much of the oldest motion as a packet can carry.
  private mutating func packet() -> [UInt8] {
    var motion = motions.first ?? Motion(buttons: buttons.rawValue)
    let x = Self.take(&motion.x, atMost: 255)
    let y = Self.take(&motion.y, atMost: 255)
    let wheel = Self.take(&motion.wheel, atMost: 7)
    if !motions.isEmpty {
      if motion.isStill { motions.removeFirst() } else { motions[0] = motion }
    }
    var bytes = [
      motion.buttons & 0x07 | 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0),
      UInt8(truncatingIfNeeded: scaled(x)), UInt8(truncatingIfNeeded: scaled(y)),
    ]
    switch model {
    case .standard: break
    case .intelliMouse: bytes.append(UInt8(truncatingIfNeeded: wheel))
    case .explorer:
      bytes.append(UInt8(truncatingIfNeeded: wheel) & 0x0f | (motion.buttons & 0x18) << 1)
    }
    return bytes
  }

  private static func take(_ distance: inout Int32, atMost limit: Int32) -> Int32 {
    let part = min(max(distance, -limit), limit)
    distance -= part
    return part
  }

  /// "Set Scaling 2:1": small steps as the manual's table has them, larger ones doubled. Only what is
  /// reported by itself is scaled.
  private func scaled(_ distance: Int32) -> Int32 {
    guard scalesTwoToOne, !isRemote else { return distance }
    let size = distance.magnitude
    let scaled: Int32 = size < 6 ? [0, 1, 1, 3, 6, 9][Int(size)] : min(255, Int32(size) * 2)
    return distance < 0 ? -scaled : scaled
  }
}

// MARK: - Saving and showing

extension PS2Mouse {
  package struct Saved: Codable, Sendable {
    var outgoing: [UInt8]
    var motions: [Motion]
    var buttons: UInt8
    var model: UInt8
    var isReporting: Bool
    var isRemote: Bool
    var isWrapping: Bool
    var scalesTwoToOne: Bool
    var resolution: UInt8
    var sampleRate: UInt8
    var knock: [UInt8]
    var expects: UInt8?
    var lastSent: UInt8
  }

  var saved: Saved {
    Saved(
      outgoing: outgoing, motions: motions, buttons: buttons.rawValue, model: model.rawValue,
      isReporting: isReporting, isRemote: isRemote, isWrapping: isWrapping,
      scalesTwoToOne: scalesTwoToOne, resolution: resolution, sampleRate: sampleRate,
      knock: knock, expects: expects, lastSent: lastSent)
  }

  init(_ saved: Saved) throws(RestoreError) {
    guard let model = Model(rawValue: saved.model), saved.outgoing.count <= 5,
      saved.motions.count <= Self.motionsMayWait, saved.knock.count <= 3, saved.resolution <= 3,
      Buttons.all.isSuperset(of: Buttons(rawValue: saved.buttons)),
      saved.expects.map({ [Command.setResolution, Command.setSampleRate].contains($0) }) ?? true,
      saved.motions.allSatisfy({ motion in
        Buttons.all.isSuperset(of: Buttons(rawValue: motion.buttons))
          && [motion.x, motion.y, motion.wheel].allSatisfy { $0.magnitude <= Self.farthest }
      })
    else { throw .refused(part: "i8042.mouse", reason: "no mouse can be in that state") }
    self.model = model
    outgoing = saved.outgoing
    motions = saved.motions
    buttons = Buttons(rawValue: saved.buttons)
    isReporting = saved.isReporting
    isRemote = saved.isRemote
    isWrapping = saved.isWrapping
    scalesTwoToOne = saved.scalesTwoToOne
    resolution = saved.resolution
    sampleRate = saved.sampleRate
    knock = saved.knock
    expects = saved.expects
    lastSent = saved.lastSent
  }

  func inspect(_ node: inout Node) {
    node.field("model", model)
    node.field("isReporting", isReporting)
    node.field("sampleRate", sampleRate)
    node.field("motionsWaiting", motions.count)
  }
}
