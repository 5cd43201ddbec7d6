import ArgumentParser

/// `roost image`: disks in files, without a machine.
struct ImageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "image",
    abstract: "Makes and changes disk images.",
    subcommands: [BuildCommand.self, SeedCommand.self])
}
