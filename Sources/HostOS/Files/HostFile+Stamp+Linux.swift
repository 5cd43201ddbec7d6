import Glibc

extension HostFile {
  /// What changes when a file is written or replaced.
  package struct Stamp: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int
  }

  /// `nil`: there is no such file, or it may not be looked at.
  package static func stamp(of path: String) -> Stamp? {
    var information = stat()
    guard stat(path, &information) == 0 else { return nil }
    return Stamp(
      device: UInt64(information.st_dev), inode: UInt64(information.st_ino),
      size: Int64(information.st_size), seconds: information.st_mtim.tv_sec,
      nanoseconds: information.st_mtim.tv_nsec)
  }
}
