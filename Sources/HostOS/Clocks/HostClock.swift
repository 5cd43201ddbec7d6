/// A moment of the host's monotonic clock: nanoseconds since some moment before the process began.
package struct HostInstant: Sendable, Hashable, Comparable {
  package var nanoseconds: UInt64

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  package static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

  /// The moment `nanoseconds` later, or the last moment there is.
  package func advanced(by nanoseconds: UInt64) -> Self {
    let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
    return Self(nanoseconds: overflow ? .max : sum)
  }
}

/// The host's clocks.
package enum HostClock {}
