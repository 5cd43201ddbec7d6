import Glibc
import Testing

/// A folder that goes when the test does.
final class TemporaryFolder: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/disks.XXXXXX".utf8CString)
    path = try #require(mkdtemp(&template).map { String(cString: $0) })
  }

  deinit {
    guard let stream = opendir(path) else { return }
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      unlink("\(path)/\(name)")
    }
    closedir(stream)
    rmdir(path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Makes a file of these bytes; answers its path.
  func file(_ name: String, holding bytes: [UInt8]) throws -> String {
    let path = file(name)
    let handle = try #require(fopen(path, "w"))
    defer { fclose(handle) }
    try #require(fwrite(bytes, 1, bytes.count, handle) == bytes.count)
    return path
  }

  /// What a file holds.
  static func bytes(of path: String) throws -> [UInt8] {
    let handle = try #require(fopen(path, "r"))
    defer { fclose(handle) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&buffer, 1, buffer.count, handle)
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }
}
