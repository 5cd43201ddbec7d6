import ArgumentParser
import FoundationEssentials
import HostOS

/// `roost doctor`: what this host can do for a machine, and what to do about what it cannot.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Checks this host and says what to do about what is missing.",
    discussion: """
      Prints a line for each check, a remedy where there is one, and the engine that --engine auto takes. Ends \
      with 0 if Roost can run guests here, and with 74 if not.
      """)

  @Flag(help: "Prints the checks as JSON.")
  var json = false

  func run() throws {
    let checkup = Checkup(.gather())
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(checkup), as: UTF8.self))
    } else {
      let hasColours =
        Descriptor.standardOutput.isTerminal
        && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
      print(checkup.text(coloured: hasColours))
    }
    if !checkup.canRunGuests { throw ExitCode(Ending.Failure.host.rawValue) }
  }
}

extension Checkup {
  /// A line for each check, one below it for its remedy, and last which engine there will be.
  func text(coloured: Bool) -> String {
    let width = checks.map(\.name.count).max() ?? 0
    var lines: [String] = []
    for check in checks {
      let name = check.name.padded(to: width)
      lines.append("\(check.state.mark(coloured: coloured))  \(name)  \(check.finding)")
      if let remedy = check.remedy {
        lines.append(String(repeating: " ", count: Check.State.markWidth + width + 4) + remedy)
      }
    }
    lines.append("")
    lines.append("--engine auto takes \(engine): \(reason).")
    return lines.joined(separator: "\n")
  }
}

extension Check.State {
  fileprivate static let markWidth = "warning".count

  fileprivate func mark(coloured: Bool) -> String {
    let word = rawValue.padded(to: Self.markWidth)
    guard coloured else { return word }
    let colour =
      switch self {
      case .ok: 32
      case .warning: 33
      case .failed: 31
      case .skipped: 90
      }
    return "\u{1b}[\(colour)m\(word)\u{1b}[0m"
  }
}
