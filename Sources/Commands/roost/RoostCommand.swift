import ArgumentParser

/// The command `roost`.
@main
struct RoostCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "roost",
    abstract: "Runs virtual machines, on KVM or on a processor of its own.",
    version: "roost 0.1.0",
    subcommands: [
      RunCommand.self, ImageCommand.self, ProcessorCommand.self, DoctorCommand.self,
      VersionCommand.self,
    ])
}

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Prints which Roost this is.")

  func run() { print(RoostCommand.configuration.version) }
}
