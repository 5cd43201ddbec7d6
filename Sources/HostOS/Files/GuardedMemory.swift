import CHostOS

/// Copies of which either side may be guest memory, and which fail where the host cannot supply a page: a file behind
/// guest memory may shrink.
package enum GuardedMemory {
  /// Copies as many bytes as `source` has; `destination` is at least as long. Answers whether all were copied.
  package static func copy(
    _ source: UnsafeRawBufferPointer, to destination: UnsafeMutableRawBufferPointer
  ) -> Bool {
    precondition(destination.count >= source.count, "a copy to less memory than it needs")
    guard source.count > 0 else { return true }
    return roost_copy(destination.baseAddress, source.baseAddress, source.count) == 0
  }

  package static func fill(_ bytes: UnsafeMutableRawBufferPointer, with value: UInt8) -> Bool {
    guard bytes.count > 0 else { return true }
    return roost_fill(bytes.baseAddress, value, bytes.count) == 0
  }

  /// Makes the copies safe; idempotent. Before it, they are plain copies.
  package static func install() { roost_install_fault_guard() }
}
