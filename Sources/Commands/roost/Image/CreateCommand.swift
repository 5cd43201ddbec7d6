import ArgumentParser

/// `roost image create`: a new, empty disk.
struct CreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create",
    abstract: "Makes an image of an empty disk, or one that lies on another image.",
    discussion: "Sizes have a unit: 4G, 512M, 1000448B. A file that is there is not replaced.")

  @Argument(help: ArgumentHelp("The image to make.", valueName: "file"))
  var file: String

  @Argument(help: "How large the disk is. (default: as large as the backing file)")
  var size: DiskSize?

  @OptionGroup var options: NewImageOptions

  func run() throws {
    try Complaint.orEnd {
      _ = try options.make(file, size: size?.bytes, fill: nil)
    }
  }
}
