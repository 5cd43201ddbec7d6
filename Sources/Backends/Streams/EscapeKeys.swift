/// What a person at the terminal may ask of the machine.
package enum ConsoleCommand: Sendable, Hashable {
  case quit, pause, resume, reset, powerButton, nmi, registers, changeEngine
  case inspect(path: String)
  case save(path: String)
  /// A device and its value, as on the command line.
  case plug(device: String)
  case unplug(name: String)
}

/// Tells a person's commands from keys that are meant for the guest.
///
/// The escape key makes the next key a command; pressed twice it reaches the guest. Commands that need a
/// path or a name ask for it on a line of their own.
package struct EscapeKeys: Sendable {
  /// What a key led to.
  package enum Effect: Sendable, Hashable {
    case toGuest([UInt8])
    case command(ConsoleCommand)
    /// Text for the screen; its lines end in a line feed.
    case show(String)
  }

  private enum Mode: Sendable {
    case guest
    case command
    /// Typing what a command needs.
    case line(Question, [UInt8])
  }

  private enum Question: Sendable {
    case inspect, save, plug, unplug

    var prompt: String {
      switch self {
      case .inspect: "inspect which part (empty: the machine): "
      case .save: "save to which file: "
      case .plug: "plug in which device (such as disk path=data.raw,bus=rp0): "
      case .unplug:
        "unplug which device (such as disk1; with ! behind it, without asking the guest): "
      }
    }
  }

  private var mode = Mode.guest

  package init() {}

  /// Ctrl-]: the key of telnet, virsh and machinectl, and seldom one of the guest's.
  static let escape: UInt8 = 0x1d

  /// What to say before the guest starts.
  package static let announcement = "The escape key is Ctrl-]; Ctrl-] h lists what it can do.\n"

  private static let help = """

    Ctrl-] then
      h  this list                    q  stop the machine and leave
      p  pause                        r  resume
      o  press the power button       t  reset
      n  send an NMI                  g  show the processors' registers
      i  inspect a part               s  save the machine to a file
      +  plug in a device             -  unplug one
      e  change the engine: from KVM to the software engine, or back
      Ctrl-]  send Ctrl-] to the guest

    """

  /// Takes keys as they were typed.
  package mutating func take(_ keys: some Sequence<UInt8>) -> [Effect] {
    var effects: [Effect] = []
    for key in keys {
      switch mode {
      case .guest:
        if key == Self.escape { mode = .command } else { effects.appendToGuest(key) }
      case .command:
        mode = .guest
        command(key, &effects)
      case .line(let question, let typed):
        line(question, typed, key, &effects)
      }
    }
    return effects
  }

  private mutating func command(_ key: UInt8, _ effects: inout [Effect]) {
    switch key {
    case Self.escape: effects.appendToGuest(key)
    case UInt8(ascii: "q"): effects.append(.command(.quit))
    case UInt8(ascii: "p"): effects.append(.command(.pause))
    case UInt8(ascii: "r"): effects.append(.command(.resume))
    case UInt8(ascii: "o"): effects.append(.command(.powerButton))
    case UInt8(ascii: "t"): effects.append(.command(.reset))
    case UInt8(ascii: "n"): effects.append(.command(.nmi))
    case UInt8(ascii: "g"): effects.append(.command(.registers))
    case UInt8(ascii: "e"): effects.append(.command(.changeEngine))
    case UInt8(ascii: "i"): ask(.inspect, &effects)
    case UInt8(ascii: "s"): ask(.save, &effects)
    case UInt8(ascii: "+"): ask(.plug, &effects)
    case UInt8(ascii: "-"): ask(.unplug, &effects)
    default: effects.append(.show(Self.help))
    }
  }

  private mutating func ask(_ question: Question, _ effects: inout [Effect]) {
    mode = .line(question, [])
    effects.append(.show("\n" + question.prompt))
  }

  private mutating func line(
    _ question: Question, _ typed: [UInt8], _ key: UInt8, _ effects: inout [Effect]
  ) {
    var typed = typed
    switch key {
    case 0x0d, 0x0a:  // Enter
      mode = .guest
      effects.append(.show("\n"))
      let text = String(decoding: typed, as: UTF8.self)
      switch question {
      case .inspect: effects.append(.command(.inspect(path: text)))
      case .save: if !text.isEmpty { effects.append(.command(.save(path: text))) }
      case .plug: if !text.isEmpty { effects.append(.command(.plug(device: text))) }
      case .unplug: if !text.isEmpty { effects.append(.command(.unplug(name: text))) }
      }
      return
    case 0x03, 0x1b, Self.escape:  // Ctrl-C, Esc
      mode = .guest
      effects.append(.show(" (given up)\n"))
      return
    case 0x08, 0x7f:  // Backspace
      // One character may be several bytes; what continues one begins with the bits 10.
      while let last = typed.popLast(), last & 0xc0 == 0x80 {}
      effects.append(.show("\r\u{1b}[K" + question.prompt + String(decoding: typed, as: UTF8.self)))
    case 0x20...:
      guard typed.count < 1024 else { break }
      typed.append(key)
      effects.append(.show(key < 0x80 ? String(UnicodeScalar(key)) : ""))
    default: break
    }
    mode = .line(question, typed)
  }
}

extension [EscapeKeys.Effect] {
  fileprivate mutating func appendToGuest(_ key: UInt8) {
    if case .toGuest(let keys) = last {
      self[count - 1] = .toGuest(keys + [key])
    } else {
      append(.toGuest([key]))
    }
  }
}
