package import HostOS

/// The images from the one a guest writes down to one of those it lies on: finds and opens the next below.
///
/// A backing file is named by an image, which may come from anywhere. So it is opened to be read only, looked for
/// beside the image that names it, and a name that is no path of a file is refused; the chain has an end, and no image
/// twice.
package struct BackingChain: Sendable {
  private let path: String
  private let images: [FileIdentity]

  /// Images in a chain, at most.
  package static let limit = 64

  /// The chain of one image.
  package init(_ top: StorageFile) {
    path = top.path
    images = [top.identity]
  }

  private init(_ file: StorageFile, below chain: BackingChain) {
    path = file.path
    images = chain.images + [file.identity]
  }

  /// Opens what the lowest image names as its backing file; with the chain that ends in it.
  ///
  /// - Parameter name: as it stands in the image: an absolute path, or one relative to the image's folder.
  package func open(
    _ name: String, sharing: ImageLock.Sharing = .guarded, direct: Bool = false
  ) throws(ImageError) -> (StorageFile, BackingChain) {
    guard images.count < Self.limit else {
      throw .refused("\"\(path)\" has a chain of more than \(Self.limit) images.")
    }
    let place = try Self.resolve(name, beside: path)
    let file: StorageFile
    do throws(HostError) {
      file = try StorageFile.open(place, direct ? .direct : [])
    } catch {
      throw .refused("The backing file of \"\(path)\" is missing: Roost \(error).")
    }
    guard !images.contains(file.identity) else {
      throw .refused("\"\(path)\" has \"\(name)\" as its backing file, which lies on it.")
    }
    if sharing == .guarded { try ImageLock.take(on: file) }
    return (file, BackingChain(file, below: self))
  }

  /// The path of a file that an image names.
  static func resolve(_ name: String, beside path: String) throws(ImageError) -> String {
    guard !name.isEmpty, name.utf8.count <= 4095, !name.utf8.contains(0) else {
      throw .refused("\"\(path)\" names a backing file in a way that no file is named.")
    }
    // What QEMU would take for a protocol: a colon before any slash.
    let first = name.prefix { $0 != "/" }
    guard !first.contains(":") else {
      throw .refused("\"\(path)\" has the backing file \"\(name)\", and Roost opens files alone.")
    }
    if name.hasPrefix("/") { return name }
    guard let slash = path.lastIndex(of: "/") else { return name }
    return String(path[...slash]) + name
  }
}
