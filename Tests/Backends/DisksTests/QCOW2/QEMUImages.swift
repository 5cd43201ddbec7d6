import Disks
import Foundation
import HostOS
import Kit
import Testing

/// `qemu-img`, where it is installed, and a folder for its files.
final class QEMUImages {
  static let path = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }
  static var isThere: Bool { path != nil }
  static let absence: Comment = "qemu-img is not installed: nothing to compare with"

  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "qcow2-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appending(path: name).path }

  func put(_ bytes: [UInt8], _ name: String) throws {
    try Data(bytes).write(to: folder.appending(path: name))
  }

  func bytes(_ name: String) throws -> [UInt8] {
    try Array(Data(contentsOf: folder.appending(path: name)))
  }

  /// Runs `qemu-img` in the folder. Answers its exit code and what it wrote.
  @discardableResult
  func run(_ arguments: String...) throws -> (code: Int32, output: String) {
    let (status, output) = try Program.run(
      try #require(Self.path), arguments, in: folder.path)
    return (status, output)
  }

  /// The disk in an image of ours or theirs, as `qemu-img` reads it.
  func content(_ name: String) throws -> [UInt8] {
    let (code, output) = try run("convert", "-O", "raw", name, name + ".raw")
    guard code == 0 else { throw DiskError.damaged(output) }
    return try bytes(name + ".raw")
  }

  func file(_ name: String, _ options: StorageFile.Options = .writable) throws -> HostImageFile {
    HostImageFile(try StorageFile.open(path(name), options))
  }

  func open(_ name: String, readOnly: Bool = true, snapshot: String? = nil) throws -> QCOW2Image {
    try QCOW2Image.open(
      file(name, readOnly ? [] : .writable), readOnly: readOnly, snapshot: snapshot,
      backing: Folder(images: self))
  }

  /// Opens backing files of the folder as qcow2.
  struct Folder: BackingResolver {
    let images: QEMUImages

    func open(_ reference: BackingReference) throws(ImageError) -> any DiskImage {
      do {
        return try QCOW2Image.open(
          images.file(reference.name, []), readOnly: true, depth: reference.depth, backing: self)
      } catch let error as ImageError { throw error } catch { throw .refused("\(error)") }
    }
  }
}
