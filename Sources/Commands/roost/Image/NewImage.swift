import Disks
import Glibc
import HostOS
import Memory
import Monitor

/// An image that is made beside its place and put there when it is whole. Until then, nothing is found under its
/// path but what was there before; if it never is, nothing of it is left. Only a device is written where it is, and
/// what was on it is gone from the beginning.
final class NewImage {
  let path: String
  /// Where it is made; `nil`: on a device.
  private let temporary: String?
  private let file: StorageFile
  /// The file that will be replaced; held, so that nobody begins to use it.
  private let old: StorageFile?
  private var isInPlace = false

  init(_ path: String, replacing: Bool) throws {
    self.path = path
    var old: StorageFile?
    if StorageFile.exists(path) {
      guard replacing else { throw Self.occupied(path) }
      old = try Complaint.about(path) { () throws(ImageError) in
        try ImageOpener(format: .raw, writable: true).openFile(path).0
      }
    }
    if let device = old, device.kind != .regular {
      temporary = nil
      file = device
      self.old = nil
      return
    }
    self.old = old
    let temporary = "\(path).\(getpid()).partial"
    self.temporary = temporary
    file = try Complaint.about(path) { () throws(ImageError) in
      do throws(HostError) {
        return try StorageFile.open(temporary, [.writable, .new])
      } catch {
        throw ImageError(error)
      }
    }
  }

  private static func occupied(_ path: String) -> ConfigurationError {
    if let file = try? StorageFile.open(path), file.kind != .regular {
      return ConfigurationError(
        path, "This is a device, and what is on it would be lost: if it may be, say --force.")
    }
    return ConfigurationError(
      path, "There is a file of this name already: name another, or replace it with --force.")
  }

  deinit { if let temporary, !isInPlace { StorageFile.remove(temporary) } }

  var isDevice: Bool { temporary == nil }

  /// Makes a raw image. A file reads as zeroes then, a device as before.
  func makeRaw(size: UInt64) throws -> any DiskImage {
    try Complaint.about(path) { () throws(ImageError) in
      try ImageLock.take(on: file)
      let room: UInt64
      do throws(HostError) {
        if !isDevice { try file.resize(to: size) }
        room = try file.size()
      } catch {
        throw ImageError(error)
      }
      guard room >= size else {
        throw .refused(
          "The device has \(MemorySize(bytes: room)), and the disk \(MemorySize(bytes: size)): name a larger one."
        )
      }
      do throws(HostError) { return try RawImage(file) } catch { throw ImageError(error) }
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

  /// What is on a device does not look like an image any more; whoever made it has ended before it was whole.
  func spoil() {
    guard isDevice, let image = try? RawImage(file) else { return }
    try? image.write(HostBuffer(count: 4096).buffers, at: 0)
    try? image.flush()
  }

  /// Gives the image, which was flushed, its name.
  func putIntoPlace() throws {
    if let temporary { try StorageFile.move(temporary, to: path, replacing: old != nil) }
    isInPlace = true
  }
}
