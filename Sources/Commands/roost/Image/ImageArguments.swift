import ArgumentParser
import Disks
import Monitor

extension ImageFormat: ExpressibleByArgument {}
extension CacheMode: ExpressibleByArgument {}

extension ImageFormat {
  /// What the user says of an image's format: by an option, or by the file's name.
  static func said(_ option: ImageFormat?, _ path: String) -> ImageFormat? {
    option ?? ImageFormat(named: path)
  }
}

/// A disk's size as users write it: `4G`, and `1000448B` for what no unit divides.
struct DiskSize: ExpressibleByArgument, Equatable {
  let bytes: UInt64

  init(bytes: UInt64) { self.bytes = bytes }

  init?(argument: String) {
    if argument.last == "B", let bytes = UInt64(argument.dropLast()) {
      self.bytes = bytes
    } else if let size = try? MemorySize(parsing: argument) {
      bytes = size.bytes
    } else {
      return nil
    }
  }

  /// A file's length is a signed number of 64 bits, and a disk a number of sectors.
  func check() throws(ConfigurationError) {
    guard bytes <= 1 << 62 else { throw ConfigurationError("\(bytes)B", "No disk is that large.") }
    guard bytes % 512 == 0 else {
      throw ConfigurationError("\(bytes)B", "A disk's size is a multiple of 512 bytes.")
    }
  }
}

/// A size, or by how much it is to change: `4G`, `+1G`, `-512M`.
struct DiskSizeChange: ExpressibleByArgument, Equatable {
  enum Direction { case to, up, down }
  let direction: Direction
  let size: DiskSize

  init?(argument: String) {
    let sign = argument.first
    direction = sign == "+" ? .up : sign == "-" ? .down : .to
    guard let size = DiskSize(argument: direction == .to ? argument : String(argument.dropFirst()))
    else { return nil }
    self.size = size
  }

  func applied(to old: UInt64) throws(ConfigurationError) -> UInt64 {
    let (result, overflow) =
      switch direction {
      case .to: (size.bytes, false)
      case .up: old.addingReportingOverflow(size.bytes)
      case .down: old.subtractingReportingOverflow(size.bytes)
      }
    guard !overflow else {
      throw ConfigurationError(
        "\(MemorySize(bytes: old))", "The disk cannot change by \(MemorySize(bytes: size.bytes)).")
    }
    try DiskSize(bytes: result).check()
    return result
  }
}

/// The existing image that a command is about.
struct ImageOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("The image.", valueName: "file"))
  var file: String

  @Option(
    help: ArgumentHelp(
      "What the image is: raw or qcow2. (default: as its name ends, or its content looks, if it is only read)",
      valueName: "format"))
  var imageFormat: ImageFormat?

  var said: ImageFormat? { ImageFormat.said(imageFormat, file) }

  func open(_ opener: ImageOpener = ImageOpener()) throws -> any DiskImage {
    var opener = opener
    opener.format = said
    return try Complaint.about(file) { () throws(ImageError) in try opener.open(file) }
  }

  /// Opens an image of the only format that has what the command is about.
  func openQCOW2(writable: Bool = false, backing: Bool = true) throws -> QCOW2Image {
    guard imageFormat != .raw else {
      throw ConfigurationError(
        file, "Raw images have nothing of the kind; this is for qcow2 images.")
    }
    return try Complaint.about(file) { () throws(ImageError) in
      var opener = ImageOpener(format: .qcow2, writable: writable)
      opener.opensBacking = backing
      guard let image = try opener.open(file) as? QCOW2Image else {
        throw .refused("This is not a qcow2 image.")
      }
      return image
    }
  }
}
