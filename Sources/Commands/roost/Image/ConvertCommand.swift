import ArgumentParser
import Disks
import HostOS
import Monitor

/// `roost image convert`: a copy of a disk, in whatever format.
struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Copies a disk into a new image, whole and without what lies beneath it.",
    discussion: """
      What is zero takes no storage in the copy. With --backing the copy stores what differs from the backing file. \
      The target appears under its name when it is whole; a device, if it is large enough, is written where it is.
      """)

  @Argument(help: "The image to read.") var source: String
  @Argument(help: "The image to make.") var target: String

  @Option(
    help: ArgumentHelp(
      "What the source is: raw or qcow2. (default: as its name ends, or its content looks)",
      valueName: "format"))
  var sourceFormat: ImageFormat?

  @Option(
    help: ArgumentHelp("A snapshot in the source to read instead of the disk.", valueName: "name"))
  var snapshot: String?

  @Flag(help: "Compresses the copy, a qcow2 image.")
  var compress = false

  @OptionGroup var options: NewImageOptions

  func run() throws {
    try Complaint.orEnd {
      guard try !compress || options.format(for: target) == .qcow2 else {
        throw ConfigurationError(
          "--compress", "A raw image cannot be compressed: use --format qcow2.")
      }
      let image = try Complaint.about(source) { () throws(ImageError) in
        var opener = ImageOpener(
          format: ImageFormat.said(sourceFormat, source), snapshot: snapshot)
        opener.formatOption = "--source-format "
        return try opener.open(source)
      }
      try Interruption.watched {
        try options.make(target, size: image.size) { made, isZero in
          try copy(image, to: made, isZero: isZero)
        }
      }
    }
  }

  private func copy(
    _ image: any DiskImage, to made: any DiskImage, isZero: Bool
  ) throws -> Bool {
    var copy = ImageCopy()
    copy.isTargetZero = isZero
    // A device may be longer than the disk: what lies behind is nobody's.
    copy.clearsRest = isZero
    var target = made
    if compress, let made = made as? QCOW2Image { target = CompressedWrites(to: made) }
    if options.backing != nil {
      target = DifferingWrites(to: target)
      copy.isTargetZero = false
    }
    return try copy.run(from: image, to: target, named: source, "Converted")
  }
}

extension ImageCopy {
  /// Runs with a bar that shows how far it has come.
  func run(
    from source: any DiskImage, to target: any DiskImage, named name: String, _ verb: String
  ) throws -> Bool {
    let progress = ProgressBar(verb)
    defer { progress.clear() }
    let isDone = try Complaint.about(name) { () throws(ImageError) in
      try run(from: source, to: target) { progress.report($0.done, of: $0.total) }
    }
    if isDone { progress.end() }
    return isDone
  }
}
