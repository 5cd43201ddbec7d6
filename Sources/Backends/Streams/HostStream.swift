package import HostOS

/// A stream that holds on to the host and wants a proper end.
package protocol HostStream: ByteStream {
  /// Waits until what was sent has left the process, but not for a reader that makes no progress; then
  /// lets go of the host. Once. Answers why bytes were lost, unless their reader had simply gone.
  @discardableResult
  func close() -> HostError?
}

extension NullStream: HostStream {
  package func close() -> HostError? { nil }
}
