import CHostOS
import Glibc
import Synchronization

extension HostListing {
  /// The smallest `room` in which every entry fits.
  package static let smallestRoom = 512

  /// Some entries from `cookie` on: 0 for the first, or an entry's `next`. None: the directory ends.
  ///
  /// - Parameter room: as much memory as the host may fill; an entry takes 24 bytes and its name.
  package func entries(from cookie: UInt64, room: Int) throws(HostError) -> [HostEntry] {
    try position.withLock { position throws(HostError) in
      if position != cookie {
        position = .max
        try checked(
          roost_dir_seek(descriptor.handle, Int64(bitPattern: cookie), SEEK_SET), "read a directory"
        )
        position = cookie
      }
      var result = 0
      let room = max(room, HostListing.smallestRoom)
      let bytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
        result = roost_dir_list(descriptor.handle, buffer.baseAddress, room)
        filled = max(0, result)
      }
      try checked(result, "read a directory")
      let entries = HostListing.parse(bytes)
      if let last = entries.last { position = last.next }
      return entries
    }
  }

  /// Linux' `struct linux_dirent64`.
  private static func parse(_ bytes: [UInt8]) -> [HostEntry] {
    bytes.withUnsafeBytes { bytes in
      var entries: [HostEntry] = []
      var start = 0
      while bytes.count - start >= 19 {
        let length = Int(bytes.loadUnaligned(fromByteOffset: start + 16, as: UInt16.self))
        guard length > 19, length <= bytes.count - start else { break }
        let name = bytes[(start + 19)..<(start + length)].prefix { $0 != 0 }
        entries.append(
          HostEntry(
            name: Array(name), inode: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self),
            next: bytes.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self),
            type: bytes[start + 18]))
        start += length
      }
      return entries
    }
  }

  /// Waits until the directory's entries lie on the medium.
  package func sync(onlyData: Bool) throws(HostError) {
    try checked(roost_dir_sync(descriptor.handle, onlyData ? 1 : 0), "sync a directory")
  }
}
