/// A file that is only ever read whole, as often as somebody asks. It stays open; what was read is not kept.
package final class WholeFile: Sendable {
  private let source: Source

  private enum Source {
    case bytes([UInt8])
    case file(OpenedFile, path: String, limit: Int)
  }

  /// Bytes that are in memory, and stay there.
  package init(_ bytes: [UInt8]) { source = .bytes(bytes) }

  /// Opens a file of at most `limit` bytes. What comes through a pipe is read at once, and kept. A device is refused, for
  /// it may have no end.
  package init(_ path: String, limit: Int) throws(HostError) {
    let descriptor = try HostFile.open(path)
    let file = try Self.named(path) { () throws(HostError) in
      try OpenedFile(descriptor, limit: limit)
    }
    if file.isPipe {
      source = .bytes(
        try Self.named(path) { () throws(HostError) in try file.contents(limit: limit) })
    } else {
      source = .file(file, path: path, limit: limit)
    }
  }

  /// All that is in the file now. From any thread.
  package func contents() throws(HostError) -> [UInt8] {
    switch source {
    case .bytes(let bytes): return bytes
    case .file(let file, let path, let limit):
      return try Self.named(path) { () throws(HostError) in try file.contents(limit: limit) }
    }
  }

  private static func named<Result>(
    _ path: String, _ body: () throws(HostError) -> Result
  ) throws(HostError) -> Result {
    do throws(HostError) {
      return try body()
    } catch {
      throw HostError("read the file \"\(path)\"", code: error.code)
    }
  }
}
