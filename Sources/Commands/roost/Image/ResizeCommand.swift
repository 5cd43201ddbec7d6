import ArgumentParser
import Disks
import Monitor

/// `roost image resize`: a larger or smaller disk.
struct ResizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resize",
    abstract: "Makes a disk larger or smaller.",
    discussion: "What is new reads as zeroes. A smaller disk loses what lay behind its new end.")

  @OptionGroup var image: ImageOptions

  @Argument(
    parsing: .allUnrecognized,
    help: "The new size, or by how much it changes: 8G, +1G, -512M.")
  var size: [String]

  @Flag(help: "Lets the disk lose what lies behind its new end.") var shrink = false

  func validate() throws {
    guard size.count == 1, DiskSizeChange(argument: size[0]) != nil else {
      throw ValidationError("Write one size with a unit: 8G, +1G or -512M.")
    }
  }

  func run() throws {
    try Complaint.orEnd {
      guard let change = DiskSizeChange(argument: size[0]) else { return }
      let (old, format) = try look()
      let new = try change.applied(to: old)
      guard new >= old || shrink else {
        throw ConfigurationError(
          image.file,
          "The disk has \(MemorySize(bytes: old)), and what lies beyond \(MemorySize(bytes: new)) would be lost: "
            + "if it may be, say --shrink.")
      }
      switch format {
      case .raw:
        try Complaint.about(image.file) { () throws(ImageError) in
          try RawImage.resize(image.file, to: new, allowingLoss: shrink)
        }
      case .qcow2:
        let opened = try image.openQCOW2(writable: true)
        try Complaint.about(image.file) { () throws(ImageError) in
          try opened.resize(to: new, mayShrink: shrink)
          do throws(DiskError) { try opened.flush() } catch { throw .disk(error) }
        }
      }
    }
  }

  /// The disk's size and the image's format, which is known before anything is written.
  private func look() throws -> (UInt64, ImageFormat) {
    let opener = ImageOpener(format: image.said, writable: true)
    let format = try Complaint.about(image.file) { () throws(ImageError) in
      try opener.openFile(image.file).1
    }
    return (try image.open().size, format)
  }
}
