/// A regular file that is open. Every call names its offset, so that calls may come from several threads at once.
package final class HostOpenFile: Sendable {
  package let options: HostOpenOptions
  let descriptor: Descriptor

  init(_ descriptor: Descriptor, _ options: HostOpenOptions) {
    self.descriptor = descriptor
    self.options = options
  }
}

/// A region of a file, and who locks it how. A `length` of 0 reaches to the end, however far that is.
package struct HostLock: Sendable, Hashable {
  package enum Kind: Int32, Sendable { case shared, exclusive, none }
  package var kind: Kind
  package var start, length: UInt64
  /// Who holds it, where the host tells; -1 for a lock of an open file.
  package var process: Int32

  package init(_ kind: Kind, start: UInt64, length: UInt64, process: Int32 = 0) {
    self.kind = kind
    self.start = start
    self.length = length
    self.process = process
  }
}

/// What to do with a run of a file's bytes, beside writing it.
package enum HostAllocation: Int32, Sendable {
  case reserve = 0
  /// The file's size stays.
  case reserveBehindEnd = 1
  /// The bytes read as zeroes, and take no room.
  case punchHole = 3
  case zero = 16
  case zeroBehindEnd = 17
}
