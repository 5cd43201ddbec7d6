import ArgumentParser
import Disks
import HostOS
import Monitor

/// `roost image commit`: what an image stores goes into the one beneath.
struct CommitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commit",
    abstract: "Writes what a qcow2 image stores into its backing file, and empties the image.",
    discussion: "Other images that lie on the same backing file show something else afterwards.")

  @OptionGroup var image: ImageOptions

  @Option(
    help: ArgumentHelp(
      "The backing file's format. (default: as the image says)", valueName: "format"))
  var backingFormat: ImageFormat?

  @Flag(help: "Leaves the image as it is.") var keep = false

  func run() throws {
    try Complaint.orEnd {
      // The image beneath is opened to be written, once; so it is not opened to be read.
      let top = try image.openQCOW2(writable: !keep, backing: false)
      let target = try openBacking(of: top)
      let progress = ProgressBar("Committed")
      defer { progress.clear() }
      try Complaint.about(image.file) { () throws(ImageError) in
        try top.commit(into: target, emptying: !keep) {
          _ = progress.report($0, of: top.size)
        }
      }
      progress.end()
    }
  }

  private func openBacking(of top: QCOW2Image) throws -> any DiskImage {
    try Complaint.about(image.file) { () throws(ImageError) in
      let info = try top.info
      guard let name = info.backingName else {
        throw .refused("The image lies on no other.")
      }
      let reference = BackingReference(name: name, format: info.backingFormat, depth: 1)
      let said = if let backingFormat { backingFormat } else { try ImageFormat(reference) }
      let path = try ImageOpener.path(of: name, namedBy: image.file)
      var opener = ImageOpener(format: said, writable: true)
      opener.formatOption = "--backing-format "
      let (file, format) = try opener.openFile(path)
      guard format == .raw, try size(of: file) < top.size else {
        return try opener.open(file, as: format)
      }
      return try grow(file, to: top.size)
    }
  }

  private func size(of file: StorageFile) throws(ImageError) -> UInt64 {
    do throws(HostError) { return try file.size() } catch { throw ImageError(error) }
  }

  /// A raw image becomes as large as the disk that is written into it.
  private func grow(_ file: StorageFile, to size: UInt64) throws(ImageError) -> RawImage {
    guard file.kind == .regular else {
      throw .refused("The backing file \"\(file.path)\" is a device, and smaller than the image.")
    }
    do throws(HostError) {
      try file.resize(to: size)
      return try RawImage(file)
    } catch {
      throw ImageError(error)
    }
  }
}
