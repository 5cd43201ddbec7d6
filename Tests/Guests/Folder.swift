import Foundation
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

  /// The SHA-256 as sha256sum prints it. Not by Foundation's `Process`: it reads the list of open files past its end when
  /// there are as many as other tests have at times, some 1360.
  func sum(_ bytes: [UInt8]) throws -> String {
    let output = try #require(popen("sha256sum '\(try add("\(UUID())", bytes))'", "r"))
    defer { pclose(output) }
    var line = [CChar](repeating: 0, count: 65)
    _ = try #require(fgets(&line, Int32(line.count), output))
    return String(decoding: line.prefix(64).map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
