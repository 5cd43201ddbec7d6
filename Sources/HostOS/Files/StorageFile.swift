/// A regular file or block device in which a disk's bytes lie, read and written at positions.
///
/// All calls may come from any thread, several at once. A file that shrinks under us makes calls fail, not the
/// process; nor does it if it is mapped (`FileMapping`).
package final class StorageFile: Sendable {
  package let path: String
  package let identity: FileIdentity
  package let kind: Kind
  package let isWritable: Bool
  /// Past the host's page cache.
  package let isDirect: Bool
  /// What a direct transfer's offset and length, and its addresses in memory, must be multiples of; 1 if not direct.
  package let offsetAlignment: Int
  package let memoryAlignment: Int
  let descriptor: Descriptor

  package enum Kind: Sendable, Equatable {
    case regular
    /// Sizes of the sectors that the device takes, and of those that it writes without reading first.
    case blockDevice(logical: Int, physical: Int)
  }

  package struct Options: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }
    package static let writable = Options(rawValue: 1)
    /// Past the host's page cache: O_DIRECT.
    package static let direct = Options(rawValue: 2)
    /// A file that is made, and must not be there yet.
    package static let new = Options(rawValue: 4)
  }

  package struct Transfer: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }
    /// Rather fail (`HostError.wouldWait`) than wait for storage.
    package static let atOnce = Transfer(rawValue: 1)
    /// Done only when it would survive a loss of power.
    package static let durable = Transfer(rawValue: 2)
  }

  init(
    path: String, descriptor: Descriptor, options: Options, identity: FileIdentity, kind: Kind,
    offsetAlignment: Int, memoryAlignment: Int
  ) {
    self.path = path
    self.descriptor = descriptor
    self.identity = identity
    self.kind = kind
    isWritable = options.contains(.writable)
    isDirect = options.contains(.direct)
    self.offsetAlignment = offsetAlignment
    self.memoryAlignment = memoryAlignment
  }
}

/// Which file it is, under whatever name: its file system and its number there.
package struct FileIdentity: Sendable, Hashable {
  package let device: UInt64
  package let number: UInt64
}
