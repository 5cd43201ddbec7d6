/// What the host knows about a file: its inode.
package struct HostAttributes: Sendable, Hashable {
  package var identity: HostIdentity
  /// Type and permissions, as in Linux' `st_mode`.
  package var mode: UInt32
  package var links: UInt32
  package var user, group: UInt32
  package var size: UInt64
  /// In units of 512 bytes.
  package var blocks: UInt64
  package var blockSize: UInt32
  package var accessed, modified, changed, born: HostTime
  /// Of a device file.
  package var specialMajor, specialMinor: UInt32

  package var kind: HostKind { HostKind(mode: mode) }
}

/// Names a file for as long as somebody holds it.
package struct HostIdentity: Sendable, Hashable {
  package var device, inode: UInt64
  package init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

/// What a file is. Only files and directories are ever opened; a special file, opened, could block or act.
package enum HostKind: Sendable, Hashable {
  case file, directory, link
  /// A device, a pipe or a socket.
  case special

  /// From the type bits of Linux' `st_mode`.
  package init(mode: UInt32) {
    switch mode & 0o170000 {
    case 0o100000: self = .file
    case 0o040000: self = .directory
    case 0o120000: self = .link
    default: self = .special
    }
  }
}

/// A moment of the host's calendar.
package struct HostTime: Sendable, Hashable {
  /// Since 1970.
  package var seconds: Int64
  package var nanoseconds: UInt32

  package init(seconds: Int64, nanoseconds: UInt32) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// What to do to one of a file's times.
  package enum Change: Sendable, Hashable {
    case keep, now
    case set(HostTime)
  }
}

/// What the host knows about a file system: `statfs`.
package struct HostFileSystem: Sendable, Hashable {
  package var type, identity: UInt64
  package var blockSize, fragmentSize, blocks, freeBlocks, availableBlocks: UInt64
  package var files, freeFiles: UInt64
  package var nameLength: UInt64
}
