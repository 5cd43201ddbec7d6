import ArgumentParser

/// `roost image`: disks in files, without a machine.
struct ImageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "image",
    abstract: "Makes, examines and changes disk images.",
    subcommands: [
      CreateCommand.self, InfoCommand.self, CheckCommand.self, ConvertCommand.self,
      CompareCommand.self, ResizeCommand.self, CommitCommand.self, RebaseCommand.self,
      MapCommand.self, SnapshotsCommand.self, BenchCommand.self, BuildCommand.self,
      SeedCommand.self,
    ])
}
