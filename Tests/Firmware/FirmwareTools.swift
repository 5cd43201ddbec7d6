import Foundation
import Kit

/// A program of another maker that reads what we write.
struct Tool: Sendable {
  let path: URL

  static let iasl = Tool(named: "iasl")
  static let dmidecode = Tool(named: "dmidecode")

  /// Looks where Debian puts programs, those for administrators included.
  init?(named name: String) {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/sbin"]
    guard
      let path = folders.map({ "\($0)/\(name)" })
        .first(where: FileManager.default.isExecutableFile)
    else { return nil }
    self.path = URL(fileURLWithPath: path)
  }

  /// Runs the program to its end; `output` is all that it said.
  func run(_ arguments: String...) throws -> (status: Int32, output: String) {
    try Program.run(path.path, arguments)
  }
}

/// A folder that is gone when its owner is.
final class TemporaryFolder {
  private let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "roost-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func file(_ name: String) -> URL { url.appending(path: name) }
}
