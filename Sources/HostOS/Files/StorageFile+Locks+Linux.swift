import CHostOS
import Glibc

// Locks of open file descriptions (fcntl(2), F_OFD_SETLK): they belong to this opening of the file, and not to the
// process, whose every other `close` of the same file would give them up.

extension StorageFile {
  /// Takes, changes or gives back our lock on one byte. Answers `false` if another's is in the way.
  package func setLock(_ kind: LockKind, onByte byte: UInt64) throws(HostError) -> Bool {
    if roost_storage_lock(descriptor.handle, byte, kind.rawValue) == 0 { return true }
    let code = errno
    if code == EAGAIN || code == EACCES { return false }
    throw HostError("lock \"\(path)\"", code: code)
  }

  /// Whether another's lock on the byte would be in the way of such a lock.
  package func wouldMeetLock(_ kind: LockKind, onByte byte: UInt64) throws(HostError) -> Bool {
    let result = roost_storage_would_block(descriptor.handle, byte, kind.rawValue)
    guard result >= 0 else { throw .last("look at the locks of \"\(path)\"") }
    return result == 1
  }

  /// Who holds locks on this file through another opening of it, as far as we may see: the host says of such locks
  /// which file they are on and not whose they are, but shows with each open file of a process the locks it carries.
  package func lockHolders() -> [FileHolder] {
    var holders: [FileHolder] = []
    for process in Self.names(in: "/proc").compactMap(Int32.init) {
      let isHolder = Self.names(in: "/proc/\(process)/fd").contains { name in
        if process == getpid(), name == String(descriptor.handle) { return false }
        var information = stat()
        return stat("/proc/\(process)/fd/\(name)", &information) == 0
          && UInt64(information.st_dev) == identity.device
          && UInt64(information.st_ino) == identity.number
          && Self.text(of: "/proc/\(process)/fdinfo/\(name)").contains("\nlock:")
      }
      if isHolder {
        holders.append(FileHolder(process: process, command: Self.command(of: process)))
      }
    }
    return holders
  }

  /// The name of the program a process runs, without its folder.
  private static func command(of process: Int32) -> String {
    let words = text(of: "/proc/\(process)/cmdline").split(separator: "\0")
    let name = words.first?.split(separator: "/").last.map(String.init)
    return name ?? String(text(of: "/proc/\(process)/comm").prefix { $0 != "\n" })
  }

  private static func text(of path: String) -> String {
    let handle = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard handle >= 0 else { return "" }
    let bytes = try? Descriptor(owning: handle).read(upTo: 4096)
    return String(decoding: bytes ?? [], as: UTF8.self)
  }

  private static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        names.append(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
      }
    }
    return names
  }
}
