import Glibc

extension HostError {
  /// The error that the last system call on this thread left behind.
  static func last(_ operation: String) -> HostError { HostError(operation, code: errno) }

  /// The host's reason, in its own words.
  package var reason: String { String(cString: strerror(code)) }
}

extension HostError {
  /// The host took too long.
  package static func timedOut(_ operation: String) -> HostError {
    HostError(operation, code: ETIMEDOUT)
  }

  /// Whether the other end of a pipe or socket has gone.
  package var isBrokenPipe: Bool { code == EPIPE || code == ECONNRESET }

  /// Whether the same call may succeed a moment later.
  package var isTransient: Bool { code == EAGAIN || code == EINTR }
}
