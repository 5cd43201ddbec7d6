import Foundation
import Kit
import Testing

/// A folder of the host's that is gone with the test.
final class Folder: Sendable {
  let path = "\(FileManager.default.temporaryDirectory.path())/roost-devices-\(UUID())"

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  func chance(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255) } }

  /// Makes a file, and answers its path.
  func add(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
    return "\(path)/\(name)"
  }

  func read(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

  /// The SHA-256 as sha256sum prints it.
  func sum(_ bytes: [UInt8]) throws -> String {
    let (status, output) = try Program.run("sha256sum", [add("\(UUID())", bytes)])
    try #require(status == 0, "\(output)")
    return String(output.prefix(64))
  }

  /// All there is, at any depth.
  var names: [String] { get throws { try FileManager.default.subpathsOfDirectory(atPath: path) } }

  /// How many blocks of 512 bytes a file takes on the host.
  func blocks(of path: String) throws -> Int {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    return Int(status.st_blocks)
  }
}
