/// A file of the host, or a block device, that is read and written at given places by any thread.
package final class PositionalFile: Sendable {
  package enum Access: Sendable {
    case read
    case readAndWrite
    /// Makes a new file, or empties the one that is there.
    case create
  }

  package let descriptor: Descriptor
  package let isReadOnly: Bool
  /// What offsets, lengths and addresses must be multiples of: 1, or a block of the storage if the host's page
  /// cache is passed by.
  package let alignment: Int

  init(_ descriptor: Descriptor, isReadOnly: Bool, alignment: Int) {
    self.descriptor = descriptor
    self.isReadOnly = isReadOnly
    self.alignment = alignment
  }
}
