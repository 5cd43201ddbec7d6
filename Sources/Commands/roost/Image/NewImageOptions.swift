import ArgumentParser
import Disks
import HostOS
import Monitor

/// What a new image shall be like: of `create`, `convert` and whoever else makes one.
struct NewImageOptions: ParsableArguments {
  enum Compatibility: String, ExpressibleByArgument, CaseIterable { case v2, v3 }
  enum Compression: String, ExpressibleByArgument, CaseIterable { case zlib, zstd }
  enum Preallocation: String, ExpressibleByArgument, CaseIterable { case off, metadata }

  @Option(
    help: ArgumentHelp(
      "What to make: raw or qcow2. (default: as the file's name ends)", valueName: "format"))
  var format: ImageFormat?

  @Flag(help: "Replaces a file of the same name, or what is on a device.")
  var force = false

  @Option(
    help: ArgumentHelp(
      "What shows through where the image stores nothing; its path, relative to the image's folder.",
      valueName: "file"))
  var backing: String?

  @Option(
    help: ArgumentHelp(
      "The backing file's format. (default: as its name ends)", valueName: "format"))
  var backingFormat: ImageFormat?

  @Option(help: "A cluster's size, from 512B to 2M. (default: 64K)")
  var clusterSize: DiskSize?

  @Option(help: ArgumentHelp("1, 2, 4, 8, 16, 32 or 64. (default: 16)", valueName: "bits"))
  var refcountBits: Int?

  @Flag(help: "Lets programs that wish count references late.")
  var lazyRefcounts = false

  @Flag(name: .customLong("extended-l2"), help: "Divides clusters into 32 subclusters.")
  var extendedL2 = false

  @Option(help: "How compressed clusters are compressed: zlib or zstd. (default: zlib)")
  var compression: Compression?

  @Option(help: "The format's version: v2 or v3. (default: v3)")
  var compat: Compatibility?

  @Option(help: "What to prepare: off, or metadata: all clusters have their place. (default: off)")
  var preallocation: Preallocation?

  func format(for path: String) throws(ConfigurationError) -> ImageFormat {
    if let format = ImageFormat.said(format, path) { return format }
    throw ConfigurationError(
      path, "The file's name does not tell its format: add --format raw or --format qcow2.")
  }

  /// Makes an image of `size` bytes, or as large as its backing file, and has `fill` write to it. It is put into
  /// place if that goes well.
  ///
  /// - Parameter fill: hears whether the image reads as zeroes, and answers whether it came to its end. Without it
  ///   the image stays empty.
  func make(
    _ path: String, size: UInt64?, fill: ((_ image: any DiskImage, _ isZero: Bool) throws -> Bool)?
  ) throws -> Bool {
    let format = try format(for: path)
    if format == .raw { try refuseForRaw() }
    let size = try size ?? backingSize(path)
    try DiskSize(bytes: size).check()
    let new = try NewImage(path, replacing: force)
    guard !new.isDevice || format != .raw || fill != nil else {
      throw ConfigurationError(
        path, "This is a device, and a raw disk as it is: there is nothing to make.")
    }
    let image =
      switch format {
      case .raw: try new.makeRaw(size: size)
      case .qcow2: try new.makeQCOW2(qcow2(path, size: size))
      }
    var isWhole = false
    defer { if !isWhole { new.spoil() } }
    if let fill, try !fill(image, format != .raw || !new.isDevice) { return false }
    try Complaint.about(path) { () throws(ImageError) in
      do throws(DiskError) { try image.flush() } catch { throw .disk(error) }
    }
    isWhole = true
    try new.putIntoPlace()
    return true
  }

  private func refuseForRaw() throws(ConfigurationError) {
    for (name, isThere) in [
      ("--backing", backing != nil), ("--backing-format", backingFormat != nil),
      ("--cluster-size", clusterSize != nil), ("--refcount-bits", refcountBits != nil),
      ("--lazy-refcounts", lazyRefcounts), ("--extended-l2", extendedL2),
      ("--compression", compression != nil), ("--compat", compat != nil),
      ("--preallocation", preallocation == .metadata),
    ] where isThere {
      throw ConfigurationError(name, "A raw image has nothing of the kind: use --format qcow2.")
    }
  }

  private func qcow2(_ path: String, size: UInt64) throws(ConfigurationError) -> QCOW2Options {
    var options = QCOW2Options(size: size)
    if compat == .v2 { options.version = 2 }
    if let clusterSize { options.clusterSize = Int(clamping: clusterSize.bytes) }
    if let refcountBits { options.refcountBits = refcountBits }
    options.hasLazyRefcounts = lazyRefcounts
    options.hasExtendedEntries = extendedL2
    if compression == .zstd { options.compression = .zstd }
    if preallocation == .metadata { options.preallocation = .metadata }
    options.backingName = backing
    options.backingFormat = try saidBackingFormat()?.rawValue
    return options
  }

  /// An image says what its backing file is, so that nobody has to guess.
  private func saidBackingFormat() throws(ConfigurationError) -> ImageFormat? {
    guard let backing else {
      if backingFormat == nil { return nil }
      throw ConfigurationError("--backing-format", "There is no --backing that it could be of.")
    }
    return try Self.backingFormat(backingFormat, backing)
  }

  /// The format of a backing file, which the user says or its name tells.
  static func backingFormat(
    _ said: ImageFormat?, _ backing: String
  ) throws(ConfigurationError) -> ImageFormat {
    if let format = ImageFormat.said(said, backing) { return format }
    throw ConfigurationError(
      "--backing \(backing)",
      "The file's name does not tell its format: add --backing-format raw or --backing-format qcow2."
    )
  }

  private func backingSize(_ path: String) throws -> UInt64 {
    guard let backing, let format = try saidBackingFormat() else {
      throw ConfigurationError(path, "Say how large the disk shall be, as in 4G.")
    }
    return try Complaint.about(path) { () throws(ImageError) in
      try ImageOpener(format: format).open(ImageOpener.path(of: backing, namedBy: path)).size
    }
  }
}
