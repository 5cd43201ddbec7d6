import ArgumentParser
import Disks
import Monitor

/// `roost image rebase`: another image beneath.
struct RebaseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebase",
    abstract: "Lays a qcow2 image on another backing file, or on none.",
    discussion: """
      What differs between the old backing file and the new one is copied into the image first, so that the disk stays \
      the same.
      """)

  @OptionGroup var image: ImageOptions

  @Option(
    help: ArgumentHelp(
      "The new backing file, relative to the image's folder; \"\" for none.", valueName: "file"))
  var backing: String

  @Option(
    help: ArgumentHelp(
      "The new backing file's format. (default: as its name ends)", valueName: "format"))
  var backingFormat: ImageFormat?

  @Flag(help: "Only changes the name: the new file is the old one under another name.")
  var unsafe = false

  func run() throws {
    try Complaint.orEnd {
      let name = backing.isEmpty ? nil : backing
      let format = try name.map { (name) throws(ConfigurationError) in
        try NewImageOptions.backingFormat(backingFormat, name)
      }
      let opened = try image.openQCOW2(writable: true, backing: !unsafe)
      if unsafe {
        return try Complaint.about(image.file) { () throws(ImageError) in
          try opened.renameBacking(to: name, format: format?.rawValue)
        }
      }
      let progress = ProgressBar("Rebased")
      defer { progress.clear() }
      try Complaint.about(image.file) { () throws(ImageError) in
        let new = try name.map { (name) throws(ImageError) in
          try ImageOpener(format: format).open(ImageOpener.path(of: name, namedBy: image.file))
        }
        try opened.rebase(to: name, format: format?.rawValue, showing: new) {
          _ = progress.report($0, of: opened.size)
        }
      }
      progress.end()
    }
  }
}
