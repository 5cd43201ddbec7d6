/// A stream that holds on to the host and wants a proper end.
package protocol HostStream: ByteStream {
  /// Waits until what was sent has left the process, but not for a reader that makes no progress; then
  /// lets go of the host. Once.
  func close()
}

extension NullStream: HostStream {
  package func close() {}
}

/// How long the end of a stream waits for a reader that makes no progress, in nanoseconds.
let closingPatience: UInt64 = 2_000_000_000
