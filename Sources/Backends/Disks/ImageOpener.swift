package import HostOS

/// How an image is to be opened; the one way in which images are, with all that lies beneath them.
package struct ImageOpener: Sendable {
  /// What the user said it is. Without it the content decides, for an image that is only read.
  package var format: ImageFormat?
  /// What the user writes before a format's name to say it; for the sentence of a refusal.
  package var formatOption = ImageOpener.formatOption
  package var isWritable: Bool
  package var cache: CacheMode
  package var sharing: ImageLock.Sharing
  /// The ID or name of an internal snapshot that is read instead of the disk.
  package var snapshot: String?
  /// Without, an image can be examined and changed as a whole, but not read where it stores nothing.
  package var opensBacking = true

  /// The option of most commands that takes a format.
  package static let formatOption = "--image-format "

  package init(
    format: ImageFormat? = nil, writable: Bool = false, cache: CacheMode = .writeback,
    sharing: ImageLock.Sharing = .guarded, snapshot: String? = nil
  ) {
    self.format = format
    isWritable = writable
    self.cache = cache
    self.sharing = sharing
    self.snapshot = snapshot
  }

  package func open(_ path: String) throws(ImageError) -> any DiskImage {
    let (file, format) = try openFile(path)
    return try open(file, as: format)
  }

  /// Opens the image in a file that `openFile` gave.
  package func open(
    _ file: StorageFile, as format: ImageFormat
  ) throws(ImageError) -> any DiskImage {
    try image(in: file, format, BackingChain(file), depth: 0)
  }

  /// What opens the backing file of an image that is made in a file.
  package func resolver(below file: StorageFile) -> any BackingResolver {
    BackingOpener(above: self, chain: BackingChain(file))
  }

  /// Where a backing file lies that an image names.
  package static func path(
    of backing: String, namedBy path: String
  ) throws(ImageError) -> String {
    try BackingChain.resolve(backing, beside: path)
  }

  /// Opens the image's file, locked, and says which format it has.
  package func openFile(_ path: String) throws(ImageError) -> (StorageFile, ImageFormat) {
    guard snapshot == nil || !isWritable else {
      throw .refused("A snapshot is there to be read: open the image to read only.")
    }
    var options: StorageFile.Options = isWritable ? .writable : []
    if cache == .direct { options.insert(.direct) }
    let file: StorageFile
    do throws(HostError) { file = try .open(path, options) } catch { throw ImageError(error) }
    if sharing == .guarded { try ImageLock.take(on: file) }
    return (file, try chooseFormat(of: file))
  }

  private func chooseFormat(of file: StorageFile) throws(ImageError) -> ImageFormat {
    if let format { return format }
    return try ImageFormat.choose(
      said: nil, appearance: ImageFormat.appearance(of: file), writable: isWritable,
      path: file.path, option: formatOption)
  }

  private func image(
    in file: StorageFile, _ format: ImageFormat, _ chain: BackingChain, depth: Int
  ) throws(ImageError) -> any DiskImage {
    switch format {
    case .raw:
      guard snapshot == nil else { throw .refused("A raw image has no snapshots.") }
      do throws(HostError) { return try RawImage(file, cache: cache) } catch {
        throw ImageError(error)
      }
    case .qcow2:
      let image = try QCOW2Image.open(
        HostImageFile(file, cache: cache), readOnly: !isWritable, snapshot: snapshot, depth: depth,
        backing: opensBacking ? BackingOpener(above: self, chain: chain) : nil)
      return isWritable && cache == .writethrough ? DurableImage(image) : image
    }
  }

  /// Opens the files that images of a chain name.
  private struct BackingOpener: BackingResolver {
    let above: ImageOpener
    let chain: BackingChain

    func open(_ reference: BackingReference) throws(ImageError) -> any DiskImage {
      guard above.format != nil else {
        throw .refused(
          "Its content alone says that it is a qcow2 image, and that it lies on \"\(reference.name)\": if it does, "
            + "say \(above.formatOption)qcow2.")
      }
      let (file, below) = try chain.open(
        reference.name, sharing: above.sharing, direct: above.cache == .direct)
      var opener = ImageOpener(
        format: try ImageFormat(reference), cache: above.cache, sharing: above.sharing)
      // It is the image above that says it.
      opener.formatOption = "\"roost image rebase --unsafe\" --backing-format "
      let format = try opener.chooseFormat(of: file)
      do throws(ImageError) {
        return try opener.image(in: file, format, below, depth: reference.depth)
      } catch {
        throw .refused("The backing file \"\(file.path)\" cannot be opened. \(error)")
      }
    }
  }
}

extension ImageFormat {
  /// The format that an image says its backing file has; `nil`: it does not say.
  package init?(_ reference: BackingReference) throws(ImageError) {
    guard let name = reference.format else { return nil }
    guard let format = ImageFormat(rawValue: name) else {
      throw .refused(
        "The backing file \"\(reference.name)\" is said to be of the format \"\(name)\", which Roost does not read."
      )
    }
    self = format
  }
}
