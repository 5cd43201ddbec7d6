import Synchronization

/// A directory that is open to read its entries.
package final class HostListing: Sendable {
  let descriptor: Descriptor
  /// Where the host will go on reading; calls take turns.
  let position = Mutex<UInt64>(0)

  init(_ descriptor: Descriptor) { self.descriptor = descriptor }
}

/// An entry of a directory, as the host lists it.
package struct HostEntry: Sendable, Hashable {
  package var name: [UInt8]
  package var inode: UInt64
  /// Where the listing goes on behind this entry.
  package var next: UInt64
  /// The type, as in Linux' `d_type`; 0 if the host does not say.
  package var type: UInt8

  /// The directory itself, or the one above.
  package var isDots: Bool {
    name == [UInt8(ascii: ".")] || name == [UInt8(ascii: "."), UInt8(ascii: ".")]
  }
}
