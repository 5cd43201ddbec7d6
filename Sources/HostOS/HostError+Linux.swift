import Glibc

extension HostError {
  /// The error that the last system call on this thread left behind.
  static func last(_ operation: String) -> HostError { HostError(operation, code: errno) }

  /// The host's reason, in its own words.
  package var reason: String { String(cString: strerror(code)) }
}

extension HostError {
  /// Whether the same call may succeed a moment later.
  package var isTransient: Bool { code == EAGAIN || code == EINTR }
}
