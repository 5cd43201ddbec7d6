import Glibc

extension HostFile {
  /// Opens a file to read it.
  package static func open(_ path: String) throws(HostError) -> Descriptor {
    let handle = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard handle >= 0 else { throw .last("open the file \"\(path)\"") }
    return Descriptor(owning: handle)
  }

  /// Opens a file to write it, empty or `appending` to what it holds.
  package static func create(_ path: String, appending: Bool = false) throws(HostError)
    -> Descriptor
  {
    let flags = O_WRONLY | O_CREAT | O_CLOEXEC | (appending ? O_APPEND : O_TRUNC)
    let handle = Glibc.open(path, flags, 0o644)
    guard handle >= 0 else { throw .last("write the file \"\(path)\"") }
    return Descriptor(owning: handle)
  }

  /// The whole of a file, or of what comes through a pipe: at most `limit` bytes. A device is refused, for it
  /// may have no end.
  package static func contents(of path: String, limit: Int) throws(HostError) -> [UInt8] {
    try WholeFile(path, limit: limit).contents()
  }
}
