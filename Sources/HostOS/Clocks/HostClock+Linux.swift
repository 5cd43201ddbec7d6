import Glibc

extension HostClock {
  /// Time that passes evenly and never goes back; it stands still while the host is suspended.
  package static var now: HostInstant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return HostInstant(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
  }

  /// Seconds since 1970-01-01T00:00:00Z, as the host believes.
  package static var secondsSince1970: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec)
  }
}

extension timespec {
  init(_ instant: HostInstant) {
    self.init(
      tv_sec: Int(instant.nanoseconds / 1_000_000_000),
      tv_nsec: Int(instant.nanoseconds % 1_000_000_000))
  }
}
