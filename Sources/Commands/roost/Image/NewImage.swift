import Disks
import Glibc
import HostOS
import Monitor

/// An image that is made beside its place and put there when it is whole. Until then, nothing is found under its
/// path but what was there before; if it never is, nothing of it is left.
final class NewImage {
  let path: String
  private let temporary: String
  private let file: StorageFile
  /// The file that will be replaced; held, so that nobody begins to use it.
  private let old: StorageFile?
  private var isInPlace = false

  init(_ path: String, replacing: Bool) throws {
    self.path = path
    if StorageFile.exists(path) {
      guard replacing else {
        throw ConfigurationError(
          path, "There is a file of this name already: name another, or replace it with --force.")
      }
      old = try Complaint.about(path) { () throws(ImageError) in
        let (file, _) = try ImageOpener(format: .raw, writable: true).openFile(path)
        guard file.kind == .regular else {
          throw .refused("This is a device, which no file can replace.")
        }
        return file
      }
    } else {
      old = nil
    }
    temporary = "\(path).\(getpid()).partial"
    file = try Complaint.about(path) { [temporary] () throws(ImageError) in
      do throws(HostError) {
        return try StorageFile.open(temporary, [.writable, .new])
      } catch {
        throw ImageError(error)
      }
    }
  }

  deinit { if !isInPlace { StorageFile.remove(temporary) } }

  /// Makes a raw image.
  func makeRaw(size: UInt64) throws -> any DiskImage {
    try Complaint.about(path) { () throws(ImageError) in
      try ImageLock.take(on: file)
      do throws(HostError) {
        try file.resize(to: size)
        return try RawImage(file)
      } catch {
        throw ImageError(error)
      }
    }
  }

  /// Makes a qcow2 image over its backing file, if it has one.
  func makeQCOW2(_ options: QCOW2Options) throws -> QCOW2Image {
    try Complaint.about(path) { () throws(ImageError) in
      try ImageLock.take(on: file)
      return try QCOW2Image.create(
        options, in: HostImageFile(file), backing: ImageOpener(format: .qcow2).resolver(below: file)
      )
    }
  }

  /// Gives the image, which was flushed, its name.
  func putIntoPlace() throws {
    try StorageFile.move(temporary, to: path, replacing: old != nil)
    isInPlace = true
  }
}
