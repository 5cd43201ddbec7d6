package import HostOS

/// A directory of the host whose files may be read, and nothing around it.
package final class TFTPFolder: Sendable {
  private let directory: HostDirectory

  package init(path: String) throws(HostError) {
    directory = try HostDirectory(path: path, isReadOnly: true)
  }

  private static let mostNames = 16

  /// Opens a file by the path that a guest gave, from the folder's top, in either system's notation. `nil`: there is no
  /// such file, or it is no file; links are not followed.
  func open(_ path: [UInt8]) -> (file: HostOpenFile, size: UInt64)? {
    let slash = UInt8(ascii: "/")
    let parts = path.map { $0 == UInt8(ascii: "\\") ? slash : $0 }.split(separator: slash)
      .filter { $0 != [UInt8(ascii: ".")] }
    guard (1...Self.mostNames).contains(parts.count) else { return nil }
    do throws(HostError) {
      var node = try directory.root()
      var size: UInt64 = 0
      for part in parts {
        guard let name = HostName(part) else { return nil }
        let finding = try node.lookUp(name)
        node = finding.node
        size = finding.attributes.size
      }
      guard node.kind == .file else { return nil }
      return (try node.open(.read), size)
    } catch {
      return nil
    }
  }
}
