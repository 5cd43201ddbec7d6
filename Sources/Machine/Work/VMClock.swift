/// A moment of guest time: nanoseconds since power-on during which the machine ran.
package struct VMInstant: Sendable, Hashable, Comparable, Codable {
  package var nanoseconds: UInt64

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  package static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

  /// The moment `nanoseconds` later, or the last moment there is.
  package func advanced(by nanoseconds: UInt64) -> Self {
    let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
    return Self(nanoseconds: overflow ? .max : sum)
  }

  /// How long ago `earlier` was; zero if it is yet to come.
  package func nanoseconds(since earlier: Self) -> UInt64 {
    nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
  }
}

/// The guest's time, which stands still while the machine does. No device reads the host's clock.
package protocol VMClock: AnyObject, Sendable {
  /// Callable from any thread; never goes back.
  var now: VMInstant { get }
  /// Seconds since 1970-01-01T00:00:00Z at guest time zero: what a battery-backed clock starts from.
  var epoch: Int64 { get }
  /// How often time has begun to pass: it stood still whenever this is higher than before. Callable from any thread.
  var starts: UInt64 { get }
  /// Makes an alarm that runs `ring` on `loop`.
  func makeAlarm(on loop: any Loop, _ ring: @escaping @Sendable () -> Void) -> any Alarm
}

/// Rings once at a moment of guest time.
package protocol Alarm: AnyObject, Sendable {
  /// Sets the moment, in place of any set before; `nil`: silent. A moment in the past rings soon.
  /// Callable from any thread. An alarm re-set while it rings may ring once more for the old moment:
  /// whoever answers looks at the clock.
  func set(_ deadline: VMInstant?)
}
