import ArgumentParser

/// `roost cpu step`: instructions from given states, one JSON object a line.
struct StepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Carries out instructions from given states, one JSON object a line.",
    discussion: """
      Each line of standard input says what the processor starts from, for example
        {"mode":"long64","registers":{"rax":1,"rip":"0x1000"},"memory":[{"address":"0x1000","bytes":"48ffc0"}]}
      and is answered by a line that says what it is then. Documentation/ProcessorSteps.md has all members.

      \(LineEnding.table)
      """)

  @OptionGroup var processor: ProcessorModelOption

  func run() throws {
    try LineEnding.conclude {
      let machine = try StepMachine(model: try processor.model())
      return try LineExchange.run { line in Self.answer(line, machine) }
    }
  }

  /// The answer to a line, and whether it was good.
  static func answer(_ line: [UInt8], _ machine: StepMachine) -> (text: String, isGood: Bool) {
    var id: JSONText?
    do throws(StepProblem) {
      let json = try JSONText(line)
      if case .object(let members) = json { id = members["id"] }
      let request = try StepRequest(json)
      return (StepAnswer.outcome(try machine.run(request), request, id: id), true)
    } catch {
      return (StepAnswer.error(error.description, id: id), false)
    }
  }
}
