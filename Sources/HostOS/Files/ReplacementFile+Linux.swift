import Glibc

extension ReplacementFile {
  static func createBeside(_ path: String) throws(HostError) -> (String, Descriptor) {
    let temporary = "\(path).\(getpid()).partial"
    let handle = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard handle >= 0 else { throw .last("write the file \"\(temporary)\"") }
    return (temporary, Descriptor(owning: handle))
  }

  static func synchronize(_ file: Descriptor, _ path: String) throws(HostError) {
    guard fsync(file.handle) == 0 else { throw .last("write the file \"\(path)\"") }
  }

  static func move(_ temporary: String, to path: String) throws(HostError) {
    guard rename(temporary, path) == 0 else { throw .last("write the file \"\(path)\"") }
  }

  static func remove(_ path: String) { unlink(path) }
}
