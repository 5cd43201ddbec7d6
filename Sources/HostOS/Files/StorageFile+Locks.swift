/// A process that holds a file's locks.
package struct FileHolder: Sendable, Hashable, CustomStringConvertible {
  package let process: Int32
  package let command: String

  package var description: String { "process \(process) (\(command))" }
}

extension StorageFile {
  package enum LockKind: Int32, Sendable {
    case none = 0
    case shared = 1
    case exclusive = 2
  }
}
